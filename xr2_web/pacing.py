"""When to send again: backoff, Retry-After, the breaker and the request budget. No I/O; clocks come as arguments."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import NamedTuple, Protocol

from .forks import ForkLock

WINDOW = 60.0
"""Seconds over which xR2 counts requests."""

EVENTS_ALWAYS = 10
"""Events a window that prompt fetches can never take away."""

AHEAD = 3.0
"""Seconds that what is true may lie in the future of who asks: another has read the clock a moment later."""

Made = tuple[int, int, int]
"""Requests of one second: the second at whose end they count as made, prompt fetches, events."""


def backoff(attempt: int, *, base: float, cap: float, jitter: float) -> float:
    """Return the seconds to wait before the try after ``attempt`` (0 is the first), with full jitter.

    ``jitter`` is a random number in [0, 1). See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return jitter * min(cap, base * 2.0 ** min(attempt, 60))


LONGEST_QUOTA_PAUSE = 26 * 60 * 60.0
"""A daily quota is back after a day at most; a reset time beyond that is not believed."""


LONGEST_RATE_LIMIT_PAUSE = 600.0


def rate_limit_pause(said: float | None) -> float:
    """Return the seconds to send nothing after a 429: what the server said, from a second to ten minutes."""
    return 60.0 if said is None else min(LONGEST_RATE_LIMIT_PAUSE, max(1.0, said))


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


def wait_for_room(made: Iterable[Made], limit: int, now: float) -> float:
    """Return the seconds until an event may be sent, 0 for now, where ``made`` is what was sent lately, in any order.

    A window, not a bucket: a bucket that is full lets twice its rate through in the first minute, and the server
    refuses an address for five minutes above 100 requests in one.
    """
    recent = sorted(each for each in made if each[0] + WINDOW - now > 0 and each[0] <= now + AHEAD)
    prompts, events = sum(each[1] for each in recent), sum(each[2] for each in recent)
    wait = 0.0
    for second, leaving_prompts, leaving_events in recent:
        if prompts + events < limit or events < min(EVENTS_ALWAYS, limit):
            break
        prompts, events = prompts - leaving_prompts, events - leaving_events
        wait = second + WINDOW - now
    return wait


class Requests:
    """The requests of the last minute, counted by the second. No lock is in it."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[Made]:
        return ((second, *counts) for second, counts in self._counts.items())

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, made: Made) -> None:
        """Count requests, or fewer of them where a number is negative."""
        second, prompts, events = made
        if second not in self._counts:
            self._counts = {each: counts for each, counts in self._counts.items() if second - each <= WINDOW}
        before = self._counts.get(second, (0, 0))
        self._counts[second] = (before[0] + prompts, before[1] + events)


class Ledger(Protocol):
    """Where a pause and the requests of the last minute are written down. Threads may share it."""

    def until(self) -> float:
        """Return the moment before which nothing is sent."""

    def pause(self, change: Callable[[float], float]) -> None:
        """Change that moment from what it was. It never waits."""

    def note(self, made: Made) -> None:
        """Count requests, or fewer of them where a number is negative. It never waits."""

    def take(self, event: Made, wait_for_room: Callable[[Iterable[Made]], float]) -> float:
        """Count an event if the rule finds no wait in what was made lately; return the wait."""


class OwnLedger:
    """The ledger of one process."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._made = Requests()
        self._lock = ForkLock()

    def until(self) -> float:
        """Return the moment before which nothing is sent."""
        return self._until

    def pause(self, change: Callable[[float], float]) -> None:
        """Change that moment."""
        with self._lock:
            self._until = change(self._until)

    def note(self, made: Made) -> None:
        """Count requests."""
        with self._lock:
            self._made.add(made)

    def take(self, event: Made, wait_for_room: Callable[[Iterable[Made]], float]) -> float:
        """Count an event where there is room for it."""
        with self._lock:
            wait = wait_for_room(self._made)
            if not wait:
                self._made.add(event)
            return wait


class Pause:
    """A time before which nothing is sent, because the server said so; shared by prompts and events.

    What lies further ahead than ``longest`` seconds cannot have been said, and holds nothing up.
    """

    def __init__(self, ledger: Ledger | None = None, *, longest: float = math.inf) -> None:
        self._ledger = ledger or OwnLedger()
        self._longest = longest

    def extend(self, until: float) -> None:
        """Send nothing before ``until``, nor before what was said already."""
        self._ledger.pause(lambda said: said if until < said <= until + self._longest else until)

    def lift(self) -> None:
        """Allow sending at once."""
        self._ledger.pause(lambda _: -math.inf)

    def left(self, now: float) -> float:
        """Return the seconds that are left, 0 when sending is allowed."""
        left = self._ledger.until() - now
        return left if 0.0 < left <= self._longest else 0.0


class Budget:
    """The requests of the last minute: events wait at the limit, prompt fetches only count."""

    def __init__(self, limit: int | None, ledger: Ledger | None = None) -> None:
        self._limit = limit
        self._ledger = ledger or OwnLedger()
        self._debited = threading.local()

    def debit_prompt(self, now: float) -> None:
        """Count a prompt fetch; it is never refused here."""
        if self._limit is not None:
            self._ledger.note((math.ceil(now), 1, 0))

    def debit_event(self, now: float) -> float:
        """Take an event's share and return 0, or return the seconds to wait and take nothing."""
        if self._limit is None:
            return 0.0
        second = math.ceil(now)
        wait = self._ledger.take((second, 0, 1), partial(wait_for_room, limit=self._limit, now=now))
        if not wait:
            self._debited.second = second
        return wait

    def credit_event(self) -> None:
        """Give back the share that this thread took last, and did not use."""
        second = self._debited.__dict__.pop("second", None)
        if second is not None:
            self._ledger.note((second, 0, -1))
