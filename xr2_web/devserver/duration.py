"""Times and spans of time as people write them and read them.

A span is ``31d``, ``12h``, ``1.5m``, ``2s``, ``500ms``, or a number of seconds.
"""

from __future__ import annotations

import re
from datetime import datetime

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(ms|s|m|h|d)?", re.ASCII)


def read(said: object, *, maximum: float) -> float:
    """Return ``said`` in seconds; raise ``ValueError`` unless it is a span from 0 to ``maximum`` seconds."""
    seconds = _seconds(said)
    if seconds is None:
        raise ValueError(f"a time is a number of seconds or a text like 2s, 500ms, 12h or 31d, not {said!r}")
    if not 0 <= seconds <= maximum:
        raise ValueError(f"a time from 0 to {maximum:.0f} seconds is needed, not {said!r}")
    return seconds


def span(seconds: float) -> str:
    """Say how long ``seconds`` are, in the largest unit of which there is a whole number; nothing for none."""
    if not seconds:
        return ""
    for name, size in (("day", _SECONDS["d"]), ("hour", _SECONDS["h"]), ("minute", _SECONDS["m"])):
        if seconds % size == 0:
            return f"{seconds // size:,.0f} {name}{'' if seconds == size else 's'}"
    return f"{seconds:.6g} seconds"


def day_and_time(moment: float) -> str:
    """Show seconds since the epoch by the calendar and the clock of this machine."""
    return datetime.fromtimestamp(moment).strftime("%d %b %Y %H:%M")


def _seconds(said: object) -> float | None:
    if isinstance(said, bool):
        return None
    if isinstance(said, int | float):
        return said
    match = _DURATION.fullmatch(said.strip()) if isinstance(said, str) else None
    return float(match[1]) * _SECONDS[match[2] or "s"] if match else None
