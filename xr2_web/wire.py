"""xR2's endpoints as values, and the judgement of what comes back. No I/O happens here.

Client and courier send what is built here and act on the same verdicts, so a rule about an answer stands once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from . import pacing, values
from ._version import __version__
from .errors import DeadlineExceeded, InvalidValue
from .forks import holding_off_forks
from .models import CheckAPIKeyResponse, EventResponse, Prompt, Response

if TYPE_CHECKING:
    import msgspec

T = TypeVar("T")

USER_AGENT = f"xr2-web/{__version__}"
"""Our own: the server refuses an empty one and those of scripts and crawlers."""

ANSWER_BYTES = 1024 * 1024
EVENT_ANSWER_BYTES = 64 * 1024
_WORDS_LENGTH = 1000
_NO_ROUTE = ("Not Found", "Method Not Allowed")
"""The ``detail`` with which any FastAPI application answers for a path that it does not have. xR2's own says more."""


class Request(NamedTuple, Generic[T]):
    """One request to xR2, and how to read a good answer to it."""

    method: str
    path: str
    body: bytes | None
    read: Callable[[bytes], T]
    answer_limit: int = ANSWER_BYTES


class Answer(NamedTuple):
    """An HTTP answer; header names in lower case. ``body`` is None where it was larger than allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class Failure(NamedTuple):
    """No answer: what went wrong, in words without personal or secret data."""

    message: str
    is_timeout: bool = False


class Verdict(enum.Enum):
    """What an answer means for what was sent."""

    DELIVERED = enum.auto()
    REFUSED = enum.auto()
    """The server will never take it as it is."""
    DOUBTED = enum.auto()
    """A 500 that carries a refusal, as some versions of the server answer; a few tries tell."""
    LOCKED_OUT = enum.auto()
    """The key is not accepted; not the fault of what was sent."""
    MISROUTED = enum.auto()
    """Something answered that is not xR2."""
    UNAVAILABLE = enum.auto()
    """The server, or the way to it, is in trouble."""
    RATE_LIMITED = enum.auto()
    QUOTA_USED_UP = enum.auto()
    """The daily quota of prompt fetches."""


class Judgement(NamedTuple, Generic[T]):
    """A verdict, and the response that a caller gets."""

    verdict: Verdict
    response: Response[T]


def check_api_key() -> Request[CheckAPIKeyResponse]:
    """Ask whose key this is."""
    return Request("GET", "/api/v1/check-api-key", None, _read_key_owner)


def get_prompt(
    *, slug: str, source_name: str, version_number: int | None = None, status: str | None = None
) -> Request[Prompt]:
    """Ask for a prompt. Raises ``InvalidValue`` for what the server cannot look up."""
    payload: dict[str, object] = {
        "slug": values.text(slug, "slug", limit=255),
        "source_name": values.text(source_name, "source_name", limit=100),
    }
    if version_number is not None:
        payload["version_number"] = values.number(version_number, "version_number")
    if status is not None:
        payload["status"] = values.text(status, "status", limit=100)
    return Request("POST", "/api/v1/get-prompt", encode(payload), _read_prompt)


def event(
    *,
    trace_id: str,
    event_name: str,
    source_name: str,
    user_id: object = None,
    session_id: str | None = None,
    value: object = None,
    currency: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Request[EventResponse]:
    """Report an event under a trace. Raises ``InvalidValue``, with its path, for what cannot be sent."""
    payload: dict[str, object] = {
        "trace_id": values.text(trace_id, "trace_id", limit=values.TRACE_ID_LENGTH),
        "event_name": values.event_name(event_name),
        "source_name": values.text(source_name, "source_name", limit=100),
    }
    if user_id is not None:
        payload["user_id"] = values.user_id(user_id)
    if session_id is not None:
        payload["session_id"] = values.text(session_id, "session_id", limit=values.SESSION_ID_LENGTH)
    if value is not None:
        payload["value"] = values.number(value, "value")
    if currency is not None:
        payload["currency"] = values.text(currency, "currency", limit=16)
    payload["metadata"] = values.mapping(metadata, "metadata") if metadata else {}
    body = encode(payload)
    if len(body) > values.EVENT_BYTES:
        raise InvalidValue(f"the event has {len(body)} bytes, over 64 KiB", path="metadata")
    return event_request(body)


def event_request(body: bytes) -> Request[EventResponse]:
    """Return the request for an event that was serialised before."""
    return Request("POST", "/api/v1/events", body, _read_event, EVENT_ANSWER_BYTES)


def judge(request: Request[T], answer: Answer | Failure, *, now: float) -> Judgement[T]:
    """Say what came back; ``now`` is the wall clock, against which dates in the answer are read."""
    if isinstance(answer, Failure):
        cause = DeadlineExceeded(answer.message) if answer.is_timeout else None
        return Judgement(Verdict.UNAVAILABLE, Response(error=answer.message, status_code=0, cause=cause))
    if 200 <= answer.status < 300:
        return _judge_success(request, answer)
    detail = _detail(answer.body)
    verdict = _verdict(answer.status, detail)
    retry_after, reset_time = _when_to_return(answer, detail, now)
    message = _message(answer, detail, verdict)
    return Judgement(
        verdict,
        Response(error=message, status_code=answer.status, retry_after=retry_after, reset_time=reset_time),
    )


def encode(payload: object) -> bytes:
    """Serialise what ``values`` has checked."""
    return _encoder().encode(payload)


def decode(body: bytes) -> Any:
    """Parse JSON; raises ``ValueError``."""
    return _msgspec().json.decode(body)


@cache
def _msgspec() -> Any:
    with holding_off_forks:
        import msgspec

    return msgspec


@cache
def _encoder() -> msgspec.json.Encoder:
    encoder: msgspec.json.Encoder = _msgspec().json.Encoder(decimal_format="number")
    return encoder


def _judge_success(request: Request[T], answer: Answer) -> Judgement[T]:
    if answer.body is not None:
        try:
            data = request.read(answer.body)
        except (ValueError, TypeError, RecursionError):
            pass
        else:
            return Judgement(Verdict.DELIVERED, Response(data=data, status_code=answer.status))
    return Judgement(
        Verdict.MISROUTED,
        Response(error=f"HTTP {answer.status}, but not an answer of xR2: check BASE_URL", status_code=answer.status),
    )


def _read_key_owner(body: bytes) -> CheckAPIKeyResponse:
    owner: CheckAPIKeyResponse = _msgspec().json.decode(body, type=CheckAPIKeyResponse)
    return owner


def _read_event(body: bytes) -> EventResponse:
    response: EventResponse = _msgspec().json.decode(body, type=EventResponse)
    return response


def _read_prompt(body: bytes) -> Prompt:
    payload = _msgspec().json.decode(body, type=dict)
    payload = {key: value for key, value in payload.items() if value is not None}
    payload.pop("is_fallback", None)
    payload["prompt_model_config"] = payload.pop("model_config", {})
    prompt: Prompt = _msgspec().convert(payload, Prompt, strict=False)
    if not prompt.trace_id or len(prompt.trace_id) > values.TRACE_ID_LENGTH:
        raise ValueError("no usable trace_id")
    return prompt


def _detail(body: bytes | None) -> object:
    """Return xR2's ``detail``, the whole object where it has ``retry_after`` beside it, or None."""
    try:
        payload = decode(body or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict) or payload.get("detail") is None:
        return None
    detail = payload["detail"]
    if "retry_after" in payload and not isinstance(detail, dict):
        return {"message": detail, "retry_after": payload["retry_after"]}
    return detail


