"""Making an event: who it belongs to, under which trace, and when.

A draft says what happened; ``prepare`` finds the user and the trace and serialises it, and the runtime accepts it.
Nothing here raises into a request or waits for the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from . import identity, values, wire
from .default import default
from .errors import InvalidValue
from .identity import Carried, Steps
from .incoming import WAITING
from .interruptions import let_through
from .models import Receipt, Trace
from .outbox import Entry
from .runtime import Runtime
from .scope import Scope
from .unbound import tell_outside
from .witness import AFTER_END, AFTER_STATUS, AT_COMMIT, BY_STATUS, FOR_VISITOR, EventNote, record_of

_NO_PROMPT = (
    "xr2_web.no_trace: %r is not sent: its visitor has seen no prompt, or came without the token of the page that "
    "fetched one (told while xR2 is on this machine)"
)

_UNBOUND = (
    "xr2_web.no_scope: %r was tracked outside of a request; bind with xr2_web.scope(trace_id=...), and in a thread of "
    "a request with propagate(function)"
)

NO_TRACE, OTHER_USER, INVALID, DISABLED, PENDING = (
    Receipt(accepted=False, reason=reason) for reason in ("no_trace", "other_user", "invalid", "disabled", "pending")
)


class Draft(NamedTuple):
    """What happened, before it is known to whom."""

    event: str
    value: Any = None
    currency: str | None = None
    metadata: Mapping[str, Any] | None = None
    prompt: str | None = None
    user_id: Any = None
    session_id: str | None = None
    trace_id: str | None = None
    fetched: int | None = None
    """How many prompts this request had fetched when it happened, where the event is made later."""
    note: EventNote | None = None
    """Where a developer sees what becomes of it."""


class Outstanding(NamedTuple):
    """An event that the response decides: on its status, if ``needs_success``, or on its end."""

    draft: Draft
    needs_success: bool
    at_end: bool


def runtime_of(scope: Scope | None) -> Runtime:
    """Return the runtime that a scope belongs to, or the process default."""
    runtime: Runtime = default() if scope is None else scope.runtime
    return runtime


def record(runtime: Runtime, scope: Scope | None, draft: Draft) -> Steps[Receipt]:
    """Make the event of a draft now."""
    draft = noted(scope, draft)
    outcome = yield from prepare(runtime, scope, draft)
    return outcome if isinstance(outcome, Receipt) else put(runtime, scope, outcome, draft.note)


def noted(scope: Scope | None, draft: Draft) -> Draft:
    """Return a draft of which a developer sees what becomes, if one looks."""
    if draft.note is not None or (record := record_of(scope)) is None:
        return draft
    return draft._replace(note=record.note_event(draft.event, draft.value, draft.currency))


def put(runtime: Runtime, scope: Scope | None, entry: Entry, note: EventNote | None) -> Receipt:
    """Have an event accepted, and note what became of it."""
    receipt = runtime.put(entry, scope, note)
    if note is not None:
        note.close(receipt, waits_for=AT_COMMIT)
    return receipt


def prepare(runtime: Runtime, scope: Scope | None, draft: Draft) -> Steps[Entry | Receipt]:
    """Find the user and the trace of a draft and serialise it; a receipt says why it is no event."""
    outcome: Entry | Receipt
    note = draft.note
    if note is not None and scope is not None and scope.status is not None:
        note.is_after_response = True
    if not runtime.settings.is_active:
        if note is not None:
            note.close(DISABLED)
        return DISABLED
    try:
        outcome = yield from _attributed(runtime, scope, draft)
    except Exception as exc:  # noqa: BLE001
        outcome = refused(runtime, draft, exc)
    if isinstance(outcome, Receipt) and outcome.reason is not None:
        runtime.count(outcome.reason)
        if note is not None:
            note.close(outcome, waits_for=FOR_VISITOR)
    return outcome


def refused(runtime: Runtime, draft: Draft, exc: Exception) -> Receipt:
    """Return the receipt of a draft that cannot be an event, and tell once why."""
    let_through(exc)
    # A value's own code may raise anything; the message is shown of what we raise only.
    why = str(exc) if isinstance(exc, InvalidValue) else type(exc).__name__
    name = draft.event if isinstance(draft.event, str) else type(draft.event).__name__
    runtime.tell_once(
        ("invalid", name, getattr(exc, "path", why)), "xr2_web.event_invalid: %.100r is not reported: %s", name, why
    )
    return INVALID


def _attributed(runtime: Runtime, scope: Scope | None, draft: Draft) -> Steps[Entry | Receipt]:
    if scope is not None and not identity.has_consent(scope):
        draft = draft._replace(user_id=None, session_id=None)
    trace_id = draft.trace_id
    if trace_id is None and scope is not None and not scope.touch():
        is_waiting = (yield Carried(scope)) is WAITING
        if is_waiting and scope.awaits_response:
            return _wait(runtime, scope, draft)
    if trace_id is None and _choose(runtime, scope, draft) is None:
        _serialise(runtime, draft, "-", None, None)
        return _no_trace(runtime, scope, draft)
    user: Any = None if draft.user_id == "" else draft.user_id
    if user is not None:
        user = identity.disguised(runtime, user)
    elif scope is not None:
        user = yield scope
        if user is WAITING:
            user = None
            if scope.awaits_response:
                return _wait(runtime, scope, draft)
    if trace_id is None:
        assert scope is not None
        if user is not None:
            identity.claim(scope, user)
        trace = _choose(runtime, scope, draft)
        if trace is None:
            return OTHER_USER
        trace_id = trace.trace_id
    session_id = _session_id(scope, draft)
    entry = _serialise(runtime, draft, trace_id, user, session_id)
    if draft.note is not None:
        _attribute(draft.note, scope, trace_id, has_user=user is not None, has_session=session_id is not None)
    return entry


def _attribute(note: EventNote, scope: Scope | None, trace_id: str, *, has_user: bool, has_session: bool) -> None:
    note.trace_id, note.has_user, note.has_session = trace_id, has_user, has_session
    if (record := record_of(scope)) is not None:
        record.last_trace_id = trace_id


def _wait(runtime: Runtime, scope: Scope, draft: Draft) -> Receipt:
    _serialise(runtime, draft, draft.trace_id or "-", None, None)  # so that a bad value is reported at the call
    scope.wait_for_visitor(as_of_now(scope, draft))
    return PENDING


def as_of_now(scope: Scope | None, draft: Draft) -> Draft:
    """Return a draft that neither a later change of its metadata nor a later fetch reaches."""
    metadata = values.mapping(draft.metadata, "metadata") if draft.metadata else None
    return draft._replace(metadata=metadata, fetched=None if scope is None else scope.fetched)


def _choose(runtime: Runtime, scope: Scope | None, draft: Draft) -> Trace | None:
    if scope is None:
        return None
    return scope.choose(runtime.settings.attribution, draft.prompt, runtime.chance.wall(), fetched=draft.fetched)


def _no_trace(runtime: Runtime, scope: Scope | None, draft: Draft) -> Receipt:
    if scope is None:
        if not tell_outside(runtime, "track"):
            runtime.tell_once("unbound", _UNBOUND, draft.event)
    elif scope.has_lost_traces:
        return OTHER_USER
    elif runtime.is_local:
        # While developing it is the answer to "nothing arrives"; in production most visitors have seen no prompt.
        runtime.tell_once(("no_trace", draft.event), _NO_PROMPT, draft.event)
    return NO_TRACE


def _session_id(scope: Scope | None, draft: Draft) -> str | None:
    if draft.session_id is not None or scope is None:
        return draft.session_id
    scope.touch()
    return scope.session_id if identity.has_consent(scope) else None


def _serialise(runtime: Runtime, draft: Draft, trace_id: str, user_id: Any, session_id: str | None) -> Entry:
    request = wire.event(
        trace_id=trace_id,
        event_name=draft.event,
        source_name=runtime.settings.source_name,
        user_id=user_id,
        session_id=session_id,
        value=draft.value,
        currency=draft.currency,
        metadata=draft.metadata,
    )
    assert request.body is not None
    return Entry(trace_id, draft.event, request.body, runtime.chance.wall())


def place(runtime: Runtime, scope: Scope | None, found: Outstanding) -> Steps[None]:
    """Make an event, or have it wait for the status of the response that decides it."""
    if scope is not None and scope.awaits_response and (found.needs_success or found.at_end):
        if found.draft.note is not None:
            found.draft.note.wait(AFTER_STATUS)
        scope.wait_for_status(found)
    else:
        yield from decide(runtime, scope, found)


def decide(runtime: Runtime, scope: Scope | None, found: Outstanding) -> Steps[None]:
    """Make an event whose response has a status by now, or let it wait for the end of the response."""
    status = None if scope is None else scope.status
    draft = noted(scope, found.draft)
    # Django and Flask answer an exception of the view with 500, where under ASGI it ends the exchange.
    if status is not None and ((found.needs_success and status >= 400) or (found.at_end and status >= 500)):
        if draft.note is not None:
            draft.note.is_after_response = True
            draft.note.refuse(BY_STATUS)
        return
    outcome = yield from prepare(runtime, scope, draft)
    if isinstance(outcome, Receipt):
        return
    if found.at_end and scope is not None and not scope.is_ended:
        if draft.note is not None:
            draft.note.wait(AFTER_END)
        scope.wait_for_end((outcome, draft.note))
    else:
        put(runtime, scope, outcome, draft.note)
