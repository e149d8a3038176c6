"""When to send again: backoff, Retry-After, the breaker and the request budget. No I/O; clocks come as arguments."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import NamedTuple

WINDOW = 60.0
"""Seconds over which xR2 counts requests."""

EVENTS_ALWAYS = 10
"""Events a window that prompt fetches can never take away."""


def backoff(attempt: int, *, base: float, cap: float, jitter: float) -> float:
    """Return the seconds to wait before the try after ``attempt`` (0 is the first), with full jitter.

    ``jitter`` is a random number in [0, 1). See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return jitter * min(cap, base * 2.0 ** min(attempt, 60))


LONGEST_QUOTA_PAUSE = 26 * 60 * 60.0
"""A daily quota is back after a day at most; a reset time beyond that is not believed."""


def rate_limit_pause(said: float | None) -> float:
    """Return the seconds to send nothing after a 429: what the server said, from a second to ten minutes."""
    return 60.0 if said is None else min(600.0, max(1.0, said))


def seconds_until(text: str, *, now: float) -> float | None:
    """Read a Retry-After value, seconds or an HTTP date (RFC 9110, 10.2.3); None where it is neither."""
    try:
        seconds = float(text)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            moment = parsedate_to_datetime(text)
            # "-0000" comes back naive and means UTC; left so, it would be read as this machine's own time.
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def timestamp(text: object) -> float | None:
    """Read an ISO 8601 time as seconds since the epoch; a naive one is UTC. None where it is not one."""
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _random() -> float:
    from random import random

    return random()


class Chance(NamedTuple):
    """Where time and luck come from, so that a test can give its own."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = _random


class Breaker:
    """Stop asking a server that fails: open after ``threshold`` failures in a row, for ``pause`` seconds.

    While open, one caller each ``pause`` is let through to see whether the server is back.
    """

    def __init__(self, *, threshold: int = 3, pause: float = 10.0) -> None:
        self._threshold = threshold
        self._pause = pause
        self._failures = 0
        self._closed_at = -math.inf
        self._lock = Lock()

    def allows(self, now: float) -> bool:
        """Say whether a call may go out at ``now``; a yes while half open claims the one trial."""
        if self._closed_at <= now and self._failures < self._threshold:
            return True
        with self._lock:
            if self._closed_at > now:
                return False
            if self._failures >= self._threshold:
                self._closed_at = now + self._pause
            return True

    def succeeded(self) -> None:
        """Close the breaker."""
        if self._failures or self._closed_at != -math.inf:
            with self._lock:
                self._failures, self._closed_at = 0, -math.inf

    def failed(self, now: float) -> None:
        """Count a failure, and open at the threshold."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._threshold:
                self._closed_at = now + self._pause

    def pause_until(self, moment: float) -> None:
        """Let nothing through before ``moment``, as the server asked."""
        with self._lock:
            self._closed_at = max(self._closed_at, moment)


class Pause:
    """A time before which nothing is sent, because the server said so; shared by prompts and events."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._lock = Lock()

    def extend(self, until: float) -> None:
        """Send nothing before ``until``, nor before what was said already."""
        with self._lock:
            self._until = max(self._until, until)

    def lift(self) -> None:
        """Allow sending at once."""
        with self._lock:
            self._until = -math.inf

    def left(self, now: float) -> float:
        """Return the seconds that are left, 0 when sending is allowed."""
        return max(0.0, self._until - now)


class Budget:
    """The requests of the last minute: events wait at the limit, prompt fetches only count.

    A window, not a bucket: a bucket that is full lets twice its rate through in the first minute, and the
    server refuses an address for five minutes above 100 requests in one.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._prompts: deque[float] = deque()
        self._events: deque[float] = deque()
        self._lock = Lock()

    def debit_prompt(self, now: float) -> None:
        """Count a prompt fetch; it is never refused here."""
        if self._limit is not None:
            with self._lock:
                self._forget(now)
                self._prompts.append(now)

    def debit_event(self, now: float) -> float:
        """Take an event's share and return 0, or return the seconds to wait and take nothing."""
        if self._limit is None:
            return 0.0
        with self._lock:
            self._forget(now)
            has_room = len(self._prompts) + len(self._events) < self._limit
            if has_room or len(self._events) < min(EVENTS_ALWAYS, self._limit):
                self._events.append(now)
                return 0.0
            return min(each[0] for each in (self._prompts, self._events) if each) + WINDOW - now

    def credit_event(self) -> None:
        """Give back a share that was not used."""
        with self._lock:
            if self._events:
                self._events.pop()

    def _forget(self, now: float) -> None:
        for requests in (self._prompts, self._events):
            while requests and requests[0] + WINDOW <= now:
                requests.popleft()
