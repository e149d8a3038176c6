"""The statements on a table of events, and the ways to send them, as each library has its own of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol, TypeVar

from ..outbox import Claim, Entry

T = TypeVar("T")


class Ticket(NamedTuple):
    """Where a claimed event is, and by which token it was taken."""

    id: int
    token: str


class Rows(Protocol):
    """The events of one installation, over a connection that is open.

    What is taken is leased: it is due again at the end of the lease, and whoever has lost it by then changes nothing,
    since every change asks for the id and the token. No row is locked for longer than a statement or two, and none
    that a visitor's transaction has written.
    """

    def exchange(self, gone: Mapping[int, str], most: int, lease: float) -> list[Claim]:
        """Forget the ``gone``, and take up to ``most`` events that are due for ``lease`` seconds."""

    def first_due(self) -> float | None:
        """Return the seconds until an event is due or a lease ends, none where the table is empty."""

    def hasten(self, further: float) -> None:
        """Have what is due in more than ``further`` seconds be due now."""

    def delete(self, gone: Mapping[int, str]) -> None:
        """Forget events, given as the token by which each id was taken."""

    def put_back(self, tickets: Collection[Ticket]) -> None:
        """Let go of events that were taken in one go, as if they had not been."""

    def retry(self, claim: Claim, delay: float) -> None:
        """Let go of an event, to be tried again after ``delay`` seconds."""

    def bury(self, claim: Claim, reason: str) -> None:
        """Make a dead letter of an event."""

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Write a dead letter."""

    def prune_dead(self, age: float, most: int) -> None:
        """Forget dead letters that died ``age`` seconds ago, and the oldest above ``most``."""

    def count(self, *, without: Collection[int] = (), most: int | None = None) -> int:
        """Count the events, no further than ``most``."""

    def count_dead(self) -> int:
        """Count the dead letters."""

    def oldest(self, *, without: Collection[int] = ()) -> float | None:
        """Return when the first event in the order of arrival was made."""

    def commit(self) -> None:
        """Have what was done so far stand, if it does not yet."""


class Desk(Protocol):
    """The courier's way to the rows: over a connection of its own, which one thread uses at a time."""

    def run(self, work: Callable[[Rows], T], *, as_one: bool = False) -> T:
        """Do something with the rows: each statement by itself, or all ``as_one`` transaction.

        Raises ``Declined`` where the connection is not to be had in time, and whatever the database raises.
        """


class Line(Protocol):
    """A connection that is opened on first use."""

    @property
    def is_open(self) -> bool:
        """Whether the database holds a connection for it."""

    def close(self, *, idle_for: float = 0.0) -> None:
        """Close it if it was not used for so many seconds; if another thread uses it, it is left."""
