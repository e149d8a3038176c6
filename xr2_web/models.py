"""What xR2 answers, as frozen values under the names of the reference client. No I/O happens here.

A prompt's texts and an event's metadata never show in a repr: reprs end up in logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from . import rendering
from .errors import (
    AccessDenied,
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerError,
    UnexpectedAnswer,
    VariableError,
    Xr2Error,
)

__all__ = [
    "CheckAPIKeyResponse",
    "EventResponse",
    "Prompt",
    "PromptContentResponse",
    "RenderedPrompt",
    "Response",
    "VariableError",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt's texts with the values filled in; ``variables_used`` holds what went in."""

    system_prompt: str | None = field(default=None, repr=False)
    user_prompt: str | None = field(default=None, repr=False)
    assistant_prompt: str | None = field(default=None, repr=False)
    trace_id: str | None = None
    variables_used: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def messages(self) -> list[dict[str, str]]:
        """Return the texts as chat messages with ``role`` and ``content``."""
        return rendering.messages(self.system_prompt, self.user_prompt, self.assistant_prompt)

    def to_openai(self) -> list[dict[str, str]]:
        """Return the ``messages`` of an OpenAI chat completion."""
        return rendering.to_openai(self.system_prompt, self.user_prompt, self.assistant_prompt)

    def to_anthropic(self) -> dict[str, Any]:
        """Return ``system`` and ``messages`` of an Anthropic message."""
        return rendering.to_anthropic(self.system_prompt, self.user_prompt, self.assistant_prompt)

    def to_gemini(self) -> dict[str, Any]:
        """Return ``system_instruction`` and ``contents`` of a Gemini request."""
        return rendering.to_gemini(self.system_prompt, self.user_prompt, self.assistant_prompt)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A version of a prompt as it was fetched, with the trace that its later events are reported under.

    A fallback has no trace (``trace_id`` is None, ``is_fallback`` true): nothing is credited to it.
    """

    slug: str
    source_name: str = ""
    version_number: int = 0
    status: str = ""
    system_prompt: str | None = field(default=None, repr=False)
    user_prompt: str | None = field(default=None, repr=False)
    assistant_prompt: str | None = field(default=None, repr=False)
    variables: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    prompt_model_config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    deployed_at: datetime | None = field(default=None, repr=False)
    created_at: datetime | None = field(default=None, repr=False)
    updated_at: datetime | None = field(default=None, repr=False)
    trace_id: str | None = None
    ab_test_id: str | None = None
    ab_test_name: str | None = None
    ab_test_variant: str | None = None
    is_fallback: bool = False

    def render(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        strict: bool = True,
        use_defaults: bool = True,
        array_separator: str | None = None,
    ) -> RenderedPrompt:
        """Fill the values into the texts, in one pass: no value is ever expanded again.

        ``{{name}}`` takes any given value, ``{name}`` only that of a declared variable. Lists are written as
        JSON, or joined by ``array_separator``. Raises ``VariableError`` when ``strict`` and a required
        variable has neither value nor default, ``InvalidValue`` for a value that has no text form.
        """
        resolved = rendering.resolve(self.variables, values, strict=strict, use_defaults=use_defaults)
        declared = rendering.index_variables(self.variables)
        templates = (self.system_prompt, self.user_prompt, self.assistant_prompt)
        system, user, assistant = (
            rendering.fill(template, resolved, declared, array_separator=array_separator) for template in templates
        )
        used = rendering.select_used(resolved, declared, templates)
        return RenderedPrompt(system, user, assistant, self.trace_id, used)

    def messages(self, values: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
        """Render, and return the texts as chat messages with ``role`` and ``content``."""
        return self.render(values).messages()

    def to_openai(self, values: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
        """Render, and return the ``messages`` of an OpenAI chat completion."""
        return self.render(values).to_openai()

    def to_anthropic(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Render, and return ``system`` and ``messages`` of an Anthropic message."""
        return self.render(values).to_anthropic()

    def to_gemini(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Render, and return ``system_instruction`` and ``contents`` of a Gemini request."""
        return self.render(values).to_gemini()


PromptContentResponse = Prompt


@dataclass(frozen=True, slots=True)
class EventResponse:
    """xR2's word on an event; ``is_duplicate`` when it already had one of this name under this trace."""

    status: str
    event_id: str
    trace_id: str
    event_name: str
    timestamp: str
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class CheckAPIKeyResponse:
    """xR2's word on an API key: its owner's user name."""

    ok: bool
    user: str


@dataclass(frozen=True, slots=True)
class Response(Generic[T]):
    """The outcome of a call: ``data`` when ok, else ``error``; true in a condition when ok.

    ``status_code`` is 0 where no HTTP answer came. ``retry_after`` (seconds) and ``reset_time`` (ISO 8601) are
    what a 429 or 503 said of when to come back.
    """

    data: T | None = None
    error: str | None = None
    status_code: int = 200
    retry_after: float | None = None
    reset_time: str | None = None
    cause: Xr2Error | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.error is None

    def __bool__(self) -> bool:
        return self.error is None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain data: ``ok`` and ``data``, or ``ok``, ``error`` and ``status_code``."""
        if not self.ok:
            return {"ok": False, "error": self.error, "status_code": self.status_code}
        import msgspec

        data = msgspec.to_builtins(self.data)
        if isinstance(self.data, Prompt):
            del data["is_fallback"]
        return {"ok": True, "data": data}

    def unwrap(self) -> T:
        """Return the data, or raise the error of our tree that matches the outcome."""
        if self.error is not None:
            raise self.cause or self._as_error(self.error)
        return self.data  # type: ignore[return-value]

    def _as_error(self, message: str) -> ApiError:
        kind = _ERRORS.get(self.status_code) or _ERRORS.get(self.status_code // 100, UnexpectedAnswer)
        return kind(
            message,
            status_code=self.status_code,
            retry_after=self.retry_after,
            reset_time=self.reset_time,
        )


class Trace(NamedTuple):
    """A prompt that this visitor was shown: what its later events are reported under. Times are epoch seconds."""

    slug: str
    trace_id: str
    version_number: int
    fetched_at: int


class Receipt(NamedTuple):
    """What became of an event. True in a condition when accepted.

    ``reason`` is None when accepted, else one of: ``no_trace``, ``other_user``, ``duplicate``, ``invalid``,
    ``disabled``, ``full``; or ``pending`` while a transaction or the user id is waited for.
    """

    accepted: bool
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.accepted


class Flushed(NamedTuple):
    """What ``flush`` saw: events delivered, refused by the server, and left behind. True when none is left."""

    delivered: int
    refused: int
    left: int

    def __bool__(self) -> bool:
        return self.left == 0


_ERRORS: dict[int, type[ApiError]] = {
    0: ConnectionFailed,
    401: AuthenticationError,
    403: AccessDenied,
    404: NotFound,
    429: RateLimited,
    4: InvalidRequest,
    5: ServerError,
}
