"""What the local xR2 has heard."""

from __future__ import annotations

from typing import Any

from ..local_xr2 import LocalXr2


def events_by_trace(local_xr2: LocalXr2, event_name: str) -> dict[str, dict[str, Any]]:
    """Return the accepted events of a name by their traces."""
    return {event["trace_id"]: event for event in local_xr2.events() if event["event_name"] == event_name}


def doubled(local_xr2: LocalXr2) -> list[dict[str, Any]]:
    """Return the events that came once more than once, and those that were refused."""
    attempts = [event for trace in local_xr2.traces() for event in trace["events"]]
    return [each for each in attempts if each["is_duplicate"] or each["refused"]] + local_xr2.refused()
