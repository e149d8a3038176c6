"""The tasks of ours that a worker runs: deliver one event, and drain the spool of its machine."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery, Task, shared_task
from celery.exceptions import Reject
from celery.signals import worker_process_shutdown, worker_shutdown

from ..courier import SEND_TIMEOUT
from ..default import default
from ..delivery import Delivery
from ..failures import tell_failed
from ..forks import ForkLock
from ..operations.drain import drain as drain_spool
from ..outbox import Claim, Counts, Declined, Entry, Outbox, Put
from ..outbox.folder import installation
from ..runtime import Runtime
from .broker import Broker
from .letters import DELIVER, Letter


def connect() -> None:
    """Have the connections of a worker closed at its end; once more does nothing."""
    worker_process_shutdown.connect(_close, weak=False)
    worker_shutdown.connect(_close, weak=False)


LONGEST_COUNTDOWN = 60.0
"""Seconds for which a worker holds a message that has to wait; then it is published again. Far from any
visibility timeout, after which a broker would give it to another worker too."""

MOST_PASSES = 100
"""Workers, in about an hour, that pass on an event of another installation before it becomes a dead letter."""


@shared_task(
    bind=True,
    name=DELIVER,
    acks_late=True,
    reject_on_worker_lost=True,
    acks_on_failure_or_timeout=False,
    ignore_result=True,
    # A limit that is meant for the app's own tasks may be shorter than a server's answer takes.
    soft_time_limit=100,
    time_limit=120,
)
def deliver(self: Task[Any, Any], written: Any) -> None:
    """Send one event to xR2, or publish it again for later."""
    runtime = default()
    try:
        letter = Letter.read(written, now=runtime.chance.wall())
    except ValueError:
        runtime.count("bad_letter")
        runtime.tell_once("letter", "xr2_web.bad_letter: a message for xr2_web.deliver holds no event, and is dropped")
        return
    if (self.request.delivery_info or {}).get("redelivered"):
        # It may have been sent by a worker that was killed.
        letter = letter._replace(attempts=max(1, letter.attempts))
    _office_of(runtime, self.app).work_on(letter)


@shared_task(name="xr2_web.drain", ignore_result=False)
def drain(patience: float = 15.0) -> dict[str, Any]:
    """Deliver what dead processes left in the spool of this machine; for a schedule, where no web process runs.

    Returns what was delivered, refused and is left. It ends when nothing has left for ``patience`` seconds.
    """
    outcome = drain_spool(default(), forever=False, others=False, patience=patience, is_quiet=True, obeys_signals=False)
    return dict(outcome.document)


class _Held:
    """The event of one run of the task, and what became of it."""

    def __init__(self, letter: Letter) -> None:
        self.claim = Claim(letter.entry, letter.attempts, self)
        self.is_taken = False
        self.is_ended = False
        self.attempts = letter.attempts
        self.delay = 0.0


class _Messages(Outbox):
    """The outbox that delivery sees in a worker: each thread has the one event of the task that it runs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.here = threading.local()

    def put(self, entry: Entry) -> Put:
        """Take nothing: what is tracked in a worker goes to the outbox of its runtime."""
        raise Declined("only what is in a message is sent from here")

    def claim(self) -> Claim | None:
        """Take this thread's event."""
        held: _Held = self.here.held
        if held.is_taken:
            return None
        held.is_taken = True
        return held.claim

    def done(self, claim: Claim) -> None:
        """Know that it arrived, or expired."""
        claim.ticket.is_ended = True

    def retry(self, claim: Claim, delay: float) -> None:
        """Know that it has to be tried again."""
        claim.ticket.attempts, claim.ticket.delay = claim.attempts + 1, delay

    def release(self, claim: Claim) -> None:
        """Know that it was not tried."""

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep the dead letter in the outbox of the worker."""
        self._runtime.keep_dead(claim.entry, claim.attempts + 1, reason)
        claim.ticket.is_ended = True

    def next_due(self) -> float | None:
        """Return 0 while this thread's event is not taken."""
        held: _Held = self.here.held
        return None if held.is_taken else 0.0

    def counts(self) -> Counts:
        """Count nothing: what is here is the broker's."""
        return Counts(0, 0)

    def oldest(self) -> float | None:
        """Return None: what is here is the broker's."""
        return None

    def close(self) -> None:
        """Do nothing."""


