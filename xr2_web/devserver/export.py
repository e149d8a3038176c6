"""Everything that is kept, as JSON and as CSV. No I/O happens here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import msgspec

from .answers import isoformat
from .store import Attempt, Trace

_FETCH = ("slug", "version_number", "ab_test_name", "ab_test_variant", "fetched_at")
_EVENT = (
    *("received_at", "trace_id", "event_name", "source_name", "user_id", "session_id", "value", "currency"),
    *("metadata", "event_id", "is_duplicate", "is_undefined", "refused"),
)
COLUMNS = ("kind", *_FETCH, *_EVENT)
"""A row is a ``fetch`` or an ``event``; the latter repeats what is known of its fetch."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula, the last four in full width."""


def as_csv(traces: Iterable[Trace], attempts: Iterable[Attempt]) -> str:
    """Return a row for each fetch and each attempt, as RFC 4180 has it, with a byte order mark for spreadsheets.

    A text that a spreadsheet would take for a formula has an apostrophe before it; numbers stay numbers.
    """
    text = io.StringIO()
    text.write("\N{BYTE ORDER MARK}")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    known: dict[str, dict[str, Any]] = {}
    for trace in traces:
        known[trace.trace_id] = fetch = _fetch(trace)
        writer.writerow(
            _cells({"kind": "fetch", **fetch, "trace_id": trace.trace_id, "source_name": trace.source_name})
        )
    for attempt in attempts:
        writer.writerow(_cells({"kind": "event", **known.get(attempt.trace_id or "", {}), **_event(attempt)}))
    return text.getvalue()


def _fetch(trace: Trace) -> dict[str, Any]:
    row = msgspec.structs.asdict(trace)
    return {**{name: row[name] for name in _FETCH}, "fetched_at": isoformat(trace.fetched_at)}


def _event(attempt: Attempt) -> dict[str, Any]:
    row = msgspec.structs.asdict(attempt)
    metadata = msgspec.json.encode(attempt.metadata).decode() if attempt.metadata else ""
    return {**row, "received_at": isoformat(attempt.received_at), "metadata": metadata}


def _cells(row: dict[str, Any]) -> list[object]:
    return [_cell(row.get(name)) for name in COLUMNS]


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
