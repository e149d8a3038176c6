"""What the panel of a developer's toolbar shows of one request, in neutral terms: plain data, and its template.

The toolbars know Django's templates or Jinja's; ``TEMPLATE`` keeps to what both languages share.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .witness import EventNote, PromptNote, Record

if TYPE_CHECKING:
    from .settings import Settings

TITLE = "xR2"
FOLDER = str(Path(__file__).parent / "templates")
TEMPLATE = "toolbar_panel.html"

JOURNAL = "https://xr2.uk/analytics/events"
"""Where xR2 itself shows what has arrived."""


def shown(settings: Settings, record: Record | None) -> dict[str, Any]:
    """Return what a panel shows, as texts, lists and dicts alone: toolbars keep it as JSON."""
    known = record or Record()
    return {
        "subtitle": f"{_many(known.prompts, 'prompt')}, {_many(known.events, 'event')}",
        "problem": "" if settings.is_active else f"Nothing is fetched or sent: {settings.why_inactive}.",
        "prompts": [_prompt(settings, note) for note in known.prompts],
        "events": [_event(settings, note) for note in known.events],
        "carried": [
            {"slug": each.slug, "version": str(each.version_number), **_trace(settings, each.trace_id)}
            for each in known.carried
        ],
        "has_lost_traces": known.has_lost_traces,
        "left_out": str(known.left_out or ""),
        "journal": settings.base_url if settings.is_local else JOURNAL,
    }


def absent(problem: str) -> dict[str, Any]:
    """Return what a panel shows where xr2_web does not serve the request."""
    return {"subtitle": "not installed", "problem": problem}


def trace_page(settings: Settings, trace_id: str) -> str:
    """Return the address at which a trace is shown: a page of its own on the local xR2, else xR2's list of events."""
    if not settings.is_local:
        return JOURNAL
    from urllib.parse import quote

    return f"{settings.base_url}/traces/{quote(trace_id, safe='', errors='replace')}"


def _many(notes: list[Any], name: str) -> str:
    return f"{len(notes)} {name}{'' if len(notes) == 1 else 's'}"


def _trace(settings: Settings, trace_id: str | None) -> dict[str, str]:
    return {"trace_id": trace_id or "", "page": trace_page(settings, trace_id) if trace_id else ""}


def _prompt(settings: Settings, note: PromptNote) -> dict[str, str]:
    return {
        "slug": note.slug,
        "version": str(note.version_number or ""),
        "variant": note.variant or "",
        "source": _SOURCES[note.source],
        "why": note.why,
        **_trace(settings, note.trace_id),
    }


def _event(settings: Settings, note: EventNote) -> dict[str, str]:
    words = _WORDS.get((note.state, note.why), "")
    return {
        "name": note.event,
        "value": f"{note.value} {note.currency}".strip(),
        "user": _given(note.has_user),
        "session": _given(note.has_session),
        "when": "after the response" if note.is_after_response else "at once",
        "state": note.state,
        "why": words or note.why,
        **_trace(settings, note.trace_id),
    }


def _given(is_given: bool) -> str:
    return "given" if is_given else "none"


_SOURCES = {
    "xr2": "fetched",
    "copy": "the last good copy",
    "fallback": "the fallback",
    "nothing": "none: PromptUnavailable was raised",
}

_WORDS = {
    ("pending", "status"): "until the status of the response is known",
    ("pending", "end"): "until the response has left as a whole",
    ("pending", "commit"): "until the transaction commits; never after a rollback",
    ("pending", "visitor"): "until the response, where the user can be waited for",
    ("refused", "status"): "the response was an error",
    ("refused", "aborted"): "the response did not leave as a whole",
    ("refused", "no_trace"): "no_trace: this visitor has seen no prompt",
    ("refused", "other_user"): "other_user: the prompt was seen by another user",
    ("refused", "duplicate"): "duplicate: one of this name waits under this trace already",
    ("refused", "invalid"): "invalid: the log says which field",
    ("refused", "disabled"): "disabled: xr2_web is off",
    ("refused", "full"): "full: the outbox takes no more",
}
