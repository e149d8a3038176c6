"""Making events: from a call of ``track_event``, from a function under ``@track``, from a route's response.

The way is the same for all: a draft says what happened, ``prepare`` finds the user and the trace and serialises it,
and the runtime accepts it. Nothing here raises into a request or waits for the network.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

from . import identity, values, wire
from .errors import InvalidValue
from .identity import Carried, Steps, asettle, settle
from .models import Receipt, Trace
from .outbox import Entry
from .runtime import Runtime, default
from .scope import WAITING, Incoming, Scope, bound
from .wrapping import Call, wrap, wrap_handlers

logger = logging.getLogger("xr2_web")

F = TypeVar("F", bound=Callable[..., Any])

Field: TypeAlias = Any
"""A value, or a function of the ``Call``."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that only show something (RFC 9110, 9.2.1): they are no conversion unless a rule says so."""

_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})

ACCEPTED = Receipt(accepted=True)
NO_TRACE, OTHER_USER, INVALID, DISABLED, PENDING, SKIPPED = (
    Receipt(accepted=False, reason=reason)
    for reason in ("no_trace", "other_user", "invalid", "disabled", "pending", "skipped")
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


class Outstanding(NamedTuple):
    """An event that the response decides: on its status, if ``needs_success``, or on its end."""

    draft: Draft
    needs_success: bool
    at_end: bool


def track_event(
    event: str,
    *,
    value: float | None = None,
    currency: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    user_id: object = None,
    session_id: str | None = None,
    trace_id: str | None = None,
) -> Receipt:
    """Report an event of the visitor at hand, under the trace of the last prompt fetched for it.

    ``prompt`` names the slug whose trace it belongs to, ``trace_id`` the trace itself. Never raises and never
    waits: what became of it is in the receipt. Where finding the user would block a running event loop the event
    is ``pending`` until the response.
    """
    scope = bound()
    draft = Draft(event, value, currency, metadata, prompt, user_id, session_id, trace_id)
    return settle(record(_runtime(scope), scope, draft))


async def atrack_event(
    event: str,
    *,
    value: float | None = None,
    currency: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    user_id: object = None,
    session_id: str | None = None,
    trace_id: str | None = None,
) -> Receipt:
    """Report an event as ``track_event`` does, waiting for the user id where finding it takes a query."""
    scope = bound()
    draft = Draft(event, value, currency, metadata, prompt, user_id, session_id, trace_id)
    return await asettle(record(_runtime(scope), scope, draft))


def record(runtime: Runtime, scope: Scope | None, draft: Draft) -> Steps[Receipt]:
    """Make the event of a draft now."""
    outcome = yield from prepare(runtime, scope, draft)
    return outcome if isinstance(outcome, Receipt) else runtime.put(outcome)


def prepare(runtime: Runtime, scope: Scope | None, draft: Draft) -> Steps[Entry | Receipt]:
    """Find the user and the trace of a draft and serialise it; a receipt says why it is no event."""
    outcome: Entry | Receipt
    if not runtime.settings.is_active:
        return DISABLED
    try:
        outcome = yield from _attributed(runtime, scope, draft)
    except Exception as exc:  # noqa: BLE001
        outcome = _refused(runtime, draft, exc)
    if isinstance(outcome, Receipt) and outcome.reason is not None:
        runtime.count(outcome.reason)
    return outcome


def _refused(runtime: Runtime, draft: Draft, exc: Exception) -> Receipt:
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
        if is_waiting and scope.status is None:
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
            if scope.status is None:
                return _wait(runtime, scope, draft)
    if trace_id is None:
        assert scope is not None
        if user is not None:
            identity.claim(scope, user)
        trace = _choose(runtime, scope, draft)
        if trace is None:
            return OTHER_USER
        trace_id = trace.trace_id
    return _serialise(runtime, draft, trace_id, user, _session_id(scope, draft))


def _wait(runtime: Runtime, scope: Scope, draft: Draft) -> Receipt:
    _serialise(runtime, draft, draft.trace_id or "-", None, None)  # so that a bad value is reported at the call
    scope.wait_for_visitor(_as_of_now(scope, draft))
    return PENDING


def _as_of_now(scope: Scope | None, draft: Draft) -> Draft:
    """Return a draft that neither a later change of its metadata nor a later fetch reaches."""
    metadata = values.mapping(draft.metadata, "metadata") if draft.metadata else None
    return draft._replace(metadata=metadata, fetched=None if scope is None else scope.fetched)


def _choose(runtime: Runtime, scope: Scope | None, draft: Draft) -> Trace | None:
    if scope is None:
        return None
    return scope.choose(runtime.settings.attribution, draft.prompt, runtime.chance.wall(), fetched=draft.fetched)


def _no_trace(runtime: Runtime, scope: Scope | None, draft: Draft) -> Receipt:
    if scope is None:
        runtime.tell_once(
            "unbound",
            "xr2_web.no_scope: %r was tracked outside of a request; bind with xr2_web.scope(trace_id=...)",
            draft.event,
        )
    elif scope.has_lost_traces:
        return OTHER_USER
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


class Rule(NamedTuple):
    """When a call or a response is an event, and what it reports."""

    event: str
    value: Field = None
    currency: Field = None
    metadata: Field = None
    prompt: Field = None
    user_id: Field = None
    session_id: Field = None
    when: Callable[[Call], Any] | None = None
    methods: frozenset[str] | None = None
    after: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Rule:
        """Make a rule of the arguments of ``track``. Raises ``InvalidValue`` for what can never work."""
        values.event_name(options["event"])
        if options.get("after") not in (None, "response"):
            raise InvalidValue("may be 'response' only", path="after")
        if options.get("when") is not None and not callable(options["when"]):
            raise InvalidValue("must be a function of the call", path="when")
        methods = options.get("methods")
        if methods is not None:
            names = (methods,) if isinstance(methods, str) else methods
            methods = frozenset(str(name).upper() for name in names)
        return cls(**{**options, "methods": methods})

    def admits(self, method: str, *, is_named_for_it: bool = False) -> bool:
        """Say whether a request of this method can be the event; a handler named ``get`` is named for its GET."""
        if self.methods is not None:
            return method in self.methods
        return method not in SAFE_METHODS or is_named_for_it

    def tell_skipped(self, method: str, name: str, call: Call, runtime: Runtime) -> None:
        """Tell once that ``name`` answered a GET which would have been the event, had it been a POST."""
        if method != "GET" or self.methods is not None or not self._agrees(call):
            return
        runtime.tell_once(
            ("get", name, self.event),
            "xr2_web.get_skipped: %s answered a GET, which is no %r: opening a page is not a conversion; "
            "say methods={'GET'} if it is",
            name,
            self.event,
        )

    def _agrees(self, call: Call) -> bool:
        try:
            return self.when is None or bool(self.when(call))
        except Exception:  # noqa: BLE001
            return False

    def draft(self, call: Call, runtime: Runtime) -> Draft | None:
        """Evaluate the fields; None where ``when`` says no, or where one of them raises."""
        field = "when"
        try:
            if self.when is not None and not self.when(call):
                return None
            read: dict[str, Any] = {}
            for field in ("value", "currency", "metadata", "prompt", "user_id", "session_id"):
                given = getattr(self, field)
                read[field] = given(call) if callable(given) else given
            return Draft(self.event, **read)
        except Exception as exc:  # noqa: BLE001
            runtime.count("invalid")
            runtime.tell_once(
                ("field", self.event, field),
                "xr2_web.event_invalid: %r is not reported: its %s raised %s",
                self.event,
                field,
                type(exc).__name__,
            )
            return None


def track(
    event: str,
    *,
    value: Field = None,
    currency: Field = None,
    metadata: Field = None,
    prompt: Field = None,
    user_id: Field = None,
    session_id: Field = None,
    when: Callable[[Call], Any] | None = None,
    methods: Any = None,
    after: str | None = None,
) -> Callable[[F], F]:
    """Report an event each time the decorated function has returned normally, or the generator is exhausted.

    On a view the response must also be no error (< 400), and the method none of GET, HEAD, OPTIONS and TRACE
    unless ``methods`` names it. Fields are values or functions of one ``Call`` (args, kwargs, result, request);
    one that raises makes no event and leaves the result as it is. ``when`` decides (see ``redirected``);
    ``after="response"`` waits until the response has left as a whole. Place it below the route decorator.
    """
    rule = Rule.of(
        {
            "event": event,
            "value": value,
            "currency": currency,
            "metadata": metadata,
            "prompt": prompt,
            "user_id": user_id,
            "session_id": session_id,
            "when": when,
            "methods": methods,
            "after": after,
        }
    )
    watcher = _Tracker(rule)

    def decorate(function: F) -> F:
        if isinstance(function, type):
            wrap_handlers(function, watcher, rule.methods or _UNSAFE)
            return function
        return wrap(function, watcher)  # type: ignore[return-value]

    return decorate


def redirected(call: Call) -> bool:
    """Say whether a view answered with a redirect, as form views do when the form was valid."""
    parts = call.result if isinstance(call.result, tuple) else (call.result,)
    stated: list[object] = [each for each in parts if isinstance(each, int)]
    statuses = stated or [getattr(each, "status_code", None) for each in parts]
    return any(isinstance(status, int) and 300 <= status < 400 for status in statuses)


class _Tracker:
    """Sees the calls of a function under ``@track``."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def enter(self) -> Scope | None:
        return bound()

    def leave(self, entered: Scope | None, call: Call, function: Callable[..., Any]) -> None:
        try:
            runtime = _runtime(entered)
            found = self._found(runtime, entered, call, function)
            if found is not None and not runtime.at_commit(lambda: settle(_place(runtime, entered, found))):
                settle(_place(runtime, entered, found))
        except Exception as exc:  # noqa: BLE001
            _tell_failed(exc)

    async def aleave(self, entered: Scope | None, call: Call, function: Callable[..., Any]) -> None:
        try:
            runtime = _runtime(entered)
            found = self._found(runtime, entered, call, function)
            if found is not None:
                await asettle(_place(runtime, entered, found))
        except Exception as exc:  # noqa: BLE001
            _tell_failed(exc)

    def _found(
        self, runtime: Runtime, scope: Scope | None, call: Call, function: Callable[..., Any]
    ) -> Outstanding | None:
        if not runtime.settings.is_active:
            return None
        incoming = scope.incoming if scope is not None else None
        is_view = incoming is not None and (incoming.is_response(call.result) or incoming.serves(function))
        if incoming is not None:
            call = Call(call.args, call.kwargs, call.result, incoming.native)
            if is_view or self._rule.methods is not None:
                name = getattr(function, "__name__", "")
                is_named = name == incoming.method.lower()
                shown = getattr(function, "__qualname__", name)
                if not self._rule.admits(incoming.method, is_named_for_it=is_named):
                    self._rule.tell_skipped(incoming.method, shown, call, runtime)
                    return None
        draft = self._rule.draft(call, runtime)
        if draft is None:
            return None
        try:
            draft = _as_of_now(scope, draft)
        except Exception as exc:  # noqa: BLE001
            runtime.count("invalid")
            _refused(runtime, draft, exc)
            return None
        return Outstanding(draft, needs_success=is_view, at_end=self._rule.after == "response" and incoming is not None)


def _place(runtime: Runtime, scope: Scope | None, found: Outstanding) -> Steps[None]:
    if scope is not None and scope.status is None and (found.needs_success or found.at_end):
        scope.wait_for_status(found)
    else:
        yield from decide(runtime, scope, found)


def decide(runtime: Runtime, scope: Scope | None, found: Outstanding) -> Steps[None]:
    """Make an event whose response has a status by now, or let it wait for the end of the response."""
    status = None if scope is None else scope.status
    # Django and Flask answer an exception of the view with 500, where under ASGI it ends the exchange.
    if status is not None and ((found.needs_success and status >= 400) or (found.at_end and status >= 500)):
        return
    outcome = yield from prepare(runtime, scope, found.draft)
    if isinstance(outcome, Receipt):
        return
    if found.at_end and scope is not None and not scope.is_ended:
        scope.wait_for_end(outcome)
    else:
        runtime.put(outcome)


class Routes:
    """The rules of EVENTS, by the name of a route or by a method and path such as ``POST /orders/{id}``."""

    def __init__(self, events: Mapping[str, Mapping[str, Any]]) -> None:
        self._names: dict[str, Rule] = {}
        self._paths: list[tuple[str, re.Pattern[str], Rule]] = []
        for name, options in events.items():
            method, _, path = name.partition(" ")
            if path.startswith("/"):
                options = {"methods": {method}, **options}
                self._paths.append((method.upper(), _pattern(path), Rule.of(options)))
            else:
                self._names[name] = Rule.of(options)

    def __bool__(self) -> bool:
        return bool(self._names or self._paths)

    def find(self, runtime: Runtime, scope: Scope, status: int, headers: Mapping[str, str]) -> list[Outstanding]:
        """Return the events of a response that is no error."""
        incoming = scope.incoming
        if incoming is None or status >= 400:
            return []
        found = []
        for rule, shown, parameters in self._matching(incoming.route_names, incoming):
            call = Call((), parameters, (status, headers), incoming.native)
            if not rule.admits(incoming.method):
                rule.tell_skipped(incoming.method, shown, call, runtime)
            elif (draft := rule.draft(call, runtime)) is not None:
                found.append(Outstanding(draft, needs_success=True, at_end=True))
        return found

    def _matching(self, names: tuple[str, ...], incoming: Incoming) -> Generator[tuple[Rule, str, Mapping[str, Any]]]:
        name = next((name for name in names if name in self._names), None)
        if name is not None:
            yield self._names[name], name, incoming.route_parameters
        for method, pattern, rule in self._paths:
            if method == incoming.method and (match := pattern.fullmatch(incoming.path)):
                yield rule, pattern.pattern, match.groupdict()


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{([A-Za-z_]\w*)\}", path)
    return re.compile(
        "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    )


def _tell_failed(exc: Exception) -> None:
    # Without its message, which may hold anything.
    places = "".join(traceback.format_tb(exc.__traceback__))
    logger.error("xr2_web.tracking_failed: %s\n%s", type(exc).__name__, places)


def _runtime(scope: Scope | None) -> Runtime:
    runtime: Runtime = default() if scope is None else scope.runtime
    return runtime
