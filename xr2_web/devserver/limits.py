"""How much a key and an address may ask for, as xR2 limits them. No I/O happens here; nothing outlives the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

from . import answers
from .answers import DAY
from .refusal import Refusal
from .rejections import Rejections
from .rules import API_PREFIX

WINDOW = 60
"""Seconds in which the requests of an address are counted."""
PENALTY = 300
"""Seconds for which an address is refused that asked too often."""
ADDRESSES_KEPT = 10_000

_TOO_MANY = Refusal(429, f"Too many requests: --ip-limit refuses the address for {PENALTY} s")


@dataclass(frozen=True, slots=True)
class Limits:
    """Prompt fetches a day and key, and requests a minute and address; None for no limit."""

    daily_quota: int | None = None
    ip_limit: int | None = None

    def __str__(self) -> str:
        """What is limited, in words; nothing where nothing is."""
        told = []
        if self.daily_quota is not None:
            told.append(f"prompt fetches to {self.daily_quota:,} a day for each key")
        if self.ip_limit is not None:
            told.append(f"requests to {self.ip_limit:,} a minute from each address")
        return " and ".join(told)


NO_LIMITS = Limits()


class DailyQuota:
    """Count the prompts that were served to each key; a day ends at midnight UTC."""

    def __init__(self, maximum: int | None) -> None:
        self._maximum = maximum
        self._day = 0.0
        self._used: dict[str, int] = {}

    def check(self, key: str, *, now: float) -> None:
        """Raise the ``Refusal`` where ``key`` has no fetch left."""
        if now // DAY != self._day:
            self._day = now // DAY
            self._used.clear()
        used = self._used.get(key, 0)
        if self._maximum is not None and used >= self._maximum:
            raise answers.quota_used_up(used, maximum=self._maximum, now=now)

    def count(self, key: str) -> None:
        """Note that a prompt was served to ``key``, after ``check``."""
        if self._maximum is not None:
            self._used[key] = self._used.get(key, 0) + 1


@dataclass(slots=True)
class _Caller:
    times: deque[float] = field(default_factory=deque)
    refused_until: float = 0.0


class IpLimit:
    """The requests of each address in the last minute, and the addresses that are refused."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._callers: dict[str, _Caller] = {}

    def admits(self, address: str, *, now: float) -> bool:
        """Count a request, and say whether it may pass. What lies in the future, of a clock put back, is forgotten."""
        caller = self._caller(address)
        if caller.refused_until - PENALTY <= now < caller.refused_until:
            return False
        while caller.times and caller.times[-1] > now:
            caller.times.pop()
        while caller.times and caller.times[0] <= now - WINDOW:
            caller.times.popleft()
        caller.times.append(now)
        if len(caller.times) <= self._maximum:
            return True
        caller.refused_until = now + PENALTY
        return False

    def _caller(self, address: str) -> _Caller:
        if address not in self._callers and len(self._callers) >= ADDRESSES_KEPT:
            del self._callers[next(iter(self._callers))]
        return self._callers.setdefault(address, _Caller())


class Limiting:
    """The middleware that refuses addresses which ask the endpoints of xR2 too often; None lets everybody pass."""

    def __init__(
        self, app: ASGIApp, *, maximum: int | None, rejections: Rejections, clock: Callable[[], float]
    ) -> None:
        self._app = app
        self._rejections = rejections
        self._limit = IpLimit(maximum) if maximum is not None else None
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_refused = self._is_refused(scope)
        if is_refused:
            self._rejections.note(scope["path"].removeprefix(API_PREFIX), _TOO_MANY)
        await (answers.too_many_requests(PENALTY) if is_refused else self._app)(scope, receive, send)

    def _is_refused(self, scope: Scope) -> bool:
        if self._limit is None or scope["type"] != "http" or not scope["path"].startswith(API_PREFIX):
            return False
        address, _ = scope.get("client") or ("", 0)
        return not self._limit.admits(address, now=self._clock())
