"""The outbox in memory: nothing survives the process. For tests, and for disks that cannot be written."""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import RLock

from . import Claim, Counts, Entry, Outbox, Put
from .rows import Dead

logger = logging.getLogger("xr2_web")

MOST_DEAD = 1000
"""Dead letters kept; the oldest go, each was logged when it died."""

Key = tuple[str, str]


class MemoryOutbox(Outbox):
    """Events in two queues: those due now in the order of arrival, and those to be tried later."""

    def __init__(
        self,
        most_events: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._most_events = most_events
        self._clock = clock
        self._wall = wall
        self._entries: dict[Key, Entry] = {}
        self._due: deque[Claim] = deque()
        self._later: list[tuple[float, int, Claim]] = []
        self._dead: deque[Dead] = deque(maxlen=MOST_DEAD)
        self._order = itertools.count()
        # Reentrant: a finalizer that tracks an event may run in the middle of any of this.
        self._lock = RLock()

    def put(self, entry: Entry) -> Put:
        """Take an event, unless one of its key is here or the outbox is full."""
        key = (entry.trace_id, entry.event_name)
        with self._lock:
            if key in self._entries:
                return Put.DUPLICATE
            if len(self._entries) >= self._most_events:
                return Put.FULL
            # In this order, so that what an exception of a signal's handler cuts off is not counted without being due.
            self._due.append(Claim(entry, 0))
            self._entries[key] = entry
        return Put.ACCEPTED

    def claim(self) -> Claim | None:
        """Take the next event that is due."""
        with self._lock:
            if self._later and self._later[0][0] <= self._clock():
                return heapq.heappop(self._later)[2]
            return self._due.popleft() if self._due else None

    def give(self) -> Claim | None:
        """Take the next event, due or not."""
        with self._lock:
            return self.claim() or (heapq.heappop(self._later)[2] if self._later else None)

    def done(self, claim: Claim) -> None:
        """Forget an event."""
        with self._lock:
            self._entries.pop((claim.entry.trace_id, claim.entry.event_name), None)

    def retry(self, claim: Claim, delay: float) -> None:
        """Put an event back for later."""
        self._put_off(Claim(claim.entry, claim.attempts + 1), delay)

    def release(self, claim: Claim) -> None:
        """Put an event back that was not tried."""
        self._put_off(claim, 0.0)

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter."""
        self.done(claim)
        self.keep_dead(claim.entry, claim.attempts + 1, reason)

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter of an event that was delivered from elsewhere."""
        self._dead.append(Dead(entry, attempts, reason, self._wall()))

    def give_dead(self) -> Dead | None:
        """Give the oldest dead letter away."""
        with suppress(IndexError):
            return self._dead.popleft()
        return None

    def next_due(self) -> float | None:
        """Return the seconds until an event is due."""
        with self._lock:
            if self._due:
                return 0.0
            return max(0.0, self._later[0][0] - self._clock()) if self._later else None

    def counts(self) -> Counts:
        """Count what is here."""
        return Counts(pending=len(self._entries), dead=len(self._dead))

    def at_risk(self) -> Counts:
        """Count all that is here."""
        return self.counts()

    def oldest(self) -> float | None:
        """Return when the oldest event was made."""
        with self._lock:
            return min((entry.made_at for entry in self._entries.values()), default=None)

    def close(self) -> None:
        """Know that nobody brings back what is under way: it can be given, too. Memory goes with the process."""
        with self._lock:
            self._later.clear()
            self._due = deque(Claim(entry, 0) for entry in self._entries.values())

    def _put_off(self, claim: Claim, delay: float) -> None:
        with self._lock:
            heapq.heappush(self._later, (self._clock() + delay, next(self._order), claim))
