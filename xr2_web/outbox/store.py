"""What can be asked about an outbox from outside of the processes that use it: the protocol that commands work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from . import Paused
from .rows import Dead, Row

__all__ = ["Busy", "Changed", "Dead", "Failed", "LeftAlone", "Place", "Row", "Store", "Survey"]


class Place(NamedTuple):
    """A file or a table in which events wait; ``oldest`` is when the first of them was made (epoch seconds).

    ``is_alive`` says whether its process runs, and is None where it belongs to none. ``is_ours`` is false where the
    events are of another installation: for another server, or under another key.
    """

    name: str
    pending: int
    dead: int
    oldest: float | None
    reasons: Mapping[str, int]
    pid: int | None = None
    host: str | None = None
    base_url: str | None = None
    is_alive: bool | None = None
    is_ours: bool = True
    paused: Paused | None = None


class LeftAlone(NamedTuple):
    """A file that nobody touches, and why; of one that ``is_set_aside`` was saved what could be."""

    name: str
    why: str
    is_ours: bool = True
    is_set_aside: bool = False


class Survey(NamedTuple):
    """What there is in a store; ``bytes`` where it knows how much room that takes."""

    name: str
    places: list[Place]
    left_alone: list[LeftAlone]
    bytes: int | None = None


class Changed(NamedTuple):
    """How many events and dead letters were changed, and who had to do it and did not.

    ``kept`` dead letters could not be put back, because the outbox is full.
    """

    events: int = 0
    letters: int = 0
    kept: int = 0
    undone: tuple[str, ...] = ()

    def plus(self, other: Changed) -> Changed:
        """Return the sum."""
        events, letters, kept = self.events + other.events, self.letters + other.letters, self.kept + other.kept
        return Changed(events, letters, kept, tuple(dict.fromkeys(self.undone + other.undone)))


class Busy(Exception):
    """Another command is at work on the same store."""


class Failed(Exception):
    """A store cannot be read; says which, and why."""


class Store(Protocol):
    """What waits in an outbox, of all its processes. Its methods may block, and raise what the disk or database does.

    What changes events works while the application runs. An event that is under way at that moment cannot be called
    back. Raises ``Busy`` where another command does not end.
    """

    def survey(self) -> Survey:
        """Look at everything, and change nothing."""

    def waiting(self) -> Iterator[Row]:
        """Yield the events that wait."""

    def letters(self) -> Iterator[Dead]:
        """Yield the dead letters."""

    def forget(self, is_theirs: Callable[[bytes], bool]) -> Changed:
        """Remove the events and dead letters of whose bodies ``is_theirs`` is true."""

    def requeue(self, is_chosen: Callable[[Dead], bool]) -> Changed:
        """Have dead letters sent once more."""

    def drop(self, is_chosen: Callable[[Dead], bool]) -> Changed:
        """Remove dead letters."""
