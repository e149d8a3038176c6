"""Fetching a prompt for the visitor at hand, within a deadline, and binding its trace."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple, TypeAlias

from . import wire
from .default import default
from .errors import InvalidValue, PromptUnavailable
from .loops import is_on_a_loop
from .models import Prompt, Response
from .runtime import Runtime
from .scope import PromptKey, Scope, bound, new_trace
from .unbound import tell_outside
from .witness import record_of

Fallback: TypeAlias = str | Mapping[str, Any] | Prompt | Callable[[], "str | Mapping[str, Any] | Prompt"]

_MOST_COPIES = 1000
_FALLBACK_FIELDS = frozenset(each.name for each in fields(Prompt)) - {"slug", "trace_id", "is_fallback"}

_Steps: TypeAlias = Generator["wire.Request[Prompt]", "wire.Judgement[Prompt]", Prompt]


def get_prompt(
    slug: str,
    *,
    version_number: int | None = None,
    status: str | None = None,
    fallback: Fallback | None = None,
    fresh: bool = False,
) -> Prompt:
    """Fetch a prompt and bind its trace to the visitor; a second call in one request returns the same.

    Takes at most PROMPT_DEADLINE seconds. When xR2 cannot be had in that time, the last good copy or the given
    fallback comes back, marked ``is_fallback`` and without a trace: a text (the user prompt), a mapping of a
    prompt's fields, a ``Prompt``, or a function that returns one of these. Raises ``PromptUnavailable`` where
    there is neither, and ``TypeError`` for a fallback of another kind. ``fresh`` asks again. In async code use
    ``aget_prompt``.
    """
    call = _Call.of(slug, version_number, status, fallback, fresh)
    steps = _steps(call)
    try:
        request = next(steps)
        _warn_on_a_loop(call.runtime)
        while True:
            request = steps.send(call.runtime.fetch(request))
    except StopIteration as end:
        prompt: Prompt = end.value
        return prompt


async def aget_prompt(
    slug: str,
    *,
    version_number: int | None = None,
    status: str | None = None,
    fallback: Fallback | None = None,
    fresh: bool = False,
) -> Prompt:
    """Fetch a prompt as ``get_prompt`` does, without blocking the event loop."""
    call = _Call.of(slug, version_number, status, fallback, fresh)
    steps = _steps(call)
    try:
        request = next(steps)
        while True:
            request = steps.send(await call.runtime.afetch(request))
    except StopIteration as end:
        prompt: Prompt = end.value
        return prompt


class _Call(NamedTuple):
    """One call of ``get_prompt``, and where it is made."""

    slug: str
    version_number: int | None
    status: str | None
    fallback: Any
    fresh: bool
    scope: Scope | None
    runtime: Runtime

    @classmethod
    def of(cls, slug: str, version_number: int | None, status: str | None, fallback: object, fresh: bool) -> _Call:
        if fallback is not None and not callable(fallback):
            _check(fallback)
        scope = bound()
        return cls(slug, version_number, status, fallback, fresh, scope, scope.runtime if scope else default())

    @property
    def key(self) -> PromptKey:
        return (self.slug, self.version_number, self.status)


def _steps(call: _Call) -> _Steps:
    runtime, scope = call.runtime, call.scope
    if not runtime.settings.is_active:
        return _fall_back(call, Response(error=runtime.settings.why_inactive, status_code=0))
    if scope is None:
        tell_outside(runtime, "get_prompt")
    elif not call.fresh and (known := scope.remembered(call.key)):
        return known
    try:
        request = wire.get_prompt(
            slug=call.slug,
            source_name=runtime.settings.source_name,
            version_number=call.version_number,
            status=call.status,
        )
    except InvalidValue as exc:
        return _stand_in(call, None, Response(error=str(exc), status_code=0))
    judgement = yield request
    prompt = judgement.response.data
    if prompt is None:
        runtime.count("prompt_failed")
        if judgement.verdict is wire.Verdict.REFUSED:
            # Somebody may have taken it down on purpose: a later outage must not bring it back.
            runtime.copies.pop(call.key, None)
        return _stand_in(call, runtime.copies.get(call.key), judgement.response)
    runtime.count("prompt_fetched")
    _keep_copy(call, prompt)
    if scope is not None:
        _bind(call, scope, prompt)
    _note(call, prompt, "xr2")
    return prompt


def _bind(call: _Call, scope: Scope, prompt: Prompt) -> None:
    trace = new_trace(prompt, call.runtime.chance.wall())
    if trace is not None:
        if scope.status is not None:
            call.runtime.tell_once(
                ("sealed", call.slug),
                "xr2_web.prompt_not_carried: %r was fetched after the response or the WebSocket began, and its trace "
                "serves this request only: fetch it before the body starts, or in a request ahead of the WebSocket",
                call.slug,
            )
        scope.add(trace)
    scope.remember(call.key, prompt)


def _keep_copy(call: _Call, prompt: Prompt) -> None:
    copies = call.runtime.copies
    if len(copies) < _MOST_COPIES or call.key in copies:
        copies[call.key] = replace(prompt, trace_id=None, is_fallback=True)


def _stand_in(call: _Call, copy: Prompt | None, response: Response[Prompt]) -> Prompt:
    """Return what stands in for the prompt, and tell: the visitor notices nothing, and nothing is credited."""
    if copy is not None:
        _note(call, copy, "copy", response.error)
    prompt = copy or _fall_back(call, response)
    call.runtime.tell_once(
        ("unavailable", repr(call.slug), response.status_code),
        "xr2_web.prompt_unavailable: %s; %s stands in, and no event is credited to it",
        PromptUnavailable(call.slug, response.error or ""),
        "the last good copy" if copy else "the fallback",
    )
    return prompt


def _fall_back(call: _Call, response: Response[Prompt]) -> Prompt:
    if call.fallback is None:
        _note(call, None, "nothing", response.error)
        raise PromptUnavailable(call.slug, response.error or "", status_code=response.status_code)
    prompt = _as_prompt(call.slug, call.fallback)
    _note(call, prompt, "fallback", response.error)
    return prompt


def _as_prompt(slug: str, fallback: Any) -> Prompt:
    if callable(fallback):
        fallback = fallback()
        _check(fallback)
    if isinstance(fallback, Prompt):
        return replace(fallback, trace_id=None, is_fallback=True)
    if isinstance(fallback, str):
        return Prompt(slug, user_prompt=fallback, is_fallback=True)
    return Prompt(slug, is_fallback=True, **fallback)


def _note(call: _Call, prompt: Prompt | None, source: str, why: str | None = None) -> None:
    if (record := record_of(call.scope)) is not None:
        record.note_prompt(call.slug, prompt, source=source, why=why)


def _check(fallback: object) -> None:
    if isinstance(fallback, Mapping):
        if strange := set(fallback) - _FALLBACK_FIELDS:
            raise TypeError(f"a fallback has no {', '.join(sorted(map(str, strange)))}")
    elif not isinstance(fallback, (str, Prompt)):
        kind = type(fallback).__name__
        raise TypeError(f"a fallback is a text, a mapping, a Prompt or a function that returns one, not {kind}")


def _warn_on_a_loop(runtime: Runtime) -> None:
    if is_on_a_loop():
        runtime.tell_once(
            "blocking", "xr2_web.blocking_call: get_prompt() blocks the running event loop; await aget_prompt() there"
        )
