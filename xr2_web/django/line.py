"""The connection over which the courier's threads reach the events, one for all of them.

Django's own are one for each thread, and nobody closes those of threads that serve no request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from django.db import Error, OperationalError, connections

from ..forks import new_uncut_lock
from ..outbox import Declined
from ..table.contention import impatient, is_contention
from .rows import Rows

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds to wait for another thread that uses it: where the database hangs, the end of the process does not.

In SQLite also for another who writes.
"""


class Busy(Declined):
    """Another thread has used the connection for too long, or this one is in the middle of using it."""


class Line:
    """A connection of its own to one of the databases, opened on first use. Threads may share it.

    It goes on in autocommit mode whatever the settings say.
    """

    def __init__(self, alias: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._alias = alias
        self._clock = clock
        engine = str(connections.settings.get(alias, {}).get("ENGINE"))
        # SQLite has locks of its own, and is never away for long: a fork in the middle of it waits.
        self._lock = new_uncut_lock() if engine.endswith(("sqlite3", "spatialite")) else threading.RLock()
        self._user: int | None = None
        self._used_at = clock()
        self._connection: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the database holds a connection for it."""
        return self._connection is not None

    @property
    def is_taken_here(self) -> bool:
        """Whether this thread is in the middle of using it: a finalizer may run there."""
        return self._user == threading.get_ident()

    @contextmanager
    def taken(self, patience: float | None = None) -> Iterator[None]:
        """Have the ORM use it for a block, in this thread. Raises ``Busy``."""
        if self.is_taken_here or not self._lock.acquire(timeout=self._left(PATIENCE if patience is None else patience)):
            raise Busy
        try:
            self._user, self._used_at = threading.get_ident(), self._clock()
            with self._standing_in():
                yield
        except BaseException:
            self._hang_up()  # nobody knows in which state it is
            raise
        finally:
            self._used_at = self._clock()
            self._user = None
            self._lock.release()

    def close(self, *, idle_for: float = 0.0) -> None:
        """Close the connection if it was not used for so many seconds; if another thread uses it, it is left."""
        is_idle = self._clock() - self._used_at >= idle_for and not self.is_taken_here
        if is_idle and self._lock.acquire(blocking=False):
            try:
                self._hang_up()
            finally:
                self._lock.release()

    def _left(self, patience: float) -> float:
        """Return how long to wait; where the one before us has waited in vain, no longer."""
        return patience if self._user is None else max(0.0, patience - (self._clock() - self._used_at))

    @contextmanager
    def _standing_in(self) -> Iterator[None]:
        own = own_connection(self._alias)
        connections[self._alias] = self._opened()
        try:
            yield
        finally:
            if own is None:
                del connections[self._alias]
            else:
                connections[self._alias] = own

    def _opened(self) -> Any:
        if self._connection is None:
            self._connection = _new_connection(self._alias)
            _open.add(self._connection)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            closing, self._connection = self._connection, None
            _open.discard(closing)
            with suppress(Error):
                closing.close()


class Desk:
    """The courier's way to the rows (``table.rows.Desk``). What has to be one transaction, they make one."""

    def __init__(self, rows: Rows, line: Line) -> None:
        self._rows = rows
        self._line = line

    def run(self, work: Callable[[Rows], T], *, as_one: bool = False) -> T:
        """Do something with the rows. Raises ``Busy``, also where another has locked what is wanted."""
        try:
            with self._line.taken():
                return work(self._rows)
        except OperationalError as exc:
            if is_contention(exc.__cause__):
                raise Busy from exc
            raise


def own_connection(alias: str) -> Any:
    """Return the connection of this thread to a database; None where it has none yet."""
    return next((each for each in connections.all(initialized_only=True) if each.alias == alias), None)


def in_a_hurry(alias: str) -> AbstractContextManager[None]:
    """Have what this thread uses of a database wait no longer for other writers than a request may, for a block."""
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return nullcontext()
    connection.ensure_connection()
    # Of the driver's own: what watches, or counts, the statements of the application has nothing to see here.
    return impatient(connection.connection.execute)


def _new_connection(alias: str) -> Any:
    connection: Any = connections.create_connection(alias)
    options = dict(connection.settings_dict["OPTIONS"])
    if connection.vendor == "mysql":
        # What is taken is locked, and above this level the gaps around it too: visitors would wait, or deadlock.
        options["isolation_level"] = "read committed"
    if connection.vendor == "sqlite":
        options["timeout"] = min(options.get("timeout", PATIENCE), PATIENCE)
    connection.settings_dict = {**connection.settings_dict, "AUTOCOMMIT": True, "OPTIONS": options}
    connection.inc_thread_sharing()
    return connection


_open: set[Any] = set()
"""All that are open. A forked child keeps those of its parent here: to collect them might hang up the parent's."""
