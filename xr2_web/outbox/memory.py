"""The outbox in memory: nothing survives the process. For tests, and for disks that cannot be written."""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from . import Claim, Counts, Entry, Put

logger = logging.getLogger("xr2_web")

MOST_DEAD = 1000
"""Dead letters kept; the oldest go, each was logged when it died."""

Key = tuple[str, str]


class MemoryOutbox:
    """Events in two queues: those due now in the order of arrival, and those to be tried later."""

    def __init__(self, most_events: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_events = most_events
        self._clock = clock
        self._keys: set[Key] = set()
        self._due: deque[Claim] = deque()
        self._later: list[tuple[float, int, Claim]] = []
        self._dead: deque[tuple[Entry, str]] = deque(maxlen=MOST_DEAD)
        self._order = itertools.count()
        self._lock = Lock()

    def put(self, entry: Entry) -> Put:
        """Take an event, unless one of its key is here or the outbox is full."""
        key = (entry.trace_id, entry.event_name)
        with self._lock:
            if key in self._keys:
                return Put.DUPLICATE
            if len(self._keys) >= self._most_events:
                return Put.FULL
            self._keys.add(key)
            self._due.append(Claim(entry, 0))
        return Put.ACCEPTED

    def claim(self) -> Claim | None:
        """Take the next event that is due."""
        with self._lock:
            if self._later and self._later[0][0] <= self._clock():
                return heapq.heappop(self._later)[2]
            return self._due.popleft() if self._due else None

    def done(self, claim: Claim) -> None:
        """Forget an event."""
        with self._lock:
            self._keys.discard((claim.entry.trace_id, claim.entry.event_name))

    def retry(self, claim: Claim, delay: float) -> None:
        """Put an event back for later."""
        again = Claim(claim.entry, claim.attempts + 1)
        with self._lock:
            heapq.heappush(self._later, (self._clock() + delay, next(self._order), again))

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter."""
        self.done(claim)
        self._dead.append((claim.entry, reason))

    def next_due(self) -> float | None:
        """Return the seconds until an event is due."""
        with self._lock:
            if self._due:
                return 0.0
            return max(0.0, self._later[0][0] - self._clock()) if self._later else None

    def counts(self) -> Counts:
        """Count what is here."""
        return Counts(pending=len(self._keys), dead=len(self._dead))

    def close(self) -> None:
        """Do nothing: memory goes with the process."""