def _verdict(status: int, detail: object) -> Verdict:
    if status == 429:
        is_quota = isinstance(detail, dict) and ("reset_time" in detail or "max_requests_per_day" in detail)
        return Verdict.QUOTA_USED_UP if is_quota else Verdict.RATE_LIMITED
    if status in (401, 403):
        return Verdict.LOCKED_OUT
    if status in (408, 409, 425):
        return Verdict.UNAVAILABLE
    if 500 <= status < 600:
        return Verdict.DOUBTED if _is_hidden_refusal(detail) else Verdict.UNAVAILABLE
    if 400 <= status < 500 and detail is not None and detail not in _NO_ROUTE:
        return Verdict.REFUSED
    return Verdict.MISROUTED


def _is_hidden_refusal(detail: object) -> bool:
    return isinstance(detail, str) and (": 404: " in detail or ": 400: " in detail)


def _when_to_return(answer: Answer, detail: object, now: float) -> tuple[float | None, str | None]:
    said = detail if isinstance(detail, dict) else {}
    reset_time = said.get("reset_time")
    seconds = pacing.seconds_until(str(said.get("retry_after", "")), now=now)
    if seconds is None:
        seconds = pacing.seconds_until(answer.headers.get("retry-after", ""), now=now)
    reset = pacing.timestamp(reset_time)
    if seconds is None and reset is not None:
        seconds = max(0.0, reset - now)
    return seconds, reset_time if isinstance(reset_time, str) else None


def _message(answer: Answer, detail: object, verdict: Verdict) -> str:
    said = _words(detail)
    if verdict is Verdict.LOCKED_OUT and answer.status == 401:
        return f"{said or 'the key is not accepted'} (check API_KEY)"
    if said is not None:
        return f"{said}: check BASE_URL" if verdict is Verdict.MISROUTED else said
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: a redirect, which is never followed: check BASE_URL"
    return f"HTTP {answer.status} without xR2's JSON"


def _words(detail: object) -> str | None:
    if detail is None:
        return None
    if isinstance(detail, list):
        said = "; ".join(map(_validation_words, detail))
    else:
        message = detail.get("message") if isinstance(detail, dict) else None
        said = str(detail if message is None else message)
    # It may come from anybody, and goes to logs: one line, and not a page.
    return "".join(each if each.isprintable() else " " for each in said[:_WORDS_LENGTH])


def _validation_words(problem: object) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    place = problem.get("loc")
    place = ".".join(map(str, place)) if isinstance(place, list) else str(place)
    return f"{place}: {problem.get('msg', 'is not valid')}"
