"""The statements on the tables of events, in SQLAlchemy's terms; in which transaction, the caller sees to."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, delete, func, insert, select, update

from ..outbox import Claim, Entry
from ..table.rows import Ticket
from .tables import dead_letters, events

FIRST_TO_SKIP = {"postgresql": (9, 5), "mariadb": (10, 6), "mysql": (8, 0, 1)}
"""The releases since which rows that somebody has locked can be passed over."""


class Rows:
    """The events of one installation over one connection (``table.rows.Rows``)."""

    def __init__(self, installation: str, clock: Callable[[], ColumnElement[float]], connection: Connection) -> None:
        self._installation = installation
        self._clock = clock
        self._connection = connection

    def add(self, entry: Entry, *, gone: Collection[int] = ()) -> bool:
        """Write an event; False where one of its key waits that is not among the ``gone``."""
        if self._is_known(entry, gone):
            return False
        self.add_unseen(entry)
        return True

    def add_unseen(self, entry: Entry) -> None:
        """Write an event without looking whether one of its key waits."""
        row = {"installation": self._installation, "attempts": 0, "token": "", **entry._asdict()}
        self._connection.execute(insert(events).values(**row, due_at=self._clock()).inline())

    def exchange(self, gone: Mapping[int, str], most: int, lease: float) -> list[Claim]:
        """Forget the ``gone``, and take up to ``most`` events that are due for ``lease`` seconds."""
        self.delete(gone)
        token, now = secrets.token_hex(8), self._clock()
        is_due = (*self._here(events), events.c.due_at <= now)
        free = select(events).where(*is_due).order_by(events.c.due_at, events.c.id).limit(most)
        if skips_locked(self._connection):
            free = free.with_for_update(skip_locked=True)
        found = {row.id: row for row in self._connection.execute(free)}
        if not found:
            return []
        # Where nothing was locked somebody may have been faster.
        taking = update(events).where(*is_due, events.c.id.in_(found)).values(token=token, due_at=now + lease)
        if self._connection.execute(taking).rowcount == len(found):
            return [_claim(row, token) for row in found.values()]
        taken = select(events.c.id).where(events.c.id.in_(found), events.c.token == token)
        ids = set(self._connection.scalars(taken))
        return [_claim(row, token) for row in found.values() if row.id in ids]

    def first_due(self) -> float | None:
        """Return the seconds until an event is due or a lease ends, none where the table is empty."""
        wait = select(events.c.due_at - self._clock()).where(*self._here(events))
        return self._connection.scalar(wait.order_by(events.c.due_at).limit(1))

    def hasten(self, further: float) -> None:
        """Have what is due in more than ``further`` seconds be due now."""
        is_late = (*self._here(events), events.c.due_at > self._clock() + further)
        # Looked first: an update locks in MariaDB where visitors write, though it finds nothing.
        if self._connection.scalar(select(events.c.id).where(*is_late).limit(1)) is not None:
            self._connection.execute(update(events).where(*is_late).values(due_at=self._clock()))

    def delete(self, gone: Mapping[int, str]) -> None:
        """Forget events, given as the token by which each id was taken."""
        for token in set(gone.values()):
            ids = [row_id for row_id, each in gone.items() if each == token]
            self._connection.execute(delete(events).where(events.c.id.in_(ids), events.c.token == token))

    def put_back(self, tickets: Collection[Ticket]) -> None:
        """Let go of events that were taken in one go, as if they had not been."""
        ids, tokens = [each.id for each in tickets], {each.token for each in tickets}
        those = update(events).where(events.c.id.in_(ids), events.c.token.in_(tokens))
        self._connection.execute(those.values(token="", due_at=self._clock()))

    def retry(self, claim: Claim, delay: float) -> None:
        """Let go of an event, to be tried again after ``delay`` seconds."""
        values = {"token": "", "attempts": claim.attempts + 1, "due_at": self._clock() + delay}
        self._connection.execute(update(events).where(*_is(claim)).values(values))

    def bury(self, claim: Claim, reason: str) -> None:
        """Make a dead letter of an event; to be done in a transaction."""
        if self._connection.execute(delete(events).where(*_is(claim))).rowcount:
            self.keep_dead(claim.entry, claim.attempts + 1, reason)

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Write a dead letter."""
        kept = {"installation": self._installation, "attempts": attempts, **entry._asdict()}
        letter = insert(dead_letters).values(**kept, reason=_storable(reason), died_at=self._clock())
        self._connection.execute(letter.inline())

    def prune_dead(self, age: float, most: int) -> None:
        """Forget dead letters that died ``age`` seconds ago, and the oldest above ``most``."""
        here, number = self._here(dead_letters), dead_letters.c.id
        self._connection.execute(delete(dead_letters).where(*here, dead_letters.c.died_at < self._clock() - age))
        above = select(number).where(*here).order_by(number.desc()).offset(most).limit(1)
        if (last := self._connection.scalar(above)) is not None:
            self._connection.execute(delete(dead_letters).where(*here, number <= last))

    def count(self, *, without: Collection[int] = (), most: int | None = None) -> int:
        """Count the events, no further than ``most``."""
        counted = self._waiting(without, events.c.id).limit(most).subquery()
        return self._connection.scalar(select(func.count()).select_from(counted)) or 0

    def commit(self) -> None:
        """Have what was done so far stand."""
        self._connection.commit()

    def count_dead(self) -> int:
        """Count the dead letters."""
        counted = select(func.count()).select_from(dead_letters).where(*self._here(dead_letters))
        return self._connection.scalar(counted) or 0

    def oldest(self, *, without: Collection[int] = ()) -> float | None:
        """Return when the first event in the order of arrival was made."""
        first: float | None = self._connection.scalar(
            self._waiting(without, events.c.made_at).order_by(events.c.id).limit(1)
        )
        return first

    def _waiting(self, without: Collection[int], column: ColumnElement[Any]) -> Select[Any]:
        waiting = select(column).where(*self._here(events))
        return waiting.where(events.c.id.not_in(without)) if without else waiting

    def _is_known(self, entry: Entry, gone: Collection[int]) -> bool:
        key = (events.c.trace_id == entry.trace_id, events.c.event_name == entry.event_name)
        columns = (events.c.id, events.c.trace_id, events.c.event_name)
        found = self._connection.execute(select(*columns).where(*self._here(events), *key))
        # Compared once more: MariaDB takes "Sign_Up" for "sign_up" by default, and would have us lose one of them.
        return any(row[1:] == entry[:2] and row[0] not in gone for row in found.all())

    def _here(self, table: Table) -> tuple[ColumnElement[bool], ...]:
        return (table.c.installation == self._installation,)


def skips_locked(connection: Connection) -> bool:
    """Say whether this database passes over rows that somebody has locked, if asked to."""
    dialect: Any = connection.dialect
    kind = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    return kind in FIRST_TO_SKIP and dialect.server_version_info >= FIRST_TO_SKIP[kind]


def _is(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    ticket: Ticket = claim.ticket
    return events.c.id == ticket.id, events.c.token == ticket.token


def _claim(row: Row[Any], token: str) -> Claim:
    entry = Entry(row.trace_id, row.event_name, bytes(row.body), row.made_at)
    # Whoever had it before may have sent it without noting so: no longer a first attempt.
    return Claim(entry, row.attempts + bool(row.token), Ticket(row.id, token))


def _storable(text: str) -> str:
    # PostgreSQL has no NUL in texts, and no database half a character.
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")
