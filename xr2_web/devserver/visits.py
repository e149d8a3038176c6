"""What one visitor did, put together from traces and attempts, the latest visit first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha1
from sqlite3 import Row
from typing import NamedTuple

import msgspec

from .store import Attempt, Store, Trace, as_attempt, as_trace

VISITS_SHOWN = 30
FETCHES_SHOWN = 4
EVENTS_SHOWN = 6
"""Fetches and events of one visit; the latest."""

_LOOKED_AT = 1_000
"""Rows of each table that are looked at, newest first, for visits to show."""

_KEY_OF_TRACE = "coalesce('s' || t.session_id, 't' || t.trace_id)"
_KEY_OF_ATTEMPT = f"coalesce({_KEY_OF_TRACE}, 's' || a.session_id, 'u' || a.trace_id, 'a' || a.id)"
_ATTEMPTS = "attempts a LEFT JOIN traces t ON t.trace_id = a.trace_id"

_TRACES_OF = {"s": "session_id = :value", "t": "trace_id = :value"}
_ATTEMPTS_OF = {
    "s": "a.trace_id IN (SELECT trace_id FROM traces WHERE session_id = :value)"
    " OR t.id IS NULL AND a.session_id = :value",
    "t": "a.trace_id = :value",
    "u": "a.trace_id = :value AND a.session_id IS NULL",
    "a": "a.id = :value",
}
"""By the first letter of a visit's key: that of a session, of a trace, of an unknown trace, of an attempt."""


class Search(msgspec.Struct, frozen=True):
    """Which visits are wanted: with ``text`` somewhere, with the prompt ``slug``, with a refusal. Empty: any."""

    text: str = ""
    slug: str = ""
    only_refused: bool = False


class Counts(NamedTuple):
    """How many of each are kept."""

    fetches: int
    events: int
    duplicates: int
    refused: int


@dataclass(slots=True)
class Fetch:
    """A trace and what was tried under it, oldest first."""

    trace: Trace
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class Visit:
    """What is known of one visitor: of a session, or of a trace or an attempt for which no session is known.

    ``strays`` are attempts of no known trace. ``left_out`` counts earlier fetches and attempts that are not here.
    """

    key: str
    fetches: list[Fetch]
    strays: list[Attempt]
    left_out: int

    @property
    def id(self) -> str:
        """An id of hexadecimal digits that stays the same."""
        return sha1(self.key.encode()).hexdigest()[:12]

    @property
    def session_id(self) -> str | None:
        """The session of the visitor."""
        return self.key[1:] if self.key.startswith("s") else None

    @property
    def attempts(self) -> list[Attempt]:
        """Every attempt that is here."""
        return [each for fetch in self.fetches for each in fetch.attempts] + self.strays


def latest(store: Store, search: Search) -> list[Visit]:
    """Return up to ``VISITS_SHOWN`` visits that ``search`` finds, the one with the latest activity first."""
    with store.one_moment():
        found = sorted([*_fetched(store, search), *_attempted(store, search)], reverse=True)
        keys = list(dict.fromkeys(key for _, key in found))
        return [_visit(store, key) for key in keys[:VISITS_SHOWN]]


def counts(store: Store) -> Counts:
    """Count all that is kept."""
    [row] = store.select(
        "SELECT (SELECT count(*) FROM traces),"
        " (SELECT count(*) FROM attempts WHERE refused IS NULL AND NOT is_duplicate),"
        " (SELECT count(*) FROM attempts WHERE refused IS NULL AND is_duplicate),"
        " (SELECT count(*) FROM attempts WHERE refused IS NOT NULL)"
    )
    return Counts(*row)


def of_trace(store: Store, trace_id: str) -> Visit | None:
    """Return the visit of the trace, ten times as long; for an unknown one what was tried under its id, if anything."""
    with store.one_moment():
        rows = store.select(f"SELECT {_KEY_OF_TRACE} FROM traces t WHERE trace_id = ?", trace_id) or store.select(
            f"SELECT {_KEY_OF_ATTEMPT} FROM {_ATTEMPTS} WHERE a.trace_id = ? ORDER BY a.id DESC LIMIT 1", trace_id
        )
        return _visit(store, rows[0][0], first=trace_id, times=10) if rows else None


def _fetched(store: Store, search: Search) -> Iterator[tuple[int, str]]:
    if search.only_refused:
        return
    columns = ("trace_id", "slug", "source_name", "session_id", "ab_test_name", "ab_test_variant")
    where, values = _where(search, " || char(10) || ".join(f"coalesce(t.{each}, '')" for each in columns))
    for row in store.select(
        f"SELECT t.arrival, {_KEY_OF_TRACE} FROM traces t WHERE {where} ORDER BY t.id DESC LIMIT {_LOOKED_AT}",
        *values,
    ):
        yield row[0], row[1]


def _attempted(store: Store, search: Search) -> Iterator[tuple[int, str]]:
    where, values = _where(search, "a.words")
    if search.only_refused:
        where += " AND a.refused IS NOT NULL"
    for row in store.select(
        f"SELECT a.arrival, {_KEY_OF_ATTEMPT} FROM {_ATTEMPTS} WHERE {where} ORDER BY a.id DESC LIMIT {_LOOKED_AT}",
        *values,
    ):
        yield row[0], row[1]


def _where(search: Search, words: str) -> tuple[str, list[str]]:
    conditions, values = ["TRUE"], []
    if search.slug:
        conditions.append("+t.slug = ?")
        values.append(search.slug)
    if search.text:
        escaped = search.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions.append(f"{words} LIKE ? ESCAPE '\\'")
        values.append(f"%{escaped}%")
    return " AND ".join(conditions), values


def _visit(store: Store, key: str, *, first: str = "", times: int = 1) -> Visit:
    kind, value = key[0], key[1:]
    traces = store.select(
        f"SELECT *, count(*) OVER () AS total FROM traces WHERE {_TRACES_OF.get(kind, 'FALSE AND :value')}"
        " ORDER BY trace_id = :first DESC, id DESC LIMIT :limit",
        value=value,
        first=first,
        limit=FETCHES_SHOWN * times,
    )
    attempts = store.select(
        "SELECT a.*, t.id IS NOT NULL AS is_known, count(*) OVER () AS total"
        f" FROM {_ATTEMPTS} WHERE {_ATTEMPTS_OF[kind]} ORDER BY a.trace_id = :first DESC, a.id DESC LIMIT :limit",
        value=value,
        first=first,
        limit=EVENTS_SHOWN * times,
    )
    total = sum(rows[0]["total"] for rows in (traces, attempts) if rows)
    return _put_together(key, traces, attempts, total)


def _put_together(key: str, traces: list[Row], attempts: list[Row], total: int) -> Visit:
    fetches = {row["trace_id"]: Fetch(as_trace(row)) for row in sorted(traces, key=_id)}
    strays = []
    for row in sorted(attempts, key=_id):
        if row["trace_id"] in fetches:
            fetches[row["trace_id"]].attempts.append(as_attempt(row))
        elif not row["is_known"]:
            strays.append(as_attempt(row))
    visit = Visit(key, list(fetches.values()), strays, 0)
    visit.left_out = total - len(fetches) - len(visit.attempts)
    return visit


def _id(row: Row) -> int:
    return int(row["id"])
