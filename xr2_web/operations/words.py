"""How ages, sizes and moments are written, for people and in JSON. No I/O happens here."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def age(seconds: float | None) -> str:
    """Return a duration in its two largest units."""
    if seconds is None:
        return ""
    left = max(0, int(seconds))
    parts = []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def size(count: int) -> str:
    """Return bytes in a unit that fits."""
    if count < 1024:
        return f"{count} bytes"
    return f"{count / 1024:.0f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"


def moment(epoch: float) -> str:
    """Return a moment in the time zone of this machine."""
    return datetime.fromtimestamp(epoch).strftime("%Y-%m-%d %H:%M:%S")


def timestamp(epoch: float | None) -> str | None:
    """Return a moment as JSON has it: ISO 8601, in UTC."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")


def many(count: int, what: str) -> str:
    """Return a number of things; their name gets its plural."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
