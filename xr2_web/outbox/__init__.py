"""Where accepted events wait for the courier: the protocol that every outbox keeps.

An outbox holds at most one event for each key, the trace id and event name under which xR2 keeps one too.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol

__all__ = ["Claim", "Counts", "Entry", "Outbox", "Put"]


class Entry(NamedTuple):
    """An accepted event: its key, its serialised body, and when it was made (epoch seconds)."""

    trace_id: str
    event_name: str
    body: bytes
    made_at: float


class Claim(NamedTuple):
    """An event that one courier has taken to deliver; ``attempts`` were made before."""

    entry: Entry
    attempts: int


class Counts(NamedTuple):
    """How many events wait or are under way, and how many are dead letters."""

    pending: int
    dead: int


class Put(enum.Enum):
    """What became of an event that was put."""

    ACCEPTED = None
    DUPLICATE = "duplicate"
    FULL = "full"


class Outbox(Protocol):
    """A store of events, safe to use from any thread. No method but ``put`` is called in a request."""

    def put(self, entry: Entry) -> Put:
        """Take an event; the newest is refused when full, never an accepted one dropped."""

    def claim(self) -> Claim | None:
        """Take the next event that is due, or None."""

    def done(self, claim: Claim) -> None:
        """Forget an event that arrived, or that expired."""

    def retry(self, claim: Claim, delay: float) -> None:
        """Put a claimed event back, due after ``delay`` seconds."""

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter, with the server's reason."""

    def next_due(self) -> float | None:
        """Return the seconds until an event is due, 0 for now; None when none waits."""

    def counts(self) -> Counts:
        """Count what is here."""

    def close(self) -> None:
        """Release what is held."""
