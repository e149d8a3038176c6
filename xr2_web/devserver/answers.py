"""What is answered, in the forms of xR2. No I/O happens here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from .rules import Choice
from .store import Attempt, Trace


def as_json(content: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with ``content`` as JSON."""
    return Response(msgspec.json.encode(content), status_code, headers, media_type="application/json")


def isoformat(moment: float) -> str:
    """Return seconds since the epoch as an ISO 8601 time in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def event_taken(attempt: Attempt) -> dict[str, Any]:
    """Return the answer to an event that was accepted, or was a duplicate."""
    return {
        "status": "success",
        "event_id": attempt.event_id,
        "trace_id": attempt.trace_id,
        "event_name": attempt.event_name,
        "timestamp": isoformat(attempt.received_at),
        "is_duplicate": attempt.is_duplicate,
    }


def prompt_content(choice: Choice, trace: Trace) -> dict[str, Any]:
    """Return a served version with the trace that was made for it."""
    version, ab_test = choice.version, choice.ab_test
    changed_at = isoformat(version.changed_at)
    return {
        "slug": trace.slug,
        "source_name": trace.source_name,
        "version_number": version.version_number,
        "status": version.status,
        "system_prompt": version.system_prompt,
        "user_prompt": version.user_prompt,
        "assistant_prompt": version.assistant_prompt,
        "variables": version.variables,
        "model_config": version.model_config,
        "deployed_at": changed_at if version.status == "production" else None,
        "created_at": changed_at,
        "updated_at": changed_at,
        "trace_id": trace.trace_id,
        "ab_test_id": ab_test.id if ab_test else None,
        "ab_test_name": ab_test.name if ab_test else None,
        "ab_test_variant": choice.variant,
    }
