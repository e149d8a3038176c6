"""The tables of events as commands see them, over the connection that their outbox uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, insert, literal, select

from ..loops import is_on_a_loop
from ..outbox import Declined, Entry
from ..outbox.rows import Dead, Row
from ..table.store import Letter, Sums, Tables
from .line import Line
from .tables import dead_letters, events

T = TypeVar("T")

_KEPT = ("installation", "trace_id", "event_name", "body", "made_at")


class CoreTables(Tables):
    """Both tables at the other end of a line; ``clock`` is the database's."""

    def __init__(self, line: Line, clock: Callable[[], ColumnElement[float]]) -> None:
        self.name = f"the tables {events.name} and {dead_letters.name}"
        self._line = line
        self._clock = clock

    def sums(self) -> Mapping[str, Sums]:
        """Count what there is, by installation."""
        return self._run(_sums)

    def events(self, owner: str, after: int, limit: int) -> list[Row]:
        """Return events behind the one with the id ``after``."""
        rows = self._run(lambda connection: connection.execute(_behind(events, owner, after, limit)).all())
        return [Row(row.id, _entry(row), row.attempts) for row in rows]

    def letters(self, owner: str, after: int, limit: int) -> list[Letter]:
        """Return dead letters behind the one with the id ``after``."""
        rows = self._run(lambda connection: connection.execute(_behind(dead_letters, owner, after, limit)).all())
        return [Letter(row.id, Dead(_entry(row), row.attempts, row.reason, row.died_at)) for row in rows]

    def forget(self, ids: Sequence[int]) -> int:
        """Remove events."""
        return self._run(partial(_delete, events, ids))

    def drop(self, ids: Sequence[int]) -> int:
        """Remove dead letters."""
        return self._run(partial(_delete, dead_letters, ids))

    def requeue(self, ids: Sequence[int]) -> int:
        """Make events of dead letters again."""
        return self._run(partial(self._requeue, ids), as_one=True)

    def _requeue(self, ids: Sequence[int], connection: Connection) -> int:
        kept = [dead_letters.c[name] for name in _KEPT]
        # Locked: of two who do this at once only one finds it.
        there = connection.scalars(select(dead_letters.c.id).where(dead_letters.c.id.in_(ids)).with_for_update()).all()
        again = select(*kept, literal(0), literal(""), self._clock()).where(dead_letters.c.id.in_(there))
        connection.execute(insert(events).from_select([*_KEPT, "attempts", "token", "due_at"], again))
        return _delete(dead_letters, there, connection)

    def _run(self, work: Callable[[Connection], T], *, as_one: bool = False) -> T:
        if is_on_a_loop():
            raise Declined("the database cannot be used on an event loop")
        return self._line.run(work, as_one=as_one)


def _sums(connection: Connection) -> dict[str, Sums]:
    waiting = select(events.c.installation, func.count(), func.min(events.c.made_at))
    found = {
        owner: Sums(count, oldest, {})
        for owner, count, oldest in connection.execute(waiting.group_by(events.c.installation))
    }
    key = (dead_letters.c.installation, dead_letters.c.reason)
    for owner, reason, count in connection.execute(select(*key, func.count()).group_by(*key)):
        sums = found.get(owner, Sums())
        found[owner] = sums._replace(reasons={**sums.reasons, reason: count})
    return found


def _behind(table: Table, owner: str, after: int, limit: int) -> Select[Any]:
    rows = select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)
    return rows.where(table.c.installation == owner) if owner else rows


def _delete(table: Table, ids: Sequence[int], connection: Connection) -> int:
    return connection.execute(delete(table).where(table.c.id.in_(ids))).rowcount


def _entry(row: Any) -> Entry:
    return Entry(row.trace_id, row.event_name, bytes(row.body), row.made_at)
