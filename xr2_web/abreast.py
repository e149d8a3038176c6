"""Whether deliveries are made one after the other or side by side, learnt from how long they take."""

from __future__ import annotations

import math

QUICK = 0.002
"""Seconds of a delivery below which threads side by side gain nothing: they take the interpreter from each other, and
from the requests."""

STUCK = 0.04
"""Seconds without any delivery after which a thread that others waited for is not waited for any longer."""

SLOW_IN_A_ROW = 3
"""Deliveries that take longer, one after the other, before others are made beside them."""

TRIED_ALONE_AFTER, LONGEST_SIDE_BY_SIDE = 0.2, 10.0
"""Seconds after which threads side by side find out whether one would do, first and at the most."""


class Pace:
    """What the threads of one courier have learnt together; changed without a lock, as a mistake is soon mended."""

    def __init__(self) -> None:
        self._slow = 0
        self._alone_at = -math.inf
        self._alone_after = TRIED_ALONE_AFTER

    def is_quick(self) -> bool:
        """Tell whether one thread is enough."""
        return self._slow < SLOW_IN_A_ROW

    def took(self, seconds: float, *, under_way: int, was_alone: bool, now: float) -> None:
        """Learn from a delivery; ``under_way`` counts it and those beside it."""
        if was_alone:
            self._slow = 0 if seconds < QUICK else self._slow + 1
            if not self._slow:
                self._alone_after = TRIED_ALONE_AFTER
        elif seconds < min(QUICK * under_way, STUCK) and now >= self._alone_at:
            # Perhaps they were only in each other's way: one alone will tell.
            self._slow = SLOW_IN_A_ROW - 1
            self._alone_at = now + self._alone_after
            self._alone_after = min(2 * self._alone_after, LONGEST_SIDE_BY_SIDE)

    def got_stuck(self) -> None:
        """Learn that an answer does not come."""
        self._slow = SLOW_IN_A_ROW
