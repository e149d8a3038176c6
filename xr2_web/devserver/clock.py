"""The time of the local xR2, put ahead where nobody would wait for what takes days. No I/O happens here."""

from __future__ import annotations

from collections.abc import Callable

FURTHEST = 3_650 * 24 * 60 * 60
"""Seconds that the clock can be ahead at most: ten years."""


class Clock:
    """Tell the time of ``now``, in seconds since the epoch, and ``ahead`` seconds more."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._now() + self.ahead

    def advance(self, seconds: float) -> None:
        """Put the clock ahead by ``seconds`` more; raise ``ValueError`` where that is back, or beyond ``FURTHEST``."""
        if not 0 <= seconds <= FURTHEST - self.ahead:
            raise ValueError(f"the clock goes forward only, and is at most {FURTHEST} seconds ahead")
        self.ahead += seconds

    def reset(self) -> None:
        """Tell the time of ``now`` again."""
        self.ahead = 0.0
