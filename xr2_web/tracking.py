"""Reporting events: ``track_event`` for the moment, ``@track`` for each time that a function has done its work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from .behind import attributes
from .drafts import Draft, Outstanding, as_of_now, noted, place, record, refused, runtime_of
from .failures import tell_failed
from .identity import asettle, settle
from .interruptions import let_through
from .models import Receipt
from .rules import Rule
from .runtime import Runtime
from .scope import Scope, bound
from .witness import AT_COMMIT
from .wrapping import Call, wrap, wrap_handlers

if TYPE_CHECKING:
    from decimal import Decimal
    from uuid import UUID

F = TypeVar("F", bound=Callable[..., Any])
"""The whole callable, and not its parameters and result: overloads, classes and methods stay what they are."""

T = TypeVar("T")
Field: TypeAlias = T | Callable[[Call], T | None] | None
"""A value, or a function of the ``Call`` that returns one."""

_HIDDEN = "_xr2_web_tracked_as"
"""The mark of a function whose tracked twin stands in its place: the name of the event."""

_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def track_event(
    event: str,
    *,
    value: float | Decimal | None = None,
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
    return settle(record(runtime_of(scope), scope, draft))


async def atrack_event(
    event: str,
    *,
    value: float | Decimal | None = None,
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
    return await asettle(record(runtime_of(scope), scope, draft))


def track(
    event: str,
    *,
    value: Field[float | Decimal] = None,
    currency: Field[str] = None,
    metadata: Field[Mapping[str, Any]] = None,
    prompt: Field[str] = None,
    user_id: Field[str | int | UUID] = None,
    session_id: Field[str] = None,
    when: Callable[[Call], Any] | None = None,
    methods: str | Iterable[str] | None = None,
    after: Literal["response"] | None = None,
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
        _refuse_task(function)
        if isinstance(function, type):
            wrap_handlers(function, watcher, rule.methods or _UNSAFE)
            return function
        wrapper = wrap(function, watcher)
        if isinstance(function, FunctionType):
            function.__dict__[_HIDDEN] = event
        return wrapper  # type: ignore[return-value]

    return decorate


def _refuse_task(function: object) -> None:
    # By its type alone: Celery makes a task when it is first looked at, and now is too early for that.
    if any(each.__module__.partition(".")[0] == "celery" for each in type(function).__mro__):
        raise TypeError("Celery has this function already, untracked; place @track below the decorator of the task")


def untracked(views: Iterable[object]) -> Iterator[tuple[object, str]]:
    """Return those of the views of an application that are registered without the ``@track`` above them.

    A route decorator registers the function that it is given; a ``@track`` above it wraps another one, which
    nobody calls.
    """
    for view in views:
        event = getattr(view, "__dict__", {}).get(_HIDDEN)
        if isinstance(event, str):
            yield view, event


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
            runtime = runtime_of(entered)
            found = self._found(runtime, entered, call, function)
            # What no response decides is made at once: it may be written in the very transaction, or wait for its end.
            if found is not None and not (
                (found.needs_success or found.at_end) and _waits_for_commit(runtime, entered, found)
            ):
                settle(place(runtime, entered, found))
        except Exception as exc:  # noqa: BLE001
            let_through(exc)
            tell_failed("tracking_failed", exc)

    async def aleave(self, entered: Scope | None, call: Call, function: Callable[..., Any]) -> None:
        try:
            runtime = runtime_of(entered)
            found = self._found(runtime, entered, call, function)
            if found is None:
                return
            # All others wait for the commit too, once their user was waited for. By the end it may be rolled back.
            is_for_end = found.at_end and not found.needs_success
            if not (is_for_end and _waits_for_commit(runtime, entered, found)):
                await asettle(place(runtime, entered, found))
        except Exception as exc:  # noqa: BLE001
            let_through(exc)
            tell_failed("tracking_failed", exc)

    def _found(
        self, runtime: Runtime, scope: Scope | None, call: Call, function: Callable[..., Any]
    ) -> Outstanding | None:
        if not runtime.settings.is_active:
            return None
        if scope is None or (incoming := scope.incoming) is None:
            draft = self._rule.draft(call, runtime, scope)
            return None if draft is None else self._outstanding(runtime, scope, draft, is_view=False)
        call = Call(call.args, call.kwargs, call.result, _as_given(incoming.native, call.args))
        is_view = incoming.is_response(call.result) or incoming.serves(function)
        if (is_view or self._rule.methods is not None) and not self._admits(runtime, incoming.method, call, function):
            return None
        draft = self._rule.draft(call, runtime, scope)
        return None if draft is None else self._outstanding(runtime, scope, draft, is_view=is_view)

    def _admits(self, runtime: Runtime, method: str, call: Call, function: Callable[..., Any]) -> bool:
        name = getattr(function, "__name__", "")
        if self._rule.admits(method, is_named_for_it=name == method.lower()):
            return True
        self._rule.tell_skipped(method, getattr(function, "__qualname__", name), call, runtime)
        return False

    def _outstanding(self, runtime: Runtime, scope: Scope | None, draft: Draft, *, is_view: bool) -> Outstanding | None:
        draft = noted(scope, draft)
        try:
            draft = as_of_now(scope, draft)
        except Exception as exc:  # noqa: BLE001
            runtime.count("invalid")
            receipt = refused(runtime, draft, exc)
            if draft.note is not None:
                draft.note.close(receipt)
            return None
        at_end = self._rule.after == "response" and scope is not None and scope.incoming is not None
        return Outstanding(draft, needs_success=is_view, at_end=at_end)


def _waits_for_commit(runtime: Runtime, scope: Scope | None, found: Outstanding) -> bool:
    is_waiting = runtime.at_commit(lambda: settle(place(runtime, scope, found)), scope)
    if is_waiting and found.draft.note is not None:
        found.draft.note.wait(AT_COMMIT)
    return is_waiting


def _as_given(native: Any, args: tuple[Any, ...]) -> Any:
    """Return the request as the function was given it: Django REST framework has one of its own around Django's."""
    for each in args:
        if attributes(each).get("_request") is native:
            return each
    return native
