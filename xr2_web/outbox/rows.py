"""What outboxes keep, as values: an event that waits, and a dead letter."""

from __future__ import annotations

from typing import NamedTuple

from . import Entry


class Row(NamedTuple):
    """An event under its number; ``attempts`` were made."""

    number: int
    entry: Entry
    attempts: int


class Dead(NamedTuple):
    """A dead letter: an event, and why and when (epoch seconds) it was given up."""

    entry: Entry
    attempts: int
    reason: str
    died_at: float
