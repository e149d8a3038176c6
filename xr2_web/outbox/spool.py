"""The outbox on disk: a file for each process, which outlives it, and what the dead have left.

The process that holds a file's lease is the only one to write it. So nothing but events and their attempts needs to be
in it: which of them are under way, and which are to be tried later, is known in memory.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..forks import is_before_fork, new_uncut_lock
from ..values import TRACE_LIFE
from . import Claim, Counts, Entry, Outbox, Paused, Put
from .adoption import Adoption
from .file import Connect, SpoolFile, is_damage
from .folder import Folder
from .own_file import Origin, OwnFile, copied
from .positions import WINDOW, Positions
from .requests import Answer, Request, attend, carry_out
from .rows import Dead, Row

if TYPE_CHECKING:
    from .store import Store

logger = logging.getLogger("xr2_web")

MOST_BYTES = 256 * 1024 * 1024
"""What all files of a folder may take up together."""

MOST_DEAD = 10_000
"""Dead letters that are kept, for 30 days; of those above, the oldest go. Each was counted when it died."""

TRIED_AGAIN = 60.0
TENDED_EVERY = 1.0
ADOPTED_EVERY = 30.0
WEIGHED_EVERY = 5.0
ADOPTION_SLICE = 0.2
"""Seconds for which the courier adopts before it looks at its other work."""

LOG_BYTES = 4 * 1024 * 1024
"""A write-ahead log that is longer is written into the file."""


class Ticket(NamedTuple):
    """Where a claimed event is."""

    file: SpoolFile
    number: int


class Spool(Outbox):
    """Events in a file of this process, made with the first of them.

    Methods raise ``OSError`` and ``sqlite3.Error`` where the disk fails.
    """

    def __init__(
        self,
        folder: Folder,
        origin: Origin,
        *,
        most_events: int,
        synchronous: str = "NORMAL",
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        connect: Connect = sqlite3.connect,
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._most_events = most_events
        self._synchronous = synchronous
        self._most_bytes = most_bytes
        self._clock = clock
        self._wall = wall
        self._connect = connect
        self._pid = os.getpid()
        self._adopting = new_uncut_lock()
        # Reentrant: a finalizer that tracks an event may run in the middle of any of this.
        self._lock = new_uncut_lock()
        self._file: OwnFile | None = None
        self._is_damaged = False
        self._is_folder_full = False
        self._pending = self._dead = 0
        self._weigh_at = self._adopt_at = clock()
        self._paused: Paused | None = None
        self._adoption = Adoption(folder, origin.installation, self, clock=clock, connect=connect)
        self._adoption_of_all = Adoption(folder, "", self, clock=clock, connect=connect)
        self._positions = Positions(clock)

    def put(self, entry: Entry) -> Put:
        """Write an event down."""
        with self._lock:
            if self._pending >= self._most_events or self._is_folder_full:
                return Put.FULL
            try:
                is_new = self._add(entry)
            except sqlite3.Error as exc:
                self._notice(exc)
                if not self._is_damaged:
                    raise
                self._renew()
                is_new = self._add(entry)
            if is_before_fork():
                self.close()
            return Put.ACCEPTED if is_new else Put.DUPLICATE

    def has_heritage(self) -> bool:
        """Tell whether there are files of this installation."""
        return bool(self._folder.files(self._origin.installation))

    def claim(self) -> Claim | None:
        """Take the next event that is due."""
        with self._lock:
            if self._file is None:
                return None
            try:
                row = self._positions.take(self._file)
            except sqlite3.Error as exc:
                self._notice(exc)
                raise
            return None if row is None else Claim(row.entry, row.attempts, Ticket(self._file, row.number))

    def done(self, claim: Claim) -> None:
        """Forget an event; noted in the file a little later, together with others."""
        with self._lock:
            if self._is_here(claim):
                self._pending -= 1
                self._positions.leave(claim.ticket.number)
                if len(self._positions.gone) >= WINDOW:
                    self._try(self._note_gone)

    def retry(self, claim: Claim, delay: float) -> None:
        """Put an event back for later."""
        file, number = claim.ticket
        with self._lock:
            if self._is_here(claim):
                self._positions.put_off(number, delay)
                self._try(partial(file.note_attempts, number, claim.attempts + 1))

    def release(self, claim: Claim) -> None:
        """Put an event back that was not tried."""
        with self._lock:
            if self._is_here(claim):
                self._positions.put_off(claim.ticket.number, 0.0)

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter."""
        with self._lock:
            if self._is_here(claim):
                letter = Dead(claim.entry, claim.attempts + 1, reason, self._wall())
                if self._try(partial(self._bury, claim.ticket.number, letter)):
                    self._positions.end(claim.ticket.number)
                    self._pending -= 1
                else:
                    self.retry(claim, TRIED_AGAIN)

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter of an event that was delivered from elsewhere."""
        self.take_in_dead([Dead(entry, attempts, reason, self._wall())])

    def next_due(self) -> float | None:
        """Return the seconds until an event is due."""
        with self._lock:
            return self._positions.next_due()

    def tend(self, paused: Paused | None) -> float | None:
        """Note what arrived, look after the file, and adopt what the dead have left."""
        with self._lock:
            if self._file is not None:
                self._look_after(self._file, paused)
            file = self._file
        if file is not None:
            attend(file.path, partial(self._do, file), self._wall())
        if self._clock() >= self._weigh_at:
            self._weigh_at = self._clock() + WEIGHED_EVERY
            self._is_folder_full = self._folder.size() > self._most_bytes
            self._prune()
        if self._clock() >= self._adopt_at:
            with self._adopting:
                is_complete = self._adoption.run(self._clock() + ADOPTION_SLICE)
            self._adopt_at = self._clock() + (ADOPTED_EVERY if is_complete else TENDED_EVERY)
        return TENDED_EVERY if self._file is not None else self._adopt_at - self._clock()

    def adopt(self, until: float, *, others: bool) -> bool:
        """Take over what dead processes left."""
        with self._adopting:
            return (self._adoption_of_all if others else self._adoption).run(until)

    def stores(self, *, others: bool) -> Sequence[Store]:
        """Return the files of the folder."""
        from .spool_store import SpoolStore

        return [SpoolStore(self._folder, self._origin.installation, others=others)]

    def take_in(self, rows: Iterable[Row]) -> int:
        """Keep what a dead process has left, and return how many events; those behind have found no room."""
        kept = 0
        with self._lock:
            for row in rows:
                if self._pending >= self._most_events:
                    break
                # It may have been sent without being noted: no longer a first attempt.
                try:
                    self._add(row.entry, row.attempts + 1)
                except sqlite3.Error as exc:
                    raise self._not_kept(exc) from exc
                kept += 1
        return kept

    def take_in_dead(self, letters: Iterable[Dead]) -> None:
        """Keep the dead letters of a dead process."""
        with self._lock:
            try:
                file = self._file or self._open()
                for each in letters:
                    self._dead += file.bury(each)
            except sqlite3.Error as exc:
                raise self._not_kept(exc) from exc

    def counts(self) -> Counts:
        """Count what is in the file of this process."""
        return Counts(self._pending, self._dead)

    def oldest(self) -> float | None:
        """Return when the first event that waits here was made."""
        with self._lock:
            if self._file is None:
                return None
            self._note_gone()
            return self._file.oldest()

    def close(self) -> None:
        """Leave the file to whoever lives, and remove it where it is empty."""
        with self._lock:
            file = self._file
            if file is None:
                return
            self._try(self._note_gone)
            keep = bool(self._pending or self._dead)
            self._file = None
            self._pending = self._dead = 0
            self._positions = Positions(self._clock)
            file.close(keep=keep)

    def _add(self, entry: Entry, attempts: int = 0) -> bool:
        file = self._file or self._open()
        positions = self._positions  # a finalizer may have the file renewed in the middle of this
        number = positions.new_number()
        is_new = file.insert(number, entry, attempts)
        if not is_new and self._positions.gone:
            # It may be one that has arrived, and is only not noted yet.
            self._note_gone()
            is_new = file.insert(number, entry, attempts)
        if is_new:
            self._pending += 1
            positions.came(Row(number, entry, attempts))
        return is_new

    def _open(self) -> OwnFile:
        file = self._make()
        if self._file is not None:  # a finalizer that tracks an event has come in between
            file.close(keep=False)
            return self._file
        self._file = file
        return file

    def _make(self) -> OwnFile:
        return OwnFile.make(
            self._folder, self._origin, synchronous=self._synchronous, connect=self._connect, now=self._wall()
        )

    def _is_here(self, claim: Claim) -> bool:
        """Tell whether a claim is of the file that is open; what went on in a new one is sent from there again."""
        # Greenlets live on in a forked child, in the middle of what they did; the file is their parent's. And what
        # was to be forgotten while it was under way is not put back.
        ticket: Ticket = claim.ticket
        is_under_way = ticket.file is self._file and self._positions.is_under_way(ticket.number)
        return is_under_way and self._pid == os.getpid()

    def _do(self, file: SpoolFile, asked: Request) -> Answer:
        """Do a part of what a command asks of the owner of a file."""
        with self._lock:
            if file is not self._file:
                raise OSError(errno.ESTALE, "the events go on in another file", str(file.path))
            try:
                self._note_gone()
                answer = carry_out(asked, file, add=self._add, room=self._most_events - self._pending)
            except sqlite3.Error as exc:
                self._notice(exc)
                raise
            self._pending -= answer.forgotten
            self._dead -= answer.dropped + answer.requeued
            self._positions.forget(set(asked.forget))
            return answer

    def _note_gone(self) -> None:
        if self._file is not None:
            self._positions.note_gone(self._file)

    def _bury(self, number: int, letter: Dead) -> None:
        assert self._file is not None
        self._dead += self._file.bury(letter)
        self._file.delete([number])

    def _try(self, write: Callable[[], None]) -> bool:
        """Write what can be written again later; ``tend`` will meet the same error, and tell it."""
        try:
            write()
        except sqlite3.Error as exc:
            self._notice(exc)
            return False
        return True

    def _not_kept(self, exc: sqlite3.Error) -> OSError:
        """Return what says that our own file fails: damage of ours is not to be taken for damage of another's."""
        self._notice(exc)
        return OSError(errno.EIO, f"no event can be kept: {exc}")

    def _notice(self, exc: sqlite3.Error) -> None:
        self._is_damaged = self._is_damaged or is_damage(exc)

    def _look_after(self, file: SpoolFile, paused: Paused | None) -> None:
        if self._is_damaged or file.is_removed():
            self._renew()
            return
        try:
            self._note_gone()
            file.checkpoint(LOG_BYTES)
            if paused != self._paused:
                file.set_facts(paused_until=paused and paused.until, paused_why=paused and paused.why)
                self._paused = paused
        except sqlite3.Error as exc:
            self._notice(exc)
            raise

    def _prune(self) -> None:
        with self._lock:
            if self._file is not None and self._dead:
                self._dead = self._file.prune_dead(self._wall() - TRACE_LIFE, MOST_DEAD)

    def _renew(self) -> None:
        """Go on in a new file with what can be read of the old one, which was damaged, or removed under us."""
        old = self._file
        if old is None:
            return
        file = self._make()
        try:
            pending, dead = copied(old, file, set(self._positions.gone))
        except BaseException:
            file.close(keep=False)
            raise
        self._file = file
        self._is_damaged = False
        self._positions = Positions(self._clock, last=pending)
        self._pending, self._dead = pending, dead
        self._paused = None
        old.give_up()
        logger.warning("xr2_web.spool_renewed: %s is damaged or gone; %d events go on in a new file", old.path, pending)
