"""What processes that are no more have left in the folder, and how a living one takes it over."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from .diagnosis import is_busy, is_damage
from .file import Connect, NewerSchema, SpoolFile
from .folder import Folder
from .lease import Lease, is_inherited
from .own_file import Origin, OwnFile, copied
from .paths import copy, is_own, remove, set_aside
from .rows import Dead, Row

logger = logging.getLogger("xr2_web")

CHUNK = 100
"""Events that are moved at a time, while a request may have to wait."""


class Heir(Protocol):
    """Who takes the events."""

    def take_in(self, rows: Iterable[Row]) -> int:
        """Keep events, and return how many; those behind have found no room."""

    def take_in_dead(self, letters: Iterable[Dead]) -> None:
        """Keep dead letters."""


class Adoption:
    """Moves events from the file of a dead process to its heir. A crash leaves them in both, never in none."""

    def __init__(
        self, folder: Folder, installation: str, heir: Heir, *, clock: Callable[[], float], connect: Connect
    ) -> None:
        self._folder = folder
        self._installation = installation
        self._heir = heir
        self._clock = clock
        self._connect = connect
        self._told: set[Path] = set()
        self._leftovers: set[tuple[Path, Path]] = set()

    def run(self, until: float) -> bool:
        """Take over what is left; False where some of it has to wait for the next time."""
        self._sweep()
        is_complete = True
        for path in self._folder.files(self._installation):
            if self._clock() >= until:
                return False
            try:
                if not self._take_over(path, until):
                    return False
            except NewerSchema:
                self._tell(path, "was made by a later release of xr2-web")
            except (OSError, sqlite3.Error) as exc:
                if is_busy(exc):
                    is_complete = False
                else:
                    self._tell(path, f"cannot be read: {exc}")
        return is_complete

    def _take_over(self, path: Path, until: float) -> bool:
        """Take over one file; False where some of it is left in it."""
        if not is_own(path):
            self._tell(path, "is no file of this user")
            return True
        lease = Lease.take(path)
        if lease is None:
            return True
        left: Path | None = path
        try:
            left = self._empty(path, until)
        finally:
            lease.release(remove=left != path)
        return left is None or (left != path and self._take_over(left, until))

    def _empty(self, path: Path, until: float) -> Path | None:
        """Take over what is in a file; return where the rest of it is, in that file or in another."""
        if is_inherited(path):
            return self._replace(path)
        try:
            theirs = SpoolFile.open(path, connect=self._connect)
            is_empty = theirs is None or self._move(theirs, until)
        except sqlite3.Error as exc:
            if not is_damage(exc):
                raise
            return self._salvage(path)
        if is_empty:
            remove(path)
        return None if is_empty else path

    def _move(self, theirs: SpoolFile, until: float) -> bool:
        with closing(theirs):
            # Written first: what cannot be deleted there must not be taken, or it is taken again and again.
            theirs.set_facts(adopted_by=os.getpid())
            while rows := theirs.read(0, CHUNK):
                kept = self._heir.take_in(rows)
                theirs.delete([row.number for row in rows[:kept]])
                if kept < len(rows) or self._clock() >= until:
                    return False
            while letters := theirs.dead(CHUNK):
                self._heir.take_in_dead(letters)
                for each in letters:
                    theirs.delete_dead(each.entry)
            theirs.expect_removal()
            return True

    def _replace(self, path: Path) -> Path:
        """Have a copy take the place of a file that was open when this process was forked, and return that.

        SQLite takes the locks of the parent for ours: whoever looks at such a file finds it locked by nobody, and cuts
        off the memory that it shares with us.
        """
        replacement = self._folder.new_file(_owner(path))
        lease = Lease.take(replacement)
        if lease is None:
            raise OSError(errno.EEXIST, "the file is taken", str(replacement))
        try:
            copy(path, replacement)
        finally:
            lease.release(remove=not replacement.exists())
        remove(path)
        return replacement

    def _salvage(self, path: Path) -> Path | None:
        """Save what can be read of a damaged file, and set that aside; return where it is now, if it is anything.

        It goes into a sound file and not to the heir: what that has no room for could not be told, in a damaged one,
        from what it has taken, and the same events would be sent for ever.
        """
        saved, fresh = 0, None
        theirs = self._damaged(path)
        if theirs is not None:
            with closing(theirs):
                saved, fresh = self._save(theirs)
        aside = set_aside(path)
        logger.warning("xr2_web.spool_damaged: %s: %d events could be saved", aside, saved)
        return fresh

    def _damaged(self, path: Path) -> SpoolFile | None:
        try:
            return SpoolFile.open(path, connect=self._connect)
        except sqlite3.Error as exc:
            if not is_damage(exc):
                raise
            return None

    def _save(self, theirs: SpoolFile) -> tuple[int, Path | None]:
        file = OwnFile.make(self._folder, _origin(theirs), synchronous="NORMAL", connect=self._connect, now=time.time())
        events = dead = 0
        try:
            events, dead = copied(theirs, file, set())
        finally:
            file.close(keep=bool(events or dead))
        return events, file.path if events or dead else None

    def _sweep(self) -> None:
        """Remove what was beside files that are gone: who looks at one as it is removed makes some of it anew."""
        found = self._folder.leftovers(self._installation)
        # Only what was there the last time too: a file that is being made has its lock a moment before.
        for file, leftover in found & self._leftovers:
            with suppress(OSError):
                _remove_leftover(file, leftover)
        self._leftovers = found

    def _tell(self, path: Path, why: str) -> None:
        if path not in self._told:
            self._told.add(path)
            logger.warning("xr2_web.spool_left_alone: %s %s", path, why)


def _origin(file: SpoolFile) -> Origin:
    """Return whose events are in a file, which may be damaged: its name says what matters."""
    try:
        base_url = file.facts().get("base_url", "")
    except sqlite3.Error:
        base_url = ""
    return Origin(base_url, _owner(file.path))


def _owner(path: Path) -> str:
    return path.name.partition("-")[0]


def _remove_leftover(file: Path, leftover: Path) -> None:
    lease = Lease.take(file)
    if lease is None:
        return
    is_gone = not file.exists()
    try:
        if is_gone:
            leftover.unlink(missing_ok=True)
    finally:
        lease.release(remove=is_gone)
