"""Delivers what waits in the outbox, from threads of its own, and acts on what the server answers.

``run_once`` is the whole of it; the threads only call it. They are plain daemon threads over blocking sockets:
at interpreter exit no thread can be started any more, and neither executors nor an event loop work.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Protocol

from . import pacing, wire
from .forks import is_before_fork
from .models import EventResponse, Flushed
from .once import once
from .outbox import Claim, Outbox
from .pacing import Chance
from .values import TRACE_LIFE

logger = logging.getLogger("xr2_web")

SEND_TIMEOUT = 10.0
LONGEST_BACKOFF = 300.0
DOUBTED_TRIES = 4
FAILURES_TO_PAUSE = 3


class Transport(Protocol):
    """What the courier sends through."""

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        """Return the answer, or why there is none by ``until``."""

    def close(self) -> None:
        """Close its connections."""


class Courier:
    """One for each process; started by the first event, bounded at exit.

    A 429 pauses all sending, a key that is not accepted pauses it until a probe succeeds, and a server that does
    not answer is tried less and less often. Nothing but a refusal, an arrival or 30 days ends an event.
    """

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[], Transport],
        *,
        concurrency: int,
        pause: pacing.Pause,
        budget: pacing.Budget,
        count: Callable[[str], None],
        chance: Chance,
    ) -> None:
        self._pid = os.getpid()
        self._outbox = outbox
        self._connect = connect
        self._concurrency = concurrency
        self._pause = pause
        self._budget = budget
        self._count = count
        self._chance = chance
        self._failures = 0
        self._probes = 0
        self._is_locked_out = False
        self._told: set[tuple[str, str]] = set()
        self._delivered = 0
        self._refused = 0
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._is_signalled = False
        self._flushing = 0
        self._stop_at: float | None = None
        self._own_pause = pacing.Pause()
        self._turn = threading.Condition()
        self._settled = threading.Condition()

    @once
    def _transport(self) -> Transport:
        # Made by the thread that sends: loading the HTTP library takes longer than a request may.
        return self._connect()

    def run_once(self) -> float | None:
        """Deliver one event that is due.

        Returns the seconds after which to come back: 0 when there may be more to do, None when nothing waits.
        """
        now = self._chance.monotonic()
        if left := max(self._pause.left(now), self._own_pause.left(now)):
            return left
        if self._is_locked_out:
            return self._probe(now)
        due = self._outbox.next_due()
        if due is None or due > 0:
            return due
        if wait := self._budget.debit_event(now):
            return wait
        claim = self._outbox.claim()
        if claim is None:
            self._budget.credit_event()
            return 0.0
        self._deliver(claim)
        return 0.0

    def wake(self) -> None:
        """Say that an event was put; costs little when the threads are awake anyway."""
        if self._idle:
            if not self._is_signalled:
                self._is_signalled = True
                with self._turn:
                    self._turn.notify()
        elif not self._threads:
            self._start_thread()

    def flush(self, timeout: float) -> Flushed:
        """Wait up to ``timeout`` seconds until nothing waits in the outbox, and say what became of it."""
        delivered, refused = self._delivered, self._refused
        end = self._chance.monotonic() + timeout
        self.wake()
        with self._settled:
            self._flushing += 1
            while self._outbox.counts().pending and (left := end - self._chance.monotonic()) > 0:
                self._settled.wait(left)
            self._flushing -= 1
        return Flushed(self._delivered - delivered, self._refused - refused, self._outbox.counts().pending)

    def stop(self, timeout: float) -> int:
        """Deliver what can be delivered in ``timeout`` seconds, stop, and return how many events are left."""
        with self._turn:
            self._stop_at = self._chance.monotonic() + timeout
            self._turn.notify_all()
        for thread in list(self._threads):
            thread.join(max(0.0, self._stop_at - self._chance.monotonic()))
        while self._may_go_on() and self.run_once() == 0.0:
            pass
        transport = self.__dict__.get("_transport")
        # Under a thread that is still sending it would leave a socket open; then it is closed when it is collected.
        if transport is not None and not any(thread.is_alive() for thread in self._threads):
            transport.close()
        return self._outbox.counts().pending

    def _may_go_on(self) -> bool:
        return not self._is_copy() and (self._stop_at is None or self._chance.monotonic() < self._stop_at)

    def _is_copy(self) -> bool:
        """Tell whether this is a forked child, where gevent's threads live on; the events are its parent's to send."""
        return self._pid != os.getpid()

    def _send_until(self) -> float:
        until = self._chance.monotonic() + SEND_TIMEOUT
        return until if self._stop_at is None else min(until, self._stop_at)

    def _start_thread(self) -> None:
        with self._turn:
            if len(self._threads) >= self._concurrency or self._stop_at is not None or is_before_fork():
                return
            name = f"xr2-courier-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            # Known before it runs, since with its first event it asks whether there are threads.
            self._threads.append(thread)
            try:
                # In an empty context, so that no request's scope lives on in the thread.
                contextvars.Context().run(thread.start)
            except RuntimeError:  # the interpreter exits; stop() delivers
                self._threads.remove(thread)

    def _run(self) -> None:
        while self._may_go_on():
            try:
                wait = self.run_once()
            except Exception:
                logger.exception("xr2_web.courier_failed")
                wait = 1.0
            if wait != 0.0:
                if self._stop_at is not None:
                    return
                self._rest(wait)
        if self._is_copy():
            # It must not end: the interpreter has forgotten it at the fork, and fails to delete it.
            threading.Event().wait()

    def _rest(self, wait: float | None) -> None:
        with self._turn:
            self._idle += 1
            # Counted as idle first and looked again then: an event put in between is not overlooked. Nor is a stop.
            if self._stop_at is None and (wait is not None or self._outbox.next_due() is None):
                self._turn.wait(wait)
            self._idle -= 1
            self._is_signalled = False

    def _call_for_help(self) -> None:
        """Have a thread at hand for the next event, where there are threads at all: this one waits for an answer."""
        if not self._threads:
            return
        if not self._idle:
            self._start_thread()
        elif self._outbox.next_due() == 0.0:
            with self._turn:
                self._turn.notify()

    def _deliver(self, claim: Claim) -> None:
        if self._chance.wall() - claim.entry.made_at > TRACE_LIFE:
            self._outbox.done(claim)
            self._count("expired")
            return
        self._call_for_help()
        if self._is_copy():
            return
        request = wire.event_request(claim.entry.body)
        answer = self._transport.send(request, self._send_until())
        judgement = wire.judge(request, answer, now=self._chance.wall())
        self._act(claim, judgement)
        if self._flushing:
            with self._settled:
                self._settled.notify_all()

    def _act(self, claim: Claim, judgement: wire.Judgement[EventResponse]) -> None:
        match judgement.verdict:
            case wire.Verdict.DELIVERED:
                self._arrived(claim, judgement.response.data)
            case wire.Verdict.REFUSED:
                self._bury(claim, judgement)
            case wire.Verdict.DOUBTED if claim.attempts + 1 >= DOUBTED_TRIES:
                self._bury(claim, judgement)
            case wire.Verdict.DOUBTED | wire.Verdict.UNAVAILABLE:
                self._outbox.retry(claim, self._backoff(claim.attempts))
                self._failed()
            case wire.Verdict.MISROUTED:
                self._outbox.retry(claim, 0.0)
                self._tell("misrouted", "", judgement.response.error or "")
                self._failures = max(self._failures, FAILURES_TO_PAUSE)
                self._failed()
            case wire.Verdict.LOCKED_OUT:
                self._outbox.retry(claim, 0.0)
                self._lock_out(judgement)
            case wire.Verdict.RATE_LIMITED:
                self._outbox.retry(claim, 0.0)
                self._pause.extend(self._chance.monotonic() + pacing.rate_limit_pause(judgement.response.retry_after))
            case wire.Verdict.QUOTA_USED_UP:
                self._outbox.retry(claim, 0.0)
                self._rest_for(self._quota_pause(judgement.response.retry_after))

    def _arrived(self, claim: Claim, response: EventResponse | None) -> None:
        self._outbox.done(claim)
        self._failures = self._probes = 0
        self._delivered += 1
        self._count("delivered")
        if response is not None and response.is_duplicate and claim.attempts == 0:
            self._count("duplicate_at_server")
            self._tell("duplicate", claim.entry.event_name, _DUPLICATE)

    def _bury(self, claim: Claim, judgement: wire.Judgement[EventResponse]) -> None:
        reason = f"{judgement.response.status_code}: {judgement.response.error}"
        self._outbox.bury(claim, reason)
        self._failures = 0
        self._refused += 1
        self._count("refused")
        self._tell("refused", claim.entry.event_name, f"xR2 refuses it ({reason})")

    def _failed(self) -> None:
        self._count("failed")
        self._failures += 1
        if self._failures >= FAILURES_TO_PAUSE:
            self._rest_for(self._backoff(self._failures - FAILURES_TO_PAUSE))

    def _lock_out(self, judgement: wire.Judgement[EventResponse]) -> None:
        with self._turn:
            was_locked_out, self._is_locked_out = self._is_locked_out, True
        if was_locked_out:
            return
        self._rest_for(60.0)
        logger.error(
            "xr2_web.key_refused: xR2 answers %s; events are kept until API_KEY is accepted again",
            judgement.response.status_code,
        )

    def _probe(self, now: float) -> float:
        """Ask, seldom, whether the key is accepted again."""
        with self._turn:
            self._probes += 1
            self._rest_for(min(3600.0, 60.0 * 2.0 ** min(self._probes, 10)))
        request = wire.check_api_key()
        answer = self._transport.send(request, self._send_until())
        if wire.judge(request, answer, now=self._chance.wall()).verdict is not wire.Verdict.DELIVERED:
            return self._own_pause.left(now)
        self._is_locked_out = False
        self._own_pause.lift()
        return 0.0

    def _rest_for(self, seconds: float) -> None:
        self._own_pause.extend(self._chance.monotonic() + seconds)

    def _quota_pause(self, said: float | None) -> float:
        if said is None:
            self._probes += 1
            return min(3600.0, 900.0 * 2.0 ** min(self._probes - 1, 10))
        return min(pacing.LONGEST_QUOTA_PAUSE, said + 120.0 * self._chance.random())

    def _backoff(self, attempt: int) -> float:
        return pacing.backoff(attempt, base=1.0, cap=LONGEST_BACKOFF, jitter=self._chance.random())

    def _tell(self, kind: str, event_name: str, message: str) -> None:
        if (kind, event_name) not in self._told and len(self._told) < 1000:
            self._told.add((kind, event_name))
            logger.warning("xr2_web.event_%s: %r: %s", kind, event_name, message)


_DUPLICATE = (
    "xR2 already had an event of this name under this trace and keeps the first; a repeat conversion needs a new "
    "fetch of the prompt or another event name"
)
