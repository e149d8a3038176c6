"""One SQLite file of events: its schema and its statements. Who may write it, and from which thread, others see to.

Every statement is a transaction of its own: a finalizer that tracks an event in the middle of one cannot be rolled
back with it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeAlias

from . import Entry
from .paths import log, remove, size
from .rows import Dead, Row
from .schema import SCHEMA, VERSION

SLICE = 1000
"""Events that are deleted by one statement."""

PATIENCE = 0.1
"""Seconds that the maker of a file waits for who looks at it: until it is whole, a reader is in a writer's way."""

LOG_BYTES = 4 * 1024 * 1024
"""Bytes of a write-ahead log above which it is written into the file, and to which it is cut then."""

Connect: TypeAlias = Callable[..., sqlite3.Connection]

_INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (trace_id, event_name) DO NOTHING"
_READ = "SELECT id, trace_id, event_name, body, made_at, attempts FROM events"
_BURY = "INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?, ?, ?, ?)"
_READ_DEAD = "SELECT trace_id, event_name, body, made_at, attempts, reason, died_at FROM dead"


class NewerSchema(Exception):
    """The file was made by a later release."""


class SpoolFile:
    """An open file. Not for use by two threads at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._inode = os.stat(path).st_ino

    @classmethod
    def create(cls, path: Path, *, synchronous: str, connect: Connect = sqlite3.connect) -> Self:
        """Make a new file that only this user can read. Raises ``OSError`` or ``sqlite3.Error``."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        try:
            connection = _connected(path, connect, synchronous, patience=PATIENCE)
            try:
                file = cls(path, connection)
                connection.executescript(SCHEMA)
                connection.execute("PRAGMA busy_timeout = 0")
            except BaseException:
                connection.close()  # nothing else closes it
                raise
        except BaseException:
            remove(path)
            raise
        return file

    @classmethod
    def open(cls, path: Path, *, connect: Connect = sqlite3.connect) -> SpoolFile | None:
        """Open a file that is there; None where its maker died before it was one. Raises ``NewerSchema``."""
        return cls._of_this_version(path, _connected(path, connect, "NORMAL"))

    @classmethod
    def look(cls, path: Path) -> SpoolFile | None:
        """Open a file that is somebody else's, only to read it; None where it is not yet one. Raises as ``open``.

        Raises ``FileNotFoundError`` where it is gone.
        """
        os.stat(path)
        uri = f"{path.as_uri()}?mode=ro"
        return cls._of_this_version(path, sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None))

    @classmethod
    def _of_this_version(cls, path: Path, connection: sqlite3.Connection) -> SpoolFile | None:
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == VERSION:
                return cls(path, connection)
        except BaseException:
            connection.close()
            raise
        connection.close()
        if version > VERSION:
            raise NewerSchema(path.name)
        return None

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Write what is written in the block all at once, or nothing of it; into a file that nobody knows yet."""
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def insert(self, number: int, entry: Entry, attempts: int = 0) -> bool:
        """Add an event; False where one of its key is here."""
        return self._connection.execute(_INSERT, (number, *entry, attempts)).rowcount == 1

    def read(self, after: int, limit: int) -> list[Row]:
        """Return events in the order of arrival, behind the one with the id ``after``."""
        return _rows(self._connection.execute(f"{_READ} WHERE id > ? ORDER BY id LIMIT ?", (after, limit)))

    def find(self, number: int) -> Row | None:
        """Return an event by its id."""
        return next(iter(_rows(self._connection.execute(f"{_READ} WHERE id = ?", (number,)))), None)

    def present(self, ids: Sequence[int]) -> list[int]:
        """Return which of these events are here."""
        marks = ", ".join("?" * len(ids))
        return [row[0] for row in self._connection.execute(f"SELECT id FROM events WHERE id IN ({marks})", ids)]

    def last(self) -> int:
        """Return the highest id, 0 where there are no events."""
        highest: int = self._connection.execute("SELECT COALESCE(MAX(id), 0) FROM events").fetchone()[0]
        return highest

    def note_attempts(self, number: int, attempts: int) -> None:
        """Write down how often an event was tried."""
        self._connection.execute("UPDATE events SET attempts = ? WHERE id = ?", (attempts, number))

    def delete(self, ids: Sequence[int]) -> None:
        """Forget events."""
        # In slices: the number of variables in a statement is limited, by default to 32,766.
        for start in range(0, len(ids), SLICE):
            some = ids[start : start + SLICE]
            self._connection.execute(f"DELETE FROM events WHERE id IN ({', '.join('?' * len(some))})", some)

    def bury(self, dead: Dead) -> bool:
        """Keep a dead letter, the last of its key; False where it takes the place of another.

        The event itself is deleted afterwards, by the caller.
        """
        key = dead.entry[:2]
        known = self._connection.execute("SELECT 1 FROM dead WHERE trace_id = ? AND event_name = ?", key).fetchone()
        self._connection.execute(_BURY, (*dead.entry, *dead[1:]))
        return known is None

    def dead(self, limit: int) -> list[Dead]:
        """Return dead letters; all where ``limit`` is negative."""
        return _letters(self._connection.execute(f"{_READ_DEAD} LIMIT ?", (limit,)))

    def dead_letter(self, trace_id: str, event_name: str) -> Dead | None:
        """Return a dead letter by its key."""
        key = (trace_id, event_name)
        found = self._connection.execute(f"{_READ_DEAD} WHERE trace_id = ? AND event_name = ?", key)
        return next(iter(_letters(found)), None)

    def delete_dead(self, entry: Entry) -> None:
        """Forget a dead letter."""
        self._connection.execute("DELETE FROM dead WHERE trace_id = ? AND event_name = ?", entry[:2])

    def prune_dead(self, before: float, most: int) -> int:
        """Forget dead letters that died ``before``, and the oldest above ``most``; return how many are left."""
        self._connection.execute("DELETE FROM dead WHERE died_at < ?", (before,))
        self._connection.execute(
            "DELETE FROM dead WHERE rowid IN (SELECT rowid FROM dead ORDER BY died_at DESC LIMIT -1 OFFSET ?)", (most,)
        )
        left: int = self._connection.execute("SELECT COUNT(*) FROM dead").fetchone()[0]
        return left

    def oldest(self) -> float | None:
        """Return when the first event in the order of arrival was made."""
        found = self._connection.execute("SELECT made_at FROM events ORDER BY id LIMIT 1").fetchone()
        return None if found is None else found[0]

    def is_empty(self) -> bool:
        """Tell whether neither an event nor a dead letter is here."""
        return not self.last() and not self.dead(1)

    def bytes(self) -> int:
        """Return how much room the file takes up without its log; SQLite gives none of it back."""
        return size(self.path)

    def sums(self) -> tuple[int, float | None]:
        """Return how many events there are, and when the first of them was made. Looks at each."""
        count, oldest = self._connection.execute("SELECT COUNT(*), MIN(made_at) FROM events").fetchone()
        return count, oldest

    def reasons(self) -> dict[str, int]:
        """Return how many dead letters there are for each reason."""
        found = self._connection.execute("SELECT reason, COUNT(*) FROM dead GROUP BY reason")
        return dict(found.fetchall())

    def facts(self) -> dict[str, Any]:
        """Return what is written down of this file and its process."""
        return dict(self._connection.execute("SELECT name, value FROM facts").fetchall())

    def set_facts(self, **facts: object) -> None:
        """Write down what others should know of this file and its process."""
        for name, value in facts.items():
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def salvage(self, after: int = 0) -> Iterator[Row]:
        """Yield what can be read of a damaged file: from both ends up to what cannot."""
        last = after
        try:
            for row in _each(self._connection.execute(f"{_READ} NOT INDEXED WHERE id > ? ORDER BY id", (after,))):
                last = row.number
                yield row
        except sqlite3.Error:
            pass
        else:
            return
        backwards = f"{_READ} NOT INDEXED WHERE id > ? ORDER BY id DESC"
        try:
            yield from _each(self._connection.execute(backwards, (last,)))
        except sqlite3.Error:
            pass

    def salvage_dead(self) -> list[Dead]:
        """Return the dead letters of a damaged file, none where they cannot be read."""
        try:
            return self.dead(-1)
        except sqlite3.Error:
            return []

    def is_removed(self) -> bool:
        """Tell whether somebody has taken the file away while it is open."""
        try:
            return os.stat(self.path).st_ino != self._inode
        except (FileNotFoundError, NotADirectoryError):
            return True

    def checkpoint(self) -> None:
        """Move what is in a long write-ahead log into the file."""
        if size(log(self.path)) > LOG_BYTES:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def expect_removal(self) -> None:
        """Know that nobody will need the file: synchronising its log as it is closed is what takes time then."""
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA synchronous = OFF")

    def close(self, *, keep: bool = True) -> None:
        """Close the file, and remove it unless it is to be kept."""
        if not keep:
            self.expect_removal()
        self._connection.close()
        if not keep:
            remove(self.path)


def _connected(path: Path, connect: Connect, synchronous: str, *, patience: float = 0.0) -> sqlite3.Connection:
    connection = connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        # Checkpoints are the courier's: in a request the file is never synchronised.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise OSError(errno.ENOTSUP, "no write-ahead log is possible here", str(path))
    except BaseException:
        connection.close()
        raise
    _keep_for_ever(connection)
    return connection


def _keep_for_ever(connection: sqlite3.Connection) -> None:
    """Have a connection never deleted, only closed.

    In a forked child that would close it: under the parent's locks, and where one of the parent's threads used it at
    the fork, for ever.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _each(found: sqlite3.Cursor) -> Iterator[Row]:
    for number, trace_id, event_name, body, made_at, attempts in found:
        yield Row(number, Entry(trace_id, event_name, body, made_at), attempts)


def _rows(found: sqlite3.Cursor) -> list[Row]:
    return list(_each(found))


def _letters(found: sqlite3.Cursor) -> list[Dead]:
    return [Dead(Entry(*row[:4]), *row[4:]) for row in found]
