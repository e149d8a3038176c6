"""What happened here: the traces that were handed out and every event that was tried, in SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import msgspec

TRACES_KEPT = 5_000
ATTEMPTS_KEPT = 5_000
"""Attempts that were refused or duplicates; an accepted event is kept as long as its trace."""

PATIENCE = 5.0
"""Seconds for which another process that has the file is waited for."""

_SCHEMA_VERSION = 4
_SCHEMA = """
DROP TABLE IF EXISTS origin;
DROP TABLE IF EXISTS served;
DROP TABLE IF EXISTS attempts;
DROP TABLE IF EXISTS traces;
CREATE TABLE origin AS SELECT lower(hex(randomblob(4))) AS token;
CREATE TABLE traces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id TEXT NOT NULL UNIQUE,
    slug TEXT NOT NULL,
    version_number INTEGER NOT NULL,
    source_name TEXT NOT NULL,
    fetched_at REAL NOT NULL,
    ab_test_name TEXT,
    ab_test_variant TEXT,
    arm TEXT NOT NULL,
    session_id TEXT,
    arrival INTEGER NOT NULL
);
CREATE INDEX by_session ON traces (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX by_slug ON traces (slug, arm);
CREATE INDEX tested ON traces (slug, ab_test_name, ab_test_variant) WHERE ab_test_name IS NOT NULL;
CREATE TABLE served (
    slug TEXT NOT NULL,
    ab_test_name TEXT NOT NULL,
    ab_test_variant TEXT NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (slug, ab_test_name, ab_test_variant)
) WITHOUT ROWID;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
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
    refused TEXT,
    arm TEXT,
    words TEXT NOT NULL,
    arrival INTEGER NOT NULL
);
CREATE INDEX by_trace ON attempts (trace_id);
CREATE UNIQUE INDEX accepted ON attempts (trace_id, event_name) WHERE refused IS NULL AND NOT is_duplicate;
CREATE INDEX counted ON attempts (arm, event_name, currency, value) WHERE refused IS NULL AND NOT is_duplicate;
CREATE INDEX attempts_by_session ON attempts (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX not_accepted ON attempts (id) WHERE refused IS NOT NULL OR is_duplicate;
"""

_NEXT_ARRIVAL = """1 + max(
    coalesce((SELECT arrival FROM traces ORDER BY id DESC LIMIT 1), 0),
    coalesce((SELECT arrival FROM attempts ORDER BY id DESC LIMIT 1), 0)
)"""

_SEARCHED = ("trace_id", "event_name", "source_name", "user_id", "session_id", "currency", "metadata", "refused")


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

    Several processes may share a file. ``transaction`` makes what is read and written inside it one step. A trace
    belongs to the first session that an event of it names. What was handed out in the same way, slug, version and
    variant, has the same ``arm``, and so have the attempts of its traces: to count them takes one walk over an index.
    Both tables count one ``arrival`` after the other: the clock may be put back.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = RLock()
        self._connection = _connect(path)
        try:
            self._prepare()
            # Whoever looks at a file does not hold up who writes; memory belongs to one connection.
            self._view, self._view_lock = (_connect(path), RLock()) if path else (self._connection, self._lock)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        _into_wal(self._connection)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        # Looked at under the lock: another process may be making the same file.
        with self.transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version != _SCHEMA_VERSION:
                # Development data: another version's is not worth a migration.
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let nobody else write inside the block; undo what it wrote when it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself may have rolled it back, where the disk is full.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def add_trace(self, trace: Trace) -> None:
        """Keep a trace, and drop the oldest beyond ``TRACES_KEPT`` with their attempts."""
        newest = self._insert("traces", {**msgspec.structs.asdict(trace), "arm": _arm(trace)})
        if trace.ab_test_name is not None:
            self._execute(
                "INSERT INTO served VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET requests = requests + 1",
                trace.slug,
                trace.ab_test_name,
                trace.ab_test_variant,
            )
        gone = "SELECT trace_id FROM traces WHERE id <= ?"
        self._execute(f"DELETE FROM attempts WHERE trace_id IN ({gone})", newest - TRACES_KEPT)
        self._execute("DELETE FROM traces WHERE id <= ?", newest - TRACES_KEPT)

    def add_attempt(self, attempt: Attempt) -> None:
        """Keep an attempt, and drop the oldest that were not accepted beyond ``ATTEMPTS_KEPT``."""
        row = {**msgspec.structs.asdict(attempt), "session_id": attempt.session_id or None}
        if attempt.session_id:
            self._execute(
                "UPDATE traces SET session_id = ? WHERE trace_id = ? AND session_id IS NULL",
                attempt.session_id,
                attempt.trace_id,
            )
        row["metadata"] = msgspec.json.encode(attempt.metadata).decode()
        row["arm"] = next(iter(self._execute("SELECT arm FROM traces WHERE trace_id = ?", attempt.trace_id)), [None])[0]
        row["words"] = "\n".join(row[name] for name in _SEARCHED if row[name])
        newest = self._insert("attempts", row)
        self._execute(
            "DELETE FROM attempts WHERE id <= ? AND (refused IS NOT NULL OR is_duplicate)",
            newest - ATTEMPTS_KEPT,
        )

    def trace(self, trace_id: str) -> Trace | None:
        """Return the trace of this id."""
        rows = self._execute("SELECT * FROM traces WHERE trace_id = ?", trace_id)
        return as_trace(rows[0]) if rows else None

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
        """Return how often each variant of an A/B test was handed out, also with traces that have left since."""
        rows = self._execute(
            "SELECT ab_test_variant, requests FROM served WHERE slug = ? AND ab_test_name = ?",
            slug,
            ab_test_name,
        )
        return dict(rows)

    def history(self) -> tuple[list[Trace], list[Attempt]]:
        """Return every trace and every attempt of one moment, newest last."""
        with self.transaction():
            traces = self._execute("SELECT * FROM traces ORDER BY id")
            attempts = self._execute("SELECT * FROM attempts ORDER BY id")
        return [as_trace(row) for row in traces], [as_attempt(row) for row in attempts]

    def revision(self) -> str:
        """Return a text that no other state has, of this store or of any."""
        [row] = self.select("SELECT token, (SELECT max(id) FROM traces), (SELECT max(id) FROM attempts) FROM origin")
        return "-".join(str(each or 0) for each in row)

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Let every ``select`` in the block see the same state."""
        with self._view_lock:
            self._view.execute("BEGIN")
            try:
                yield
            finally:
                self._view.execute("COMMIT")

    def select(self, statement: str, *values: object, **named: object) -> list[sqlite3.Row]:
        """Return the rows of a query over ``traces`` and ``attempts``, with values for its ``?`` or its ``:name``."""
        with self._view_lock:
            return self._view.execute(statement, named or values).fetchall()

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            self._execute("DELETE FROM served")
            self._execute("DELETE FROM attempts")
            self._execute("DELETE FROM traces")

    def close(self) -> None:
        """Close the file; nothing can be kept afterwards."""
        with self._view_lock, self._lock:
            self._view.close()
            self._connection.close()

    def _execute(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        statement = f"INSERT INTO {table} ({columns}, arrival) VALUES ({marks}, {_NEXT_ARRIVAL}) RETURNING id"
        return int(self._execute(statement, *row.values())[0]["id"])


def _arm(trace: Trace) -> str:
    arm = (trace.slug, trace.version_number, trace.ab_test_name, trace.ab_test_variant)
    return msgspec.json.encode(arm).decode()


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=PATIENCE)
    connection.row_factory = sqlite3.Row
    return connection


def _into_wal(connection: sqlite3.Connection) -> None:
    """Have a file written through a log; while another process does the same, SQLite does not wait for it."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def as_trace(row: sqlite3.Row) -> Trace:
    """Return a row of the table ``traces``."""
    return Trace(**{name: row[name] for name in Trace.__struct_fields__})


def as_attempt(row: sqlite3.Row) -> Attempt:
    """Return a row of the table ``attempts``."""
    values = {name: row[name] for name in Attempt.__struct_fields__}
    flags = {name: bool(values[name]) for name in ("is_duplicate", "is_undefined")}
    return Attempt(**{**values, **flags, "metadata": msgspec.json.decode(values["metadata"])})
