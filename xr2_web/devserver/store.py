"""What happened here: the traces that were handed out and every event that was tried, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import msgspec

TRACES_KEPT = 5_000
ATTEMPTS_KEPT = 5_000
"""Attempts that were refused or duplicates; an accepted event is kept as long as its trace."""

_SCHEMA_VERSION = 1
_SCHEMA = """
DROP TABLE IF EXISTS attempts;
DROP TABLE IF EXISTS traces;
CREATE TABLE traces (
    id INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL UNIQUE,
    slug TEXT NOT NULL,
    version_number INTEGER NOT NULL,
    source_name TEXT NOT NULL,
    fetched_at REAL NOT NULL,
    ab_test_name TEXT,
    ab_test_variant TEXT
);
CREATE INDEX tested ON traces (slug, ab_test_name, ab_test_variant) WHERE ab_test_name IS NOT NULL;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    trace_id TEXT,
    event_name TEXT,
    source_name TEXT,
    user_id TEXT,
    session_id TEXT,
    value REAL,
    currency TEXT,
    metadata TEXT NOT NULL,
    received_at REAL NOT NULL,
    event_id TEXT,
    is_duplicate INTEGER NOT NULL,
    is_undefined INTEGER NOT NULL,
    refused TEXT
);
CREATE INDEX by_trace ON attempts (trace_id);
CREATE UNIQUE INDEX accepted ON attempts (trace_id, event_name) WHERE refused IS NULL AND NOT is_duplicate;
CREATE INDEX not_accepted ON attempts (id) WHERE refused IS NOT NULL OR is_duplicate;
"""


class Trace(msgspec.Struct, frozen=True):
    """A prompt that was fetched once."""

    trace_id: str
    slug: str
    version_number: int
    source_name: str
    fetched_at: float
    ab_test_name: str | None = None
    ab_test_variant: str | None = None


class Attempt(msgspec.Struct, frozen=True):
    """An event that was tried; ``refused`` says why it was not taken.

    A duplicate has the ``event_id`` of the first. What a body did not hold in a usable form is None.
    """

    received_at: float
    trace_id: str | None = None
    event_name: str | None = None
    source_name: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    currency: str | None = None
    metadata: dict[str, Any] = {}
    event_id: str | None = None
    is_duplicate: bool = False
    is_undefined: bool = False
    refused: str | None = None


class Store:
    """Keep traces and attempts in the file ``path``, or in memory; bounded, and usable from any thread.

    Several processes may share a file. ``transaction`` makes what is read and written inside it one step.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = RLock()
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != _SCHEMA_VERSION:
            # Development data: another version's is not worth a migration.
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let nobody else write inside the block; undo what it wrote when it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def add_trace(self, trace: Trace) -> None:
        """Keep a trace, and drop the oldest beyond ``TRACES_KEPT`` with their attempts."""
        newest = self._insert("traces", msgspec.structs.asdict(trace))
        gone = "SELECT trace_id FROM traces WHERE id <= ?"
        self._execute(f"DELETE FROM attempts WHERE trace_id IN ({gone})", newest - TRACES_KEPT)
        self._execute("DELETE FROM traces WHERE id <= ?", newest - TRACES_KEPT)

    def add_attempt(self, attempt: Attempt) -> None:
        """Keep an attempt, and drop the oldest that were not accepted beyond ``ATTEMPTS_KEPT``."""
        row = msgspec.structs.asdict(attempt)
        newest = self._insert("attempts", {**row, "metadata": msgspec.json.encode(attempt.metadata)})
        self._execute(
            "DELETE FROM attempts WHERE id <= ? AND (refused IS NOT NULL OR is_duplicate)",
            newest - ATTEMPTS_KEPT,
        )

    def trace(self, trace_id: str) -> Trace | None:
        """Return the trace of this id."""
        rows = self._execute("SELECT * FROM traces WHERE trace_id = ?", trace_id)
        return _trace(rows[0]) if rows else None

    def accepted_id(self, trace_id: str, event_name: str) -> str | None:
        """Return the id of the event of this name that the trace has already."""
        rows = self._execute(
            "SELECT event_id FROM attempts"
            " WHERE trace_id = ? AND event_name = ? AND refused IS NULL AND NOT is_duplicate",
            trace_id,
            event_name,
        )
        return rows[0]["event_id"] if rows else None

    def served(self, slug: str, ab_test_name: str) -> dict[str, int]:
        """Count the traces that each variant of an A/B test was handed out with."""
        rows = self._execute(
            "SELECT ab_test_variant, count(*) FROM traces WHERE slug = ? AND ab_test_name = ? GROUP BY 1",
            slug,
            ab_test_name,
        )
        return dict(rows)

    def history(self) -> tuple[list[Trace], list[Attempt]]:
        """Return every trace and every attempt of one moment, newest last."""
        with self.transaction():
            traces = self._execute("SELECT * FROM traces ORDER BY id")
            attempts = self._execute("SELECT * FROM attempts ORDER BY id")
        return [_trace(row) for row in traces], [_attempt(row) for row in attempts]

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            self._execute("DELETE FROM attempts")
            self._execute("DELETE FROM traces")

    def close(self) -> None:
        """Close the file; nothing can be kept afterwards."""
        with self._lock:
            self._connection.close()

    def _execute(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        statement = f"INSERT INTO {table} ({columns}) VALUES ({marks}) RETURNING id"
        return int(self._execute(statement, *row.values())[0]["id"])


def _trace(row: sqlite3.Row) -> Trace:
    return Trace(**{name: row[name] for name in Trace.__struct_fields__})


def _attempt(row: sqlite3.Row) -> Attempt:
    values = {name: row[name] for name in Attempt.__struct_fields__}
    flags = {name: bool(values[name]) for name in ("is_duplicate", "is_undefined")}
    return Attempt(**{**values, **flags, "metadata": msgspec.json.decode(values["metadata"])})
