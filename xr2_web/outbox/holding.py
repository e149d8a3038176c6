"""The file of this process over time: made with the first event, replaced where it has to be, left at the end."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress

from ..values import TRACE_LIFE
from . import Entry, Paused
from .diagnosis import is_damage
from .file import Connect
from .folder import Folder
from .own_file import Origin, OwnFile, copied
from .positions import Positions
from .rows import Dead, Row

logger = logging.getLogger("xr2_web")

MOST_DEAD = 10_000
"""Dead letters that are kept, for 30 days; of those above, the oldest go. Each was counted when it died."""

PRUNED_EVERY = 60.0

HEAVY = 16 * 1024 * 1024
"""Bytes of a file above which another takes its place as soon as no event waits in it."""


class Holding:
    """What this process holds on disk. Not for use by two threads at a time.

    ``pending`` events and ``dead`` letters are in ``file``, which is None while there are none, and ``positions`` knows
    where each event is. ``lost`` events could not be saved when somebody had removed their file.
    """

    def __init__(
        self,
        folder: Folder,
        origin: Origin,
        *,
        synchronous: str,
        clock: Callable[[], float],
        wall: Callable[[], float],
        connect: Connect,
    ) -> None:
        self.file: OwnFile | None = None
        self.positions = Positions(clock)
        self.pending = self.dead = self.lost = 0
        self._folder = folder
        self._origin = origin
        self._synchronous = synchronous
        self._clock = clock
        self._wall = wall
        self._connect = connect
        self._wall_ahead = wall() - clock()
        self._prune_at = clock()
        self._paused: Paused | None = None
        self._is_damaged = self._is_miscounted = False

    def put(self, entry: Entry) -> bool:
        """Write an event down, in another file where this one is damaged; False where one of its key is here."""
        try:
            return self.add(entry)
        except sqlite3.Error as exc:
            self.notice(exc)
            if not self._is_damaged:
                raise
            self._renew()
            return self.add(entry)

    def add(self, entry: Entry, attempts: int = 0) -> bool:
        """Write an event down; False where one of its key is here."""
        file = self.opened()
        positions = self.positions  # a finalizer may have the file renewed in the middle of this
        number = positions.new_number()
        try:
            is_new = file.insert(number, entry, attempts)
            if not is_new and self.positions.gone:
                # It may be one that has arrived, and is only not noted yet.
                self.note_gone()
                is_new = file.insert(number, entry, attempts)
            if is_new:
                self.pending += 1
                positions.came(Row(number, entry, attempts))
        except BaseException:  # of a signal's handler too, and then it may be in the file
            self._is_miscounted = True
            raise
        return is_new

    def bury(self, number: int, letter: Dead) -> None:
        """Make a dead letter of an event."""
        assert self.file is not None
        self.dead += self.file.bury(letter)
        self.file.delete([number])

    def keep_dead(self, letters: Iterable[Dead]) -> None:
        """Keep the dead letters of others."""
        file = self.opened()
        for each in letters:
            self.dead += file.bury(each)

    def note_gone(self) -> None:
        """Remove from the file what has left."""
        if self.file is not None:
            self.positions.note_gone(self.file)

    def attempt(self, write: Callable[[], None]) -> bool:
        """Write what can be written again later; ``look_after`` will meet the same error, and tell it."""
        try:
            write()
        except sqlite3.Error as exc:
            self.notice(exc)
            return False
        return True

    def notice(self, exc: sqlite3.Error) -> None:
        """Know of an error, which may mean that the file is damaged."""
        self._is_damaged = self._is_damaged or is_damage(exc)

    def not_kept(self, exc: sqlite3.Error) -> OSError:
        """Return what says that our own file fails: damage of ours is not to be taken for damage of another's."""
        self.notice(exc)
        return OSError(errno.EIO, f"no event can be kept: {exc}")

    def opened(self) -> OwnFile:
        """Return the file, which is made where there is none."""
        return self.file or self._open()

    def look_after(self, paused: Paused | None) -> None:
        """Write down what has changed, and go on in another file where that is needed."""
        file = self.file
        if file is None:
            return
        if self._is_damaged or file.is_removed():
            self._renew()
            return
        try:
            self.note_gone()
            if self._is_miscounted:
                self.pending, _ = file.sums()
                self._is_miscounted = False
            if not self.pending and file.bytes() > HEAVY:
                self._slim(file)
                return
            self._prune(file)
            file.checkpoint()
            if paused != self._paused:
                file.set_facts(paused_until=paused and paused.until, paused_why=paused and paused.why)
                self._paused = paused
        except sqlite3.Error as exc:
            self.notice(exc)
            raise

    def leave(self) -> None:
        """Leave the file to whoever lives, and remove it where it is empty."""
        if self.file is not None and (self.pending or self.dead) and self.file.is_removed():
            self._save()
        if (file := self.file) is not None:
            self.attempt(self.note_gone)
            self._go_on(None)
            _close(file)

    def _open(self) -> OwnFile:
        file = self._make()
        if self.file is not None:  # a finalizer that tracks an event has come in between
            file.close(keep=False)
            return self.file
        self.file = file
        return file

    def _make(self) -> OwnFile:
        return OwnFile.make(
            self._folder, self._origin, synchronous=self._synchronous, connect=self._connect, now=self._wall()
        )

    def _prune(self, file: OwnFile) -> None:
        if self.dead and self._clock() >= self._prune_at:
            self._prune_at = self._clock() + PRUNED_EVERY
            # By whichever clock is behind: one that is set forward makes no letter older.
            now = min(self._wall(), self._clock() + self._wall_ahead)
            self.dead = file.prune_dead(now - TRACE_LIFE, MOST_DEAD)

    def _slim(self, file: OwnFile) -> None:
        """Go on in another file with the dead letters of one that takes up much room."""
        letters, new = file.dead(-1), None
        if letters:
            new = self._make()
            try:
                for each in letters:
                    new.bury(each)
                    file.delete_dead(each.entry)
            except BaseException:
                new.close()
                raise
        self._go_on(new, dead=len(letters))
        _close(file)

    def _renew(self) -> None:
        """Go on in a new file with what can be read of the old one, which was damaged, or removed under us."""
        old = self.file
        if old is None:
            return
        new = self._make()
        try:
            pending, dead = copied(old, new, set(self.positions.gone))
        except BaseException:
            new.close(keep=False)
            raise
        self._go_on(new, pending=pending, dead=dead)
        old.give_up()
        logger.warning("xr2_web.spool_renewed: %s is damaged or gone; %d events go on in a new file", old.path, pending)

    def _save(self) -> None:
        """Write what is in a file that somebody has removed into another."""
        try:
            self._renew()
        except (OSError, sqlite3.Error) as exc:
            self.lost += self.pending
            logger.warning("xr2_web.outbox_failed: what was in %s cannot be written anew: %s", self._folder.path, exc)

    def _go_on(self, file: OwnFile | None, *, pending: int = 0, dead: int = 0) -> None:
        self.file = file
        self.positions = Positions(self._clock, last=pending)
        self.pending, self.dead = pending, dead
        self._is_damaged = self._is_miscounted = False
        self._paused = None


def _close(file: OwnFile) -> None:
    """Close a file, and remove it where nothing is in it: by what is there, and not by what was counted."""
    is_empty = False
    with suppress(sqlite3.Error):
        is_empty = file.is_empty()
    file.close(keep=not is_empty)
