"""What happened, told in one form for the page, the machine-readable answer and tests. No I/O happens here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .answers import isoformat
from .store import Attempt, Trace

Journal = dict[str, list[dict[str, Any]]]


def journal(traces: Iterable[Trace], attempts: Iterable[Attempt]) -> Journal:
    """Group attempts under their ``traces``; those that belong to none are ``refused``. Newest last."""
    entries: dict[str | None, dict[str, Any]] = {each.trace_id: _trace_entry(each) for each in traces}
    refused: list[dict[str, Any]] = []
    for attempt in attempts:
        entry = entries.get(attempt.trace_id)
        (refused if entry is None else entry["events"]).append(event_entry(attempt))
    return {"traces": list(entries.values()), "refused": refused}


def _trace_entry(trace: Trace) -> dict[str, Any]:
    return {**msgspec.structs.asdict(trace), "fetched_at": isoformat(trace.fetched_at), "events": []}


def event_entry(attempt: Attempt) -> dict[str, Any]:
    """Return what is told of one attempt."""
    return {**msgspec.structs.asdict(attempt), "received_at": isoformat(attempt.received_at)}