class _Office:
    """What delivers in one process of a worker; its pauses are for all tasks that run there."""

    def __init__(self, runtime: Runtime, app: Celery) -> None:
        self.pid = os.getpid()
        self._runtime = runtime
        self._chance = runtime.chance
        self._installation = installation(runtime.settings.base_url, runtime.settings.api_key)
        self._messages = _Messages(runtime)
        self._delivery: Delivery = runtime.delivery_from(self._messages)
        self._broker = Broker(app, runtime.chance.monotonic)

    def work_on(self, letter: Letter) -> None:
        """Deliver an event, or publish it again if that cannot be now. Raises ``Reject`` where neither can be."""
        if not self._runtime.settings.is_active or letter.installation != self._installation:
            self._pass_on(letter)
            return
        held = _Held(letter)
        try:
            wait = self._deliver(held)
        except Exception as exc:  # noqa: BLE001
            # Raised further it would end the message, and with it the event.
            tell_failed("delivery_failed", exc)
            wait = LONGEST_COUNTDOWN
        if not held.is_ended:
            self._publish_again(letter._replace(attempts=held.attempts), max(wait, held.delay))

    def close(self) -> None:
        """Close the connections."""
        self._delivery.close()
        self._broker.close()

    def _deliver(self, held: _Held) -> float:
        """Deliver an event if it may be sent now; return the seconds to wait if not."""
        self._messages.here.held = held
        until = self._until()
        taken = self._delivery.take(until)
        if isinstance(taken, Claim):
            self._delivery.deliver(taken, until)
            return 0.0
        return taken or 0.0

    def _pass_on(self, letter: Letter) -> None:
        """Leave an event to others: none is ever sent with the key of another installation."""
        self._runtime.count("foreign_letter")
        self._runtime.tell_once("foreign", _FOREIGN)
        if self._runtime.settings.is_active and letter.passes >= MOST_PASSES:
            self._runtime.keep_dead(letter.entry, letter.attempts, _NOBODYS.format(letter.installation))
        else:
            self._publish_again(letter._replace(passes=letter.passes + 1), 2.0 ** min(letter.passes, 10))

    def _publish_again(self, letter: Letter, wait: float) -> None:
        countdown = min(LONGEST_COUNTDOWN, wait) * (0.5 + self._chance.random() / 2)
        try:
            self._broker.send(DELIVER, (letter._asdict(),), until=self._until(), countdown=countdown)
        except Exception as exc:
            # Into the outbox of this worker, from which it leaves when the broker is back.
            if letter.installation != self._installation or not self._is_kept(letter.entry):
                raise Reject(type(exc).__name__, requeue=True) from exc

    def _is_kept(self, entry: Entry) -> bool:
        receipt = self._runtime.put(entry)
        return receipt.accepted or receipt.reason == Put.DUPLICATE.value

    def _until(self) -> float:
        return self._chance.monotonic() + SEND_TIMEOUT


def _office_of(runtime: Runtime, app: Celery) -> _Office:
    with _lock:
        office = _offices.get(runtime)
        if office is None or office.pid != os.getpid():
            office = _offices[runtime] = _Office(runtime, app)
        return office


def _close(**_: Any) -> None:
    with _lock:
        for office in _offices.values():
            if office.pid == os.getpid():
                office.close()
        _offices.clear()


_offices: dict[Runtime, _Office] = {}
_lock = ForkLock()

_FOREIGN = (
    "xr2_web.foreign_letter: an event of another installation, with another key or BASE_URL, came to this worker; it "
    "is published again. Give each installation a queue of its own: task_routes = {'xr2_web.*': {'queue': …}}"
)
_NOBODYS = (
    "made for another installation ({}), of which no worker came by for an hour; after a change of key or BASE_URL "
    "retry it, and it is sent with the present ones"
)
