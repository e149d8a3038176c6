"""Where accepted events wait for the courier: the protocol that every outbox keeps.

An outbox holds at most one event for each key, the trace id and event name under which xR2 keeps one too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from ..scope import Scope
    from .rows import Dead
    from .store import Store

__all__ = ["Claim", "Counts", "Declined", "Entry", "Outbox", "Paused", "Put"]


class Entry(NamedTuple):
    """An accepted event: its key, its serialised body, and when it was made (epoch seconds)."""

    trace_id: str
    event_name: str
    body: bytes
    made_at: float


class Claim(NamedTuple):
    """An event that one courier has taken to deliver; ``attempts`` were made before.

    ``ticket`` is how the outbox finds it again, and means nothing to anybody else.
    """

    entry: Entry
    attempts: int
    ticket: Any = None


class Counts(NamedTuple):
    """How many events wait or are under way, and how many are dead letters."""

    pending: int
    dead: int


class Paused(NamedTuple):
    """Until when nothing is sent (epoch seconds), and why."""

    until: float
    why: str


class Put(enum.Enum):
    """What became of an event that was put."""

    ACCEPTED = None
    DUPLICATE = "duplicate"
    FULL = "full"


class Declined(Exception):
    """An outbox cannot take an event here, on an event loop for one; nothing is wrong with it."""


class Outbox(Protocol):
    """A store of events, safe to use from any thread. In a request only ``put`` and ``enlist`` are called.

    Inherit from it: what not every outbox needs is answered here.
    """

    def put(self, entry: Entry) -> Put:
        """Take an event; the newest is refused when full, never an accepted one dropped.

        Raises ``Declined``, or whatever went wrong, where the event is not kept.
        """

    def enlist(self, entry: Entry, scope: Scope | None, at_commit: Callable[[], None]) -> bool:
        """Write an event into the one transaction that is open here, if this outbox lives in the same database.

        Then it stands and falls with it, and ``at_commit`` is called when it stands. False where it cannot be; what
        was tried has left no trace in the transaction.
        """
        return False

    def has_heritage(self) -> bool:
        """Tell whether events may wait here that this process has not made. Asked once, at its first request."""
        return False

    def claim(self) -> Claim | None:
        """Take the next event that is due, or None."""

    def done(self, claim: Claim) -> None:
        """Forget an event that arrived, or that expired."""

    def retry(self, claim: Claim, delay: float) -> None:
        """Put a claimed event back, due after ``delay`` seconds."""

    def release(self, claim: Claim) -> None:
        """Put a claimed event back that was not tried, or whose try says nothing of it: it counts as no attempt."""
        self.retry(claim, 0.0)

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter, with the server's reason."""

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter of an event that was delivered from elsewhere, if there is a place for it here."""
        return

    def give(self) -> Claim | None:
        """Take an event for another outbox: where it would end with this process, whether it is due or not."""
        return self.claim()

    def give_dead(self) -> Dead | None:
        """Give away a dead letter that would end with this process; None where there is none."""
        return None

    def next_due(self) -> float | None:
        """Return the seconds until an event is due, 0 for now; None when none waits."""

    def tend(self, paused: Paused | None) -> float | None:
        """Keep house, knowing whether sending is paused. The courier calls again after so many seconds; None: never."""
        return None

    def counts(self) -> Counts:
        """Count what is here."""

    def at_risk(self) -> Counts:
        """Count what would end with this process. Asked when it closes, and of an outbox that is closed too."""
        return Counts(0, 0)

    def oldest(self) -> float | None:
        """Return when the oldest event that waits was made (epoch seconds); None when none waits."""

    def adopt(self, until: float, *, others: bool) -> bool:
        """Take over what dead processes left, until then (monotonic), with ``others`` also of other installations.

        Returns False where some of it has to wait. Called by commands; ``tend`` does the same in its own time.
        """
        return True

    def stores(self, *, others: bool) -> Sequence[Store]:
        """Return what commands work with: none where nothing can be seen from outside of this process.

        With ``others`` they also change what belongs to other installations.
        """
        return ()

    @property
    def is_well(self) -> bool:
        """Whether events are kept where they should be."""
        return True

    def close(self) -> None:
        """Release what is held. What is called afterwards does nothing."""
