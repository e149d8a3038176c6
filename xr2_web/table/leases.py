"""What one process has taken from the table to deliver: some events at a time, handed out one by one.

The database is asked only where it may have something new. Threads may share it; those that wait for an answer of
the database wait together.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from ..courier import SEND_TIMEOUT
from ..outbox import Claim, Declined
from .rows import Desk, Rows

BATCH = 50
"""Events that are taken at a time."""

LEASE = 60.0
"""Seconds after which what a process has taken and not delivered is due again."""

HANDED_OUT_FOR = LEASE - 2 * SEND_TIMEOUT
"""Seconds for which taken events are handed out: sending the last, and noting it, must end within the lease."""

LOCKED_FOR = 0.1
"""Seconds after which to look again for what another has locked: events that are due, all of SQLite, the connection."""


class Leases:
    """The courier's side of the table. What was lost to another changes nothing there.

    ``takes_as_one`` where a look and the taking of what was seen are to be one transaction.
    """

    def __init__(self, desk: Desk, *, takes_as_one: bool, clock: Callable[[], float]) -> None:
        self._desk = desk
        self._takes_as_one = takes_as_one
        self._clock = clock
        self._taken: deque[Claim] = deque()
        self._hand_out_until = -math.inf
        self._gone: dict[int, str] = {}
        self._has_news = True
        self._look_at = math.inf
        """When the first event that waits is due."""

    @property
    def gone(self) -> Collection[int]:
        """The ids of what has left and is not noted in the table yet."""
        return self._gone.copy()

    def expect_news(self) -> None:
        """Have the next question go to the database: somebody may have put an event."""
        self._has_news = True

    def next_due(self) -> float | None:
        """Return the seconds until an event is due."""
        if not self._can_hand_out() and (self._gone or self._taken or self._may_be_due()):
            self._run(self._look, as_one=self._takes_as_one)
        if self._can_hand_out():
            return 0.0
        return None if self._look_at == math.inf else max(0.0, self._look_at - self._clock())

    def claim(self) -> Claim | None:
        """Take the next event that is due."""
        while self.next_due() == 0.0:
            with suppress(IndexError):  # another thread was faster
                return self._taken.popleft()
        return None

    def done(self, claim: Claim) -> None:
        """Forget an event; noted a little later, together with others."""
        self._gone[claim.ticket.id] = claim.ticket.token

    def retry(self, claim: Claim, delay: float) -> None:
        """Put an event back; where the connection is not to be had, the end of its lease does."""
        if self._run(lambda rows: rows.retry(claim, delay)):
            self._look_at = min(self._look_at, self._clock() + delay)

    def release(self, claim: Claim) -> None:
        """Put an event back that was not tried."""
        if self._run(lambda rows: rows.put_back([claim.ticket])):
            self._has_news = True

    def bury(self, claim: Claim, reason: str) -> None:
        """Make a dead letter of an event; where the connection is not to be had, it is sent again after its lease."""
        self._run(lambda rows: rows.bury(claim, reason), as_one=True)

    def settle(self, *, is_at_rest: bool) -> None:
        """Note what has left; at rest, leave to others what was taken and not handed out."""
        if self._gone or (is_at_rest and self._taken):
            self._run(lambda rows: self._settle(rows, is_at_rest))

    def _run(self, work: Callable[[Rows], None], *, as_one: bool = False) -> bool:
        try:
            self._desk.run(work, as_one=as_one)
        except Declined:
            # Others use it, or somebody has locked SQLite: nothing has failed.
            self._look_at = self._clock() + LOCKED_FOR
            return False
        return True

    def _settle(self, rows: Rows, is_at_rest: bool) -> None:
        self._note_gone(rows)
        if is_at_rest:
            self._let_go(rows)

    def _look(self, rows: Rows) -> None:
        if self._can_hand_out():  # another thread has looked meanwhile
            return
        self._let_go(rows)
        if self._may_be_due():
            self._take(rows)
        else:
            self._note_gone(rows)

    def _take(self, rows: Rows) -> None:
        self._has_news = False  # before the query: what is put from here on may not be in its answer
        now, gone = self._clock(), self._gone.copy()
        try:
            claims = rows.exchange(gone, BATCH, LEASE)
            first = 0.0 if len(claims) == BATCH else rows.first_due()
            rows.commit()
        except BaseException:
            self._has_news = True
            raise
        self._forget(gone)
        self._hand_out_until = now + HANDED_OUT_FOR
        self._look_at = math.inf if first is None else now + max(0.0 if claims else LOCKED_FOR, first)
        self._taken.extend(claims)

    def _may_be_due(self) -> bool:
        return self._has_news or self._clock() >= self._look_at

    def _can_hand_out(self) -> bool:
        return bool(self._taken) and self._clock() < self._hand_out_until

    def _let_go(self, rows: Rows) -> None:
        if tickets := [claim.ticket for claim in self._rest()]:
            self._has_news = True
            rows.put_back(tickets)

    def _rest(self) -> Iterator[Claim]:
        with suppress(IndexError):
            while True:
                yield self._taken.popleft()

    def _note_gone(self, rows: Rows) -> None:
        if gone := self._gone.copy():
            rows.delete(gone)
            rows.commit()
            self._forget(gone)

    def _forget(self, gone: Collection[int]) -> None:
        for each in gone:
            del self._gone[each]
