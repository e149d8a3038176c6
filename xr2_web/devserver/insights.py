"""Why an attempt did not count, in words, and what to do about it. No I/O happens here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from .definitions import EventDefinition
from .duration import day_and_time
from .rejections import Rejected
from .rules import DASHBOARD, MISSING_FIELDS, TRACE_LIFE
from .store import Attempt, Trace

_TRACE_ID = re.compile(r"evt_([0-9a-f]{8})_([0-9]{1,11})_[0-9a-f]{8}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DAY = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Insight:
    """``why`` the attempt did not count, what to ``do``, and the ``code`` to write, if there is one."""

    why: str
    do: str
    code: str = ""


def explain(
    attempt: Attempt,
    trace: Trace | None,
    *,
    slugs: Collection[str],
    definitions: Mapping[str, EventDefinition] | None,
) -> Insight | None:
    """Explain an attempt under its ``trace``, None for an unknown one; None where it counts, here and at xR2.

    ``slugs`` and ``definitions`` are those of now: they name what is near.
    """
    if attempt.refused is None:
        return _of_duplicate(attempt) if attempt.is_duplicate else None
    if attempt.trace_id is None or not attempt.event_name or attempt.source_name is None:
        return _of_incomplete(attempt)
    if trace is None:
        return _of_unknown_trace(attempt.trace_id, slugs)
    if attempt.received_at - trace.fetched_at > TRACE_LIFE:
        return _of_expired(attempt, trace)
    if attempt.is_undefined and definitions is not None:
        return _of_undefined(attempt.event_name, definitions)
    return _of_metadata(attempt, definitions or {})


def explain_rejected(rejected: Rejected, *, slugs: Collection[str]) -> Insight | None:
    """Explain why a prompt was not served; None where what the server answers says it all."""
    slug = rejected.slug
    if rejected.status_code != 404 or slug in slugs:
        return None
    nearest = get_close_matches(slug, slugs, n=1)
    if nearest:
        why, do = f"No prompt {slug} is in the folder. The nearest name is {nearest[0]}.", f"Fetch {nearest[0]}, or put"
    else:
        why, do = f"No prompt {slug} is in the folder, nor one with a name like it.", "Put"
    return Insight(why, f"{do} a file of this name into the folder:", f"{slug}.prompt")


def _of_duplicate(attempt: Attempt) -> Insight:
    return Insight(
        f"This trace has the event {attempt.event_name} already. xR2 keeps the first of a name for each trace, "
        "and answers a repeat as if it had been taken.",
        "Nothing, if it was sent twice. A second purchase needs a new fetch of the prompt, or another event name.",
    )


def _of_incomplete(attempt: Attempt) -> Insight:
    if attempt.trace_id is None:
        return Insight(
            "The event came without a trace_id, so it belongs to no prompt.",
            "Fetch the prompt in the same visit before, and leave the trace to xr2_web. With the bare client pass on "
            "the one that the fetch returned:",
            "client.track_event(trace_id=response.data.trace_id, event_name=…)",
        )
    missing = [name for name in ("event_name", "source_name") if not getattr(attempt, name)]
    return Insight(
        f"The event came without {' and '.join(missing)}, which xR2 requires.",
        "Send it as a text, or have a client of xR2 send the event.",
    )


def _of_unknown_trace(trace_id: str, slugs: Collection[str]) -> Insight:
    match = _TRACE_ID.fullmatch(trace_id)
    if match is None:
        return Insight(
            "This is no trace id as xR2 makes them (evt_ and three parts), so no fetch can have returned it.",
            "Pass on response.data.trace_id as it is; an id of your own, a session id or a slug will not do.",
        )
    slug = next((each for each in slugs if hashlib.sha1(each.encode()).hexdigest()[:8] == match[1]), None)
    what = f"the prompt {slug}" if slug else "a prompt that is not in the folder"
    return Insight(
        f"The id says: a fetch of {what}, {day_and_time(float(match[2]))}. It is not known here: another xR2 "
        "answered that fetch, or it was cleared, or pushed out by newer ones.",
        "See that fetch and event go to the same XR2_BASE_URL. A visitor who carries an old trace in the cookie "
        "xr2_carry gets a fresh one with the next fetch.",
    )


def _of_expired(attempt: Attempt, trace: Trace) -> Insight:
    age = (attempt.received_at - trace.fetched_at) / _DAY
    return Insight(
        f"The prompt was fetched {age:.1f} days before, on {day_and_time(trace.fetched_at)}; "
        f"a trace takes events for {TRACE_LIFE // _DAY} days.",
        "Fetch the prompt again when the visitor comes back. CARRY_MAX_AGE should not be longer than 30 days.",
    )


def _of_undefined(name: str, definitions: Mapping[str, EventDefinition]) -> Insight:
    nearest = get_close_matches(name, definitions, n=1)
    if name in definitions:
        return Insight(f"{name} was not defined when it came; it is now.", "Send it again.")
    if nearest:
        why, do = f"No event {name} is defined. The nearest name is {nearest[0]}.", f"Send {nearest[0]}, or define"
    else:
        why, do = f"No event {name} is defined, nor one with a name like it.", "Define"
    return Insight(
        why,
        f"{do} it in events.toml here, and for production at {DASHBOARD}:",
        f"[{name if _BARE_KEY.fullmatch(name) else _quoted(name)}]",
    )


def _of_metadata(attempt: Attempt, definitions: Mapping[str, EventDefinition]) -> Insight:
    definition = definitions.get(attempt.event_name or "")
    missing = [each for each in definition.required if attempt.metadata.get(each) is None] if definition else []
    if not missing or not (attempt.refused or "").startswith(MISSING_FIELDS):
        return Insight(
            f"xR2 did not take it: {attempt.refused}", "Correct what the message names, where the event is made."
        )
    fields = ", ".join(f"{_quoted(each)}: …" for each in missing)
    return Insight(
        f"{attempt.event_name} is defined with metadata that did not come: {', '.join(missing)}.",
        "Give it where the event is made, or move the field to optional in events.toml:",
        f"track_event({_quoted(attempt.event_name or '')}, metadata={{{fields}}})",
    )


def _quoted(text: str) -> str:
    # What JSON writes is a text of TOML and of Python too, as long as no pair of surrogates is in it, and no DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
