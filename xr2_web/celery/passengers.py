"""The visitor's ids in the message of a task, and the scope of each run of one.

Celery's signals are all it takes. None of their receivers raises: sending a task and running one go on as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakSet

import msgspec
from celery import Task
from celery.signals import before_task_publish, task_postrun, task_prerun, worker_process_shutdown

from .. import identity, values, wire
from ..carry import MOST_TRACES
from ..default import default
from ..models import Trace
from ..runtime import Runtime
from ..scope import Scope, bind, bound
from ..values import TRACE_LIFE

HEADER = "xr2_web"
"""The header of a message that says whose task it is."""


def connect() -> None:
    """Have the signals of Celery carry the visitor along; once more does nothing."""
    before_task_publish.connect(_send_along, weak=False)
    task_prerun.connect(_enter, weak=False)
    task_postrun.connect(_leave, weak=False)
    worker_process_shutdown.connect(_close, weak=False)


class Passenger(NamedTuple):
    """What a message says of the visitor: ids only."""

    traces: tuple[Trace, ...] = ()
    session_id: str | None = None
    user_id: str | None = None
    has_consent: bool = True


class _TaskScope(Scope):
    """The scope of one run of a task, and what it hides: the scope of the request, where the task runs in it."""

    former: Scope | None = None


# Made at the import: two threads must not be the first to decode a nested type.
_decoder = msgspec.json.Decoder(Passenger)

_runtimes: WeakSet[Runtime] = WeakSet()
"""What tasks have worked with."""


def _send_along(headers: dict[str, Any], **_: Any) -> None:
    scope = bound()
    # A retry starts as the first try did, whose header Celery sends again.
    if scope is None or HEADER in headers or headers.get("retries"):
        return
    written = _written(scope)
    if written is not None:
        headers[HEADER] = written


def _enter(task: Task[Any, Any], **_: Any) -> None:
    # What an interrupted task may have left bound in a worker is nobody's.
    former = bound() if task.request.is_eager else None
    scope = _TaskScope()
    scope.former = former
    scope.runtime = default()
    if former is not None:
        scope.runtime, scope.transactions = former.runtime, former.transactions
    bind(scope)
    if scope.runtime not in _runtimes:
        _runtimes.add(scope.runtime)
        scope.runtime.inherit()
    written = _header_of(task)
    if written is None and former is not None:
        written = _written(former)
    if written is not None:
        _take(scope, written)


def _leave(**_: Any) -> None:
    scope = bound()
    if isinstance(scope, _TaskScope):
        # Bound anew and not reset: a token must not cross from one receiver into another.
        bind(scope.former)


def _close(**_: Any) -> None:
    """Deliver what waits: a child of a pool ends without running ``atexit``."""
    for runtime in list(_runtimes):
        runtime.close()


def _written(scope: Scope) -> str | None:
    """Return what a message says of a scope's visitor; None where there is nothing to say."""
    runtime: Runtime = scope.runtime
    try:
        passenger = _passenger(scope, runtime) if runtime.settings.is_active else Passenger()
    except Exception as exc:  # noqa: BLE001
        runtime.tell_once("task", "xr2_web.visitor_unread: a task goes without its visitor: %s", type(exc).__name__)
        return None
    return None if passenger == Passenger() else wire.encode(passenger).decode()


def _passenger(scope: Scope, runtime: Runtime) -> Passenger:
    scope.touch()
    user_id = identity.current_user(scope)
    # Only what there is: sending a task is no reason to carry on anything.
    if user_id is not None and scope.session_id is not None:
        identity.claim(scope, user_id)
    oldest = runtime.chance.wall() - TRACE_LIFE
    alive = [trace for trace in scope.traces if trace.fetched_at > oldest]
    has_consent = identity.has_consent(scope)
    session_id = scope.session_id if has_consent else None
    return Passenger(tuple(alive[-MOST_TRACES:]), session_id, user_id, has_consent)


def _header_of(task: Task[Any, Any]) -> Any:
    request = task.request
    # Where a worker puts the headers of a message, and where ``apply`` does.
    return request.get(HEADER) or (request.headers or {}).get(HEADER)


def _take(scope: Scope, written: Any) -> None:
    try:
        passenger = _read(written)
    except Exception as exc:  # noqa: BLE001
        scope.runtime.count("bad_header")
        scope.runtime.tell_once("header", _BAD_HEADER, type(exc).__name__)
        return
    scope.load(list(passenger.traces), passenger.session_id, None)
    scope.given_user_id = identity.named(scope, passenger.user_id)
    scope.consent = passenger.has_consent


def _read(written: Any) -> Passenger:
    passenger = _decoder.decode(written)
    for trace in passenger.traces:
        values.text(trace.trace_id, "trace_id", limit=values.TRACE_ID_LENGTH)
    if passenger.session_id is not None:
        values.text(passenger.session_id, "session_id", limit=values.SESSION_ID_LENGTH)
    return passenger


_BAD_HEADER = "xr2_web.bad_header: a task runs without its visitor: the header " + HEADER + " is not one of ours (%s)"
