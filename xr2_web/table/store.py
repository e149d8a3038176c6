"""The tables of a database as commands see them: anybody may change them, at any time, whoever runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ..outbox.rows import Dead, Row
from ..outbox.store import Changed, Failed, LeftAlone, Place, Store, Survey

CHUNK = 500

R = TypeVar("R", Row, "Letter")


class Letter(NamedTuple):
    """A dead letter in a table."""

    number: int
    dead: Dead


class Sums(NamedTuple):
    """What a table has of one installation: events that wait, when the first was made, dead letters by reason."""

    pending: int = 0
    oldest: float | None = None
    reasons: Mapping[str, int] = {}


class Tables(Protocol):
    """The tables of events and of dead letters in one database. Methods raise what the database does.

    ``owner`` is an installation; empty for all of them.
    """

    name: str

    def sums(self) -> Mapping[str, Sums]:
        """Count what there is, by installation."""

    def events(self, owner: str, after: int, limit: int) -> list[Row]:
        """Return events behind the one with the id ``after``."""

    def letters(self, owner: str, after: int, limit: int) -> list[Letter]:
        """Return dead letters behind the one with the id ``after``."""

    def forget(self, ids: Sequence[int]) -> int:
        """Remove events, and return how many there were."""

    def drop(self, ids: Sequence[int]) -> int:
        """Remove dead letters, and return how many there were."""

    def requeue(self, ids: Sequence[int]) -> int:
        """Make events of dead letters again, and return of how many."""


class TableStore(Store):
    """The tables of a database, of which an event that a courier has taken may be sent though it is removed."""

    def __init__(self, tables: Tables, installation: str, *, others: bool) -> None:
        self._tables = tables
        self._installation = installation
        self._owner = "" if others else installation

    def survey(self) -> Survey:
        """Count what there is, of every installation."""
        try:
            sums = {self._installation: Sums(), **self._tables.sums()}
        except Exception as exc:  # noqa: BLE001
            return Survey(self._tables.name, [], [LeftAlone(self._tables.name, f"cannot be read: {_words(exc)}")])
        return Survey(self._tables.name, [self._place(owner, each) for owner, each in sums.items()], [])

    def waiting(self) -> Iterator[Row]:
        """Yield the events that wait."""
        return self._each(self._tables.events)

    def letters(self) -> Iterator[Dead]:
        """Yield the dead letters."""
        return (letter.dead for letter in self._each(self._tables.letters))

    def forget(self, is_theirs: Callable[[bytes], bool]) -> Changed:
        """Remove what belongs to somebody, whether it waits or is dead."""
        events = self._change(
            self._tables.events, lambda row: is_theirs(row.entry.body), self._tables.forget, lambda done: Changed(done)
        )
        return events.plus(self._change_letters(lambda dead: is_theirs(dead.entry.body), self._tables.drop))

    def requeue(self, is_chosen: Callable[[Dead], bool]) -> Changed:
        """Have dead letters sent once more."""
        return self._change_letters(is_chosen, self._tables.requeue)

    def drop(self, is_chosen: Callable[[Dead], bool]) -> Changed:
        """Remove dead letters."""
        return self._change_letters(is_chosen, self._tables.drop)

    def _place(self, owner: str, sums: Sums) -> Place:
        dead = sum(sums.reasons.values())
        is_ours = owner == self._installation
        return Place(self._tables.name, sums.pending, dead, sums.oldest, sums.reasons, is_ours=is_ours)

    def _change_letters(self, is_chosen: Callable[[Dead], bool], act: Callable[[Sequence[int]], int]) -> Changed:
        return self._change(
            self._tables.letters, lambda letter: is_chosen(letter.dead), act, lambda done: Changed(letters=done)
        )

    def _change(
        self,
        read: Callable[[str, int, int], list[Any]],
        is_meant: Callable[[Any], bool],
        act: Callable[[Sequence[int]], int],
        changed: Callable[[int], Changed],
    ) -> Changed:
        """Change the rows that are meant, a part at a time; what fails is told beside what was done."""
        total = Changed()
        try:
            for rows in self._chunks(read):
                if ids := [row.number for row in rows if is_meant(row)]:
                    total = total.plus(changed(act(ids)))
        except Exception as exc:  # noqa: BLE001
            return total.plus(Changed(undone=(f"{self._tables.name} failed: {_words(exc)}",)))
        return total

    def _each(self, read: Callable[[str, int, int], list[R]]) -> Iterator[R]:
        try:
            for rows in self._chunks(read):
                yield from rows
        except Exception as exc:
            raise Failed(f"{self._tables.name} cannot be read: {_words(exc)}") from exc

    def _chunks(self, read: Callable[[str, int, int], list[R]]) -> Iterator[list[R]]:
        after = 0
        while rows := read(self._owner, after, CHUNK):
            yield rows
            after = rows[-1].number


def _words(exc: Exception) -> str:
    # What follows may be the statement and its values.
    return f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}"
