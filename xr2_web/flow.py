"""The conversation for one call: tries, waits and the total deadline, as a generator without I/O.

It yields ``Send`` and is sent back an answer or a failure, yields ``Wait`` and is sent back nothing, and returns
the response. Two short drivers run it, one for each colour (see ``client``).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from . import pacing, wire
from .models import Response
from .pacing import Chance

T = TypeVar("T")

LONGEST_BACKOFF = 20.0
"""Seconds that a wait between two tries never exceeds, unless the server asks for more."""

QUOTA_PAUSE = 15 * 60.0
"""Seconds without prompt fetches when the quota is used up and the answer does not say until when."""

WORTH_A_RETRY = frozenset(
    {
        wire.Verdict.DOUBTED,
        wire.Verdict.UNAVAILABLE,
        wire.Verdict.RATE_LIMITED,
        wire.Verdict.QUOTA_USED_UP,
    }
)


class Send(NamedTuple):
    """Send the request and come back with the answer by ``until``, on the monotonic clock."""

    request: wire.Request[Any]
    until: float


class Wait(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Patience(NamedTuple):
    """How long a call may take: ``timeout`` a try and ``deadline`` in total (seconds), ``retries`` at most."""

    timeout: float
    deadline: float
    retries: int
    backoff_factor: float


Conversation: TypeAlias = Generator[Send | Wait, "wire.Answer | wire.Failure | None", "wire.Judgement[T]"]


def converse(request: wire.Request[T], patience: Patience, chance: Chance) -> Conversation[T]:
    """Ask until there is an answer worth returning, and never beyond the deadline.

    A wait that would not end before the deadline is not begun: the last answer is returned at once, with what
    the server said of when to come back.
    """
    end = chance.monotonic() + patience.deadline
    attempt = 0
    while True:
        answer = yield Send(request, min(chance.monotonic() + patience.timeout, end))
        assert answer is not None
        judgement = wire.judge(request, answer, now=chance.wall())
        if judgement.verdict not in WORTH_A_RETRY or attempt >= patience.retries:
            return judgement
        pause = _pause(judgement, attempt, patience, chance)
        if chance.monotonic() + pause >= end:
            return judgement
        yield Wait(pause)
        attempt += 1


def guarded(
    request: wire.Request[T], patience: Patience, chance: Chance, breaker: pacing.Breaker, pause: pacing.Pause
) -> Conversation[T]:
    """Converse, unless the server is known not to answer; what comes back is noted for the next call."""
    now = chance.monotonic()
    if pause.left(now) or not breaker.allows(now):
        why = "xR2 was not asked: it did not answer lately, or asked for a pause"
        return wire.Judgement(wire.Verdict.UNAVAILABLE, Response(error=why, status_code=0))
    judgement = yield from converse(request, patience, chance)
    _note(judgement, chance.monotonic(), breaker, pause)
    return judgement


def _note(judgement: wire.Judgement[T], now: float, breaker: pacing.Breaker, pause: pacing.Pause) -> None:
    said = judgement.response.retry_after
    if judgement.verdict in (wire.Verdict.DELIVERED, wire.Verdict.REFUSED):
        breaker.succeeded()
    elif judgement.verdict is wire.Verdict.QUOTA_USED_UP:
        breaker.pause_until(now + min(pacing.LONGEST_QUOTA_PAUSE, QUOTA_PAUSE if said is None else said))
    elif judgement.verdict is wire.Verdict.RATE_LIMITED:
        pause.extend(now + pacing.rate_limit_pause(said))
    else:
        breaker.failed(now)


def _pause(judgement: wire.Judgement[Any], attempt: int, patience: Patience, chance: Chance) -> float:
    said = judgement.response.retry_after
    if said is None and judgement.verdict is wire.Verdict.QUOTA_USED_UP:
        return QUOTA_PAUSE
    jitter = chance.random()
    jittered = pacing.backoff(attempt, base=patience.backoff_factor, cap=LONGEST_BACKOFF, jitter=jitter)
    return max(jittered, said or 0.0)
