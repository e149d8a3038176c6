"""What the log tells of deliveries, each thing once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("xr2_web")

TOLD_AFTER = 30.0
"""Seconds after which the log tells that xR2 is away: what is shorter harms nobody."""


class Teller:
    """Threads may share it; ``monotonic`` is the clock."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._told: set[tuple[str, str]] = set()
        self._away_since: float | None = None
        self._is_away_told = False
        self._is_key_told = False
        self._lock = threading.RLock()

    def tell(self, kind: str, event_name: str, message: str) -> None:
        """Tell of an event, once for each kind and name."""
        if (kind, event_name) not in self._told and len(self._told) < 1000:
            self._told.add((kind, event_name))
            named = f"{event_name!r}: " if event_name else ""
            logger.warning("xr2_web.event_%s: %s%s", kind, named, message)

    def away(self, error: str) -> None:
        """Note that xR2 has not taken an event, and tell if that lasts."""
        now = self._monotonic()
        with self._lock:
            if self._away_since is None:
                self._away_since = now
            if self._is_away_told or now - self._away_since < TOLD_AFTER:
                return
            self._is_away_told = True
        logger.warning("xr2_web.unreachable: xR2 has taken no event for a while (%s); they wait until it does", error)

    def back(self) -> None:
        """Note that xR2 answers, and tell if it was told that it does not."""
        if self._away_since is None:
            return
        with self._lock:
            was_told, self._is_away_told, self._away_since = self._is_away_told, False, None
        if was_told:
            logger.warning("xr2_web.reachable: xR2 answers again")

    def key_refused(self, status: int | None) -> None:
        """Tell that the key is refused, once until it was really accepted."""
        with self._lock:
            was_told, self._is_key_told = self._is_key_told, True
        if not was_told:
            logger.error("xr2_web.key_refused: xR2 answers %s; events are kept until API_KEY is accepted again", status)

    def key_accepted(self) -> None:
        """Note that an event was taken under the key."""
        self._is_key_told = False
