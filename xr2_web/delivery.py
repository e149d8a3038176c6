"""Delivers one event at a time, and acts on what the server answers; what an answer means stands in ``wire``."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from . import pacing, wire
from .failures import tell_failed
from .models import EventResponse
from .once import once
from .outbox import Claim, Outbox, Paused
from .pacing import Chance
from .telling import Teller
from .values import TRACE_LIFE

LONGEST_BACKOFF = 300.0
DOUBTED_TRIES = 4
FAILURES_TO_PAUSE = 3


class Transport(Protocol):
    """What events are sent through."""

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        """Return the answer, or why there is none by ``until``."""

    def close(self) -> None:
        """Close its connections."""


class Delivery:
    """What is done with an event that waits. Threads may share it.

    A 429 pauses all sending, a key that is not accepted pauses it until a probe succeeds, and a server that does
    not answer is tried less and less often, with one event at a time. Nothing but a refusal, an arrival or 30 days ends
    an event.
    """

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[], Transport],
        *,
        pause: pacing.Pause,
        budget: pacing.Budget,
        count: Callable[[str], None],
        chance: Chance,
    ) -> None:
        self.delivered = 0
        self.refused = 0
        self._outbox = outbox
        self._connect = connect
        self._pause = pause
        self._budget = budget
        self._count = count
        self._chance = chance
        self._failures = 0
        self._under_way = 0
        self._probes = 0
        self._is_locked_out = False
        self._teller = Teller(chance.monotonic)
        self._doubts: Counter[tuple[str, str]] = Counter()
        self._own_pause = pacing.Pause()
        self._why = ""
        self._lock = threading.RLock()
        self._began_at = chance.wall()
        self._wall_ahead = self._began_at - chance.monotonic()

    @once
    def _transport(self) -> Transport:
        # Made by the thread that sends: loading the HTTP library takes longer than a request may.
        return self._connect()

    def take(self, until: float) -> Claim | float | None:
        """Claim an event that is due, or return the seconds after which to come back, None when nothing waits.

        0 means that there may be more to do. Where the key was refused it asks, seldom and until ``until``, whether it
        is accepted again.
        """
        now = self._chance.monotonic()
        if left := max(self._pause.left(now), self._own_pause.left(now)):
            return left
        if self._is_locked_out:
            return self._probe(now, until)
        due = self._outbox.next_due()
        if due is None or due > 0:
            return due
        if not self._begin():
            return until - now  # by then what is under way has ended, and shown whether the server is back
        taken: Claim | float = 0.0
        try:
            taken = self._claim(now)
        finally:
            if not isinstance(taken, Claim):
                self._end()
        return taken

    def deliver(self, claim: Claim, until: float) -> None:
        """Send a claimed event, and do what the answer asks for."""
        try:
            self._act(claim, self._judged(claim, until))
        finally:
            self._end()

    def give_back(self, claim: Claim) -> None:
        """Leave a claimed event that was not tried to whoever comes next."""
        try:
            self._outbox.release(claim)
        finally:
            self._end()

    def paused(self) -> Paused | None:
        """Say until when nothing is sent, and why; None where sending goes on."""
        now = self._chance.monotonic()
        shared, own = self._pause.left(now), self._own_pause.left(now)
        if not max(shared, own):
            return None
        why = self._why if own > shared else "xR2 asked for fewer requests (429)"
        return Paused(self._chance.wall() + max(shared, own), why)

    def close(self) -> None:
        """Close the connections."""
        if (transport := self.__dict__.get("_transport")) is not None:
            transport.close()

    def _begin(self) -> bool:
        """Count an event as under way; of a server that failed, one alone finds out whether it is back."""
        with self._lock:
            if self._under_way and self._failures >= FAILURES_TO_PAUSE:
                return False
            self._under_way += 1
            return True

    def _end(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _claim(self, now: float) -> Claim | float:
        if wait := self._budget.debit_event(now):
            return wait
        claim = self._outbox.claim()
        # How old an event of another process is says the wall clock alone, which may be wrong: that is tried once.
        if claim is not None and not (claim.entry.made_at >= self._began_at and self._is_expired(claim)):
            return claim
        if claim is not None:
            self._expire(claim)
        self._budget.credit_event()
        return 0.0

    def _expire(self, claim: Claim) -> None:
        self._outbox.done(claim)
        self._doubts.pop(claim.entry[:2], None)
        self._count("expired")
        self._teller.tell("expired", "", _EXPIRED)

    def _is_expired(self, claim: Claim) -> bool:
        # By whichever clock is behind: one that is set forward makes no event older.
        now = min(self._chance.wall(), self._chance.monotonic() + self._wall_ahead)
        return now - claim.entry.made_at > TRACE_LIFE

    def _judged(self, claim: Claim, until: float) -> wire.Judgement[EventResponse]:
        try:
            request = wire.event_request(claim.entry.body)
            return wire.judge(request, self._sent(request, until), now=self._chance.wall())
        except BaseException:  # the thread is ended from outside
            self._outbox.release(claim)
            raise

    def _sent(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        try:
            return self._transport.send(request, until)
        except Exception as exc:  # noqa: BLE001
            # Raised further it would leave the event claimed, and unsent until the process ends.
            tell_failed("send_failed", exc)
            return wire.Failure(type(exc).__name__)

    def _act(self, claim: Claim, judgement: wire.Judgement[EventResponse]) -> None:
        if judgement.verdict in (wire.Verdict.UNAVAILABLE, wire.Verdict.DOUBTED):
            self._teller.away(judgement.response.error or "")
        elif judgement.verdict is not wire.Verdict.MISROUTED:
            self._teller.back()
        match judgement.verdict:
            case wire.Verdict.DELIVERED:
                self._arrived(claim, judgement.response.data)
            case wire.Verdict.REFUSED:
                self._bury(claim, judgement)
            case wire.Verdict.DOUBTED if self._doubted(claim) >= DOUBTED_TRIES:
                self._bury(claim, judgement)
            case wire.Verdict.DOUBTED | wire.Verdict.UNAVAILABLE:
                self._retry(claim, self._backoff(claim.attempts))
                self._failed()
            case wire.Verdict.MISROUTED:
                self._retry(claim, 0.0)
                self._teller.tell("misrouted", "", judgement.response.error or "")
                self._failures = max(self._failures, FAILURES_TO_PAUSE)
                self._failed("something else than xR2 answers")
            case wire.Verdict.LOCKED_OUT:
                self._outbox.release(claim)
                self._lock_out(judgement)
            case wire.Verdict.RATE_LIMITED:
                self._outbox.release(claim)
                self._pause.extend(self._chance.monotonic() + pacing.rate_limit_pause(judgement.response.retry_after))
            case wire.Verdict.QUOTA_USED_UP:
                self._outbox.release(claim)
                self._rest_for(self._quota_pause(judgement.response.retry_after), "the daily quota is used up")

    def _retry(self, claim: Claim, delay: float) -> None:
        if self._is_expired(claim):
            self._expire(claim)
        else:
            self._outbox.retry(claim, delay)

    def _doubted(self, claim: Claim) -> int:
        """Count an answer that may be a refusal, and return how many the event has had in this process."""
        key = claim.entry[:2]
        self._doubts[key] += 1
        return self._doubts[key]

    def _arrived(self, claim: Claim, response: EventResponse | None) -> None:
        self._outbox.done(claim)
        self._doubts.pop(claim.entry[:2], None)
        self._failures = self._probes = 0
        self._teller.key_accepted()
        self.delivered += 1
        self._count("delivered")
        if response is not None and response.is_duplicate and claim.attempts == 0:
            self._count("duplicate_at_server")
            self._teller.tell("duplicate", claim.entry.event_name, _DUPLICATE)

    def _bury(self, claim: Claim, judgement: wire.Judgement[EventResponse]) -> None:
        reason = f"{judgement.response.status_code}: {judgement.response.error}"
        self._outbox.bury(claim, reason)
        self._doubts.pop(claim.entry[:2], None)
        self._failures = 0
        self.refused += 1
        self._count("refused")
        self._teller.tell("refused", claim.entry.event_name, f"xR2 refuses it ({reason})")

    def _failed(self, why: str = "xR2 cannot be reached, or is in trouble") -> None:
        self._count("failed")
        with self._lock:
            # What was under way when sending paused fails with the rest, and says nothing new.
            if self._own_pause.left(self._chance.monotonic()):
                return
            self._failures += 1
            if self._failures >= FAILURES_TO_PAUSE:
                self._rest_for(self._backoff(self._failures - FAILURES_TO_PAUSE), why)

    def _lock_out(self, judgement: wire.Judgement[EventResponse]) -> None:
        with self._lock:
            was_locked_out, self._is_locked_out = self._is_locked_out, True
        if was_locked_out:
            return
        self._rest_until_probed()
        self._teller.key_refused(judgement.response.status_code)

    def _probe(self, now: float, until: float) -> float:
        """Ask, seldom, whether the key is accepted again."""
        with self._lock:
            self._probes += 1
            self._rest_until_probed()
        request = wire.check_api_key()
        answer = self._sent(request, until)
        if wire.judge(request, answer, now=self._chance.wall()).verdict is not wire.Verdict.DELIVERED:
            return self._own_pause.left(now)
        self._is_locked_out = False
        self._own_pause.lift()
        return 0.0

    def _rest_until_probed(self) -> None:
        # What a probe says may not hold for events: then, too, it is asked less and less often.
        self._rest_for(min(3600.0, 60.0 * 2.0 ** min(self._probes, 10)), _KEY_REFUSED)

    def _rest_for(self, seconds: float, why: str) -> None:
        self._why = why
        self._own_pause.extend(self._chance.monotonic() + seconds)

    def _quota_pause(self, said: float | None) -> float:
        if said is None:
            self._probes += 1
            return min(3600.0, 900.0 * 2.0 ** min(self._probes - 1, 10))
        return min(pacing.LONGEST_QUOTA_PAUSE, said + 120.0 * self._chance.random())

    def _backoff(self, attempt: int) -> float:
        return pacing.backoff(attempt, base=1.0, cap=LONGEST_BACKOFF, jitter=self._chance.random())


_KEY_REFUSED = "xR2 does not accept API_KEY"
_EXPIRED = "could not be delivered in 30 days; xR2 has forgotten its trace, so it is dropped"
_DUPLICATE = (
    "xR2 already had an event of this name under this trace and keeps the first; a repeat conversion needs a new "
    "fetch of the prompt or another event name"
)
