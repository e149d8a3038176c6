"""The outbox in a table, as far as the library does not matter by which the table is reached.

Any number of processes on any number of hosts may deliver from one table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from ..delivery import LONGEST_BACKOFF
from ..loops import is_on_a_loop
from ..outbox import Claim, Counts, Declined, Entry, Outbox, Paused
from ..values import EVENT_BYTES, EVENT_NAME_LENGTH, TRACE_ID_LENGTH, TRACE_LIFE
from .hanging import Ending, in_time
from .leases import LEASE, Leases
from .rows import Desk, Line, Rows

POLLED_EVERY = (2.0, 5.0)
"""Seconds between looks for events that nobody here has put; each time another number between these."""

KEPT_HOUSE_EVERY = 60.0
LONGEST_WAIT = LONGEST_BACKOFF + LEASE
"""Seconds ahead beyond which no event is ever put off: the clock of the database was put back."""

IDLE = 1.0
"""Seconds without use after which our connections are closed."""

MOST_DEAD = 10_000
"""Dead letters that are kept, for 30 days; of those above, the oldest go. Each was counted when it died."""


class TableOutbox(Outbox):
    """What couriers do with a table. How events come into it, and who may look, is said by the library's own.

    ``lines`` are all connections that are closed when they are idle.
    """

    def __init__(
        self,
        desk: Desk,
        lines: Sequence[Line],
        *,
        most_events: int,
        takes_as_one: bool,
        clock: Callable[[], float],
        between: Callable[[float, float], float],
    ) -> None:
        self._pid = os.getpid()
        self._desk = desk
        self._lines = lines
        self._leases = Leases(desk, takes_as_one=takes_as_one, clock=clock)
        self._most_events = most_events
        self._clock = clock
        self._between = between
        self._is_closed = False
        self._pending = 0
        """About how many events wait: counted now and then, with what was put and delivered here since."""
        self._poll_at = self._keep_house_at = clock()

    def arrived(self) -> None:
        """Know of an event that stands in the table."""
        self._pending += 1
        self._leases.expect_news()

    def claim(self) -> Claim | None:
        """Take the next event that is due."""
        return self._leases.claim() if self._is_at_work() else None

    def done(self, claim: Claim) -> None:
        """Forget an event; noted in the table a little later, together with others."""
        if not self._is_closed:
            self._leases.done(claim)
            self._pending -= 1

    def retry(self, claim: Claim, delay: float) -> None:
        """Put an event back."""
        if not self._is_closed:
            self._leases.retry(claim, delay)

    def release(self, claim: Claim) -> None:
        """Put an event back that was not tried."""
        if not self._is_closed:
            self._leases.release(claim)

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter."""
        if not self._is_closed:
            self._leases.bury(claim, reason)
            self._pending -= 1

    def next_due(self) -> float | None:
        """Return the seconds until an event is due."""
        return self._leases.next_due() if self._is_at_work() else None

    def tend(self, paused: Paused | None) -> float | None:
        """Note what has left, look for what others have put, and hang up where there is nothing to do."""
        if not self._is_at_work():
            return None
        self._leases.settle(is_at_rest=paused is not None)
        now = self._clock()
        if now >= self._poll_at:
            self._poll_at = now + self._between(*POLLED_EVERY)
            self._leases.expect_news()
        if now >= self._keep_house_at:
            self._keep_house_at = now + KEPT_HOUSE_EVERY
            with suppress(Declined):
                self._desk.run(self._keep_house)
        for line in self._lines:
            line.close(idle_for=IDLE)
        return IDLE if any(line.is_open for line in self._lines) else self._poll_at - now

    def close(self) -> None:
        """Note what has left, let go of what was taken, and hang up."""
        if self._is_at_work():
            # What cannot be noted is sent twice, which xR2 sees.
            with suppress(Exception):
                self._settle()
        if not self._is_copy():
            self._is_closed = True
            for line in self._lines:
                line.close()

    def _settle(self) -> None:
        settle = partial(self._leases.settle, is_at_rest=True)
        try:
            in_time(settle)
        except Ending:
            settle()

    def _known(self) -> Counts:
        """Return what is known here without asking the database."""
        return Counts(max(0, self._pending), 0)

    def _is_at_work(self) -> bool:
        return not (self._is_closed or self._is_copy() or is_on_a_loop())

    def _is_copy(self) -> bool:
        # Greenlets live on in a forked child, in the middle of what they did; the connections are their parent's.
        return self._pid != os.getpid()

    def _count(self, rows: Rows) -> Counts:
        return Counts(rows.count(without=self._leases.gone), rows.count_dead())

    def _keep_house(self, rows: Rows) -> None:
        rows.hasten(LONGEST_WAIT)
        self._pending = rows.count(most=self._most_events)
        rows.prune_dead(TRACE_LIFE, MOST_DEAD)


def require_fitting(entry: Entry) -> None:
    """Raise ``Declined`` for an event that the table does not hold whole."""
    # MariaDB may be set to cut what is too long, and SQLite takes anything.
    is_longer = len(entry.trace_id) > TRACE_ID_LENGTH or len(entry.event_name) > EVENT_NAME_LENGTH
    if is_longer or len(entry.body) > EVENT_BYTES:
        raise Declined("it is longer than the table takes")
