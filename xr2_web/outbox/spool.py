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
from . import Claim, Counts, Entry, Outbox, Paused, Put
from .file import Connect, SpoolFile
from .folder import Folder
from .holding import Holding
from .household import Household
from .own_file import Origin
from .positions import WINDOW
from .requests import Answer, Request, attend, carry_out
from .rows import Dead, Row

if TYPE_CHECKING:
    from .store import Store

logger = logging.getLogger("xr2_web")

MOST_BYTES = 256 * 1024 * 1024
"""What all files of a folder may take up together."""

TRIED_AGAIN = 60.0
TENDED_EVERY = 1.0


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
        self._installation = origin.installation
        self._most_events = most_events
        self._wall = wall
        self._pid = os.getpid()
        # Reentrant: a finalizer that tracks an event may run in the middle of any of this.
        self._lock = new_uncut_lock()
        self._held = Holding(folder, origin, synchronous=synchronous, clock=clock, wall=wall, connect=connect)
        self._is_closed = False
        self._household = Household(
            folder, origin.installation, self, most_bytes=most_bytes, clock=clock, connect=connect
        )

    def put(self, entry: Entry) -> Put:
        """Write an event down."""
        with self._lock:
            if self._held.pending >= self._most_events or self._household.is_full:
                return Put.FULL
            is_new = self._held.put(entry)
            if is_before_fork() or self._is_closed:
                self._held.leave()
            return Put.ACCEPTED if is_new else Put.DUPLICATE

    def has_heritage(self) -> bool:
        """Tell whether there are files of this installation."""
        return bool(self._folder.files(self._installation))

    def claim(self) -> Claim | None:
        """Take the next event that is due."""
        with self._lock:
            file = self._held.file
            if file is None:
                return None
            try:
                row = self._held.positions.take(file)
            except sqlite3.Error as exc:
                self._held.notice(exc)
                raise
            return None if row is None else Claim(row.entry, row.attempts, Ticket(file, row.number))

    def done(self, claim: Claim) -> None:
        """Forget an event; noted in the file a little later, together with others."""
        with self._lock:
            if self._is_here(claim):
                self._held.pending -= 1
                self._held.positions.leave(claim.ticket.number)
                if len(self._held.positions.gone) >= WINDOW:
                    self._held.attempt(self._held.note_gone)

    def retry(self, claim: Claim, delay: float) -> None:
        """Put an event back for later."""
        file, number = claim.ticket
        with self._lock:
            if self._is_here(claim):
                self._held.positions.put_off(number, delay)
                self._held.attempt(partial(file.note_attempts, number, claim.attempts + 1))

    def release(self, claim: Claim) -> None:
        """Put an event back that was not tried."""
        with self._lock:
            if self._is_here(claim):
                self._held.positions.put_off(claim.ticket.number, 0.0)

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter."""
        with self._lock:
            if self._is_here(claim):
                letter = Dead(claim.entry, claim.attempts + 1, reason, self._wall())
                if self._held.attempt(partial(self._held.bury, claim.ticket.number, letter)):
                    self._held.positions.end(claim.ticket.number)
                    self._held.pending -= 1
                else:
                    self.retry(claim, TRIED_AGAIN)

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter of an event that was delivered from elsewhere."""
        self.take_in_dead([Dead(entry, attempts, reason, self._wall())])

    def next_due(self) -> float | None:
        """Return the seconds until an event is due."""
        with self._lock:
            return self._held.positions.next_due()

    def tend(self, paused: Paused | None) -> float | None:
        """Note what arrived, look after the file, and adopt what the dead have left."""
        with self._lock:
            self._held.look_after(paused)
            file = self._held.file
        if file is not None:
            attend(file.path, partial(self._do, file), self._wall())
        until_adoption = self._household.tend()
        return TENDED_EVERY if self._held.file is not None else until_adoption

    def adopt(self, until: float, *, others: bool) -> bool:
        """Take over what dead processes left."""
        return self._household.adopt(until, others=others)

    def stores(self, *, others: bool) -> Sequence[Store]:
        """Return the files of the folder."""
        from .spool_store import SpoolStore

        return [SpoolStore(self._folder, self._installation, others=others)]

    def take_in(self, rows: Iterable[Row]) -> int:
        """Keep what a dead process has left, and return how many events; those behind have found no room."""
        kept = 0
        with self._lock:
            for row in rows:
                if self._held.pending >= self._most_events:
                    break
                # It may have been sent without being noted: no longer a first attempt.
                try:
                    self._held.add(row.entry, row.attempts + 1)
                except sqlite3.Error as exc:
                    raise self._held.not_kept(exc) from exc
                kept += 1
        return kept

    def take_in_dead(self, letters: Iterable[Dead]) -> None:
        """Keep the dead letters of a dead process."""
        with self._lock:
            try:
                self._held.keep_dead(letters)
            except sqlite3.Error as exc:
                raise self._held.not_kept(exc) from exc

    def counts(self) -> Counts:
        """Count what is in the file of this process."""
        return Counts(self._held.pending, self._held.dead)

    def oldest(self) -> float | None:
        """Return when the first event that waits here was made."""
        with self._lock:
            self._held.note_gone()
            file = self._held.file
            return None if file is None else file.oldest()

    def at_risk(self) -> Counts:
        """Count what was lost with its file."""
        return Counts(self._held.lost, 0)

    def close(self) -> None:
        """Leave the file to whoever lives, and remove it where it is empty. What is put later is left at once."""
        with self._lock:
            self._is_closed = True
            self._held.leave()

    def _is_here(self, claim: Claim) -> bool:
        """Tell whether a claim is of the file that is open; what went on in a new one is sent from there again."""
        # Greenlets live on in a forked child, in the middle of what they did; the file is their parent's. And what
        # was to be forgotten while it was under way is not put back.
        ticket: Ticket = claim.ticket
        is_under_way = ticket.file is self._held.file and self._held.positions.is_under_way(ticket.number)
        return is_under_way and self._pid == os.getpid()

    def _do(self, file: SpoolFile, asked: Request) -> Answer:
        """Do a part of what a command asks of the owner of a file."""
        with self._lock:
            if file is not self._held.file:
                raise OSError(errno.ESTALE, "the events go on in another file", str(file.path))
            try:
                self._held.note_gone()
                room = self._most_events - self._held.pending
                answer = carry_out(asked, file, add=self._held.add, room=room)
            except sqlite3.Error as exc:
                self._held.notice(exc)
                raise
            self._held.pending -= answer.forgotten
            self._held.dead -= answer.dropped + answer.requeued
            self._held.positions.forget(set(asked.forget))
            return answer
