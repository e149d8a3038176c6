"""Spool files as the file system sees them: each with what SQLite keeps beside it."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from .folder import PART, SET_ASIDE


def remove(path: Path) -> None:
    """Remove a file that nobody has open, with its write-ahead log."""
    for each in (path, *companions(path)):
        each.unlink(missing_ok=True)


def copy(path: Path, to: Path) -> None:
    """Copy a file that nobody writes, with its write-ahead log: all of it, or nothing."""
    # The log first: another tool may write it into the file meanwhile.
    part = to.with_name(f"{to.name}{PART}")
    try:
        if log(path).exists():
            _copy(log(path), log(to))
        _copy(path, part)
        part.rename(to)
    except BaseException:
        for each in (log(to), part):
            each.unlink(missing_ok=True)
        raise


def set_aside(path: Path) -> Path:
    """Give a damaged file a name under which nobody looks for events, and return that."""
    for each in companions(path):
        if each.exists():
            each.rename(f"{each}{SET_ASIDE}")
    return path.rename(f"{path}{SET_ASIDE}")


def is_own(path: Path) -> bool:
    """Tell whether a file is this user's, and no link; of one that is gone nothing else can be said."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def companions(path: Path) -> list[Path]:
    """Return the files that SQLite keeps beside one."""
    return [log(path), path.with_name(f"{path.name}-shm")]


def log(path: Path) -> Path:
    """Return the write-ahead log of a file."""
    return path.with_name(f"{path.name}-wal")


def size(path: Path) -> int:
    """Return the bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _copy(path: Path, to: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with path.open("rb") as source, open(os.open(to, flags, 0o600), "wb") as target:
        shutil.copyfileobj(source, target)
