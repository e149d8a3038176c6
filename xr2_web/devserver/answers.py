"""What is answered, in the forms of xR2. No I/O happens here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Any

import msgspec
from starlette.responses import Response

from .bodies import EventRequest
from .refusal import Refusal
from .rules import Choice
from .store import Trace

DAY = 24 * 60 * 60


class KeyOwner(msgspec.Struct, frozen=True):
    """What ``check-api-key`` answers."""

    ok: bool
    user: str


class PromptContent(msgspec.Struct, frozen=True):
    """What ``get-prompt`` answers: the version that is served, under a fresh trace."""

    slug: str
    source_name: str
    version_number: int
    status: str
    system_prompt: str | None
    user_prompt: str | None
    assistant_prompt: str | None
    variables: list[Mapping[str, Any]]
    model_config: Mapping[str, Any]
    deployed_at: str | None
    created_at: str
    updated_at: str
    trace_id: str
    ab_test_id: str | None
    ab_test_name: str | None
    ab_test_variant: str | None


class EventTaken(msgspec.Struct, frozen=True):
    """What ``events`` answers; a repeat has the id of the first event."""

    status: str
    event_id: str
    trace_id: str
    event_name: str
    timestamp: str
    is_duplicate: bool


def as_json(content: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with ``content`` as JSON."""
    return Response(msgspec.json.encode(content), status_code, headers, media_type="application/json")


def isoformat(moment: float) -> str:
    """Return seconds since the epoch as an ISO 8601 time in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def too_many_requests(seconds: float) -> Response:
    """Answer that whoever asks is to come back in ``seconds``."""
    wait = ceil(seconds)
    return as_json({"detail": "Too many requests", "retry_after": wait}, 429, {"Retry-After": str(wait)})


def refused(refusal: Refusal) -> Response:
    """Answer with the refusal's status and detail."""
    return as_json({"detail": refusal.detail}, refusal.status_code)


def quota_used_up(used: int, *, maximum: int, now: float) -> Refusal:
    """Refuse a key that has fetched ``used`` prompts today and may fetch ``maximum``; a day ends at midnight UTC."""
    detail = {
        "error": "quota_exceeded",
        "message": f"Daily limit of {maximum} prompt requests is used up",
        "current_usage": used,
        "max_requests_per_day": maximum,
        "reset_time": isoformat((now // DAY + 1) * DAY),
    }
    return Refusal(429, detail)


def event_taken(event: EventRequest, *, event_id: str, received_at: float, is_duplicate: bool) -> EventTaken:
    """Return the answer to an event that was accepted, or was a duplicate of the one with ``event_id``."""
    return EventTaken(
        status="success",
        event_id=event_id,
        trace_id=event.trace_id,
        event_name=event.event_name,
        timestamp=isoformat(received_at),
        is_duplicate=is_duplicate,
    )


def prompt_content(choice: Choice, trace: Trace) -> PromptContent:
    """Return a served version with the trace that was made for it."""
    version, ab_test = choice.version, choice.ab_test
    changed_at = isoformat(version.changed_at)
    return PromptContent(
        slug=trace.slug,
        source_name=trace.source_name,
        version_number=version.version_number,
        status=version.status,
        system_prompt=version.system_prompt,
        user_prompt=version.user_prompt,
        assistant_prompt=version.assistant_prompt,
        variables=list(version.variables),
        model_config=version.model_config,
        deployed_at=changed_at if version.status == "production" else None,
        created_at=changed_at,
        updated_at=changed_at,
        trace_id=trace.trace_id,
        ab_test_id=ab_test.id if ab_test else None,
        ab_test_name=ab_test.name if ab_test else None,
        ab_test_variant=choice.variant,
    )
