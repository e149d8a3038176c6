"""The folder in which the processes of a machine keep their spool files, and what must be true of it."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from . import lease

SUFFIX = ".sqlite3"
SET_ASIDE = ".damaged"
PART = "-part"
BESIDE = (f"{SUFFIX}-wal", f"{SUFFIX}-shm", f"{SUFFIX}{PART}", lease.SUFFIX, lease.MARK)


def installation(base_url: str, api_key: str | None) -> str:
    """Return a short hash of a server and a key: events of one installation are never sent with the key of another."""
    return hashlib.sha256(f"{base_url}\0{api_key or ''}".encode()).hexdigest()[:12]


def default_path() -> Path:
    """Return the place for the state of this user's programs (XDG Base Directory Specification)."""
    # A relative one is to be ignored, says the specification.
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not root.is_absolute():
        try:
            root = Path.home() / ".local" / "state"
        except RuntimeError:  # a user without a home
            root = Path(tempfile.gettempdir()) / f"state-{os.geteuid()}"
    return root / "xr2-web" / "outbox"


class UnusableFolder(OSError):
    """The folder cannot be trusted or written; says why, and what to do."""


class Folder:
    """A folder of this user's own, that nobody else can write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the folder where it is missing. Raises ``OSError`` where no event may be kept in it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Both the link, where it is one, and what it points to: others may place links in a shared folder.
        for found in (self.path.lstat(), self.path.stat()):
            if found.st_uid not in (os.geteuid(), 0):
                raise UnusableFolder(f"{self.path} belongs to another user (uid {found.st_uid}); set OUTBOX_PATH")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnusableFolder(f"{self.path} can be written by others; chmod 700 it, or set OUTBOX_PATH")

    def new_file(self, owner: str) -> Path:
        """Return a name for a file of this process; it says whose events are in it."""
        return self.path / f"{owner}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"

    def files(self, owner: str = "") -> list[Path]:
        """Return the files of an installation, or of all."""
        names = (each.name for each in self._entries())
        return sorted(self.path / name for name in names if name.startswith(owner) and name.endswith(SUFFIX))

    def leftovers(self, owner: str) -> set[tuple[Path, Path]]:
        """Return what is kept beside files that are not there, each behind its file: gone, or about to be made."""
        names = {each.name for each in self._entries() if each.name.startswith(owner)}
        beside = [(f"{name.partition('.')[0]}{SUFFIX}", name) for name in names if name.endswith(BESIDE)]
        return {(self.path / file, self.path / name) for file, name in beside if file not in names}

    def damaged(self) -> list[str]:
        """Return the names of the files that were set aside, each with its companions."""
        return sorted(each.name for each in self._entries() if each.name.endswith(f"{SUFFIX}{SET_ASIDE}"))

    def size(self) -> int:
        """Return the bytes that all events here take up."""
        return sum(map(_size, self._entries()))

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path) as found:
                return list(found)
        except FileNotFoundError:
            return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
