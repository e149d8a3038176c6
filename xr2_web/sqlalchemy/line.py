"""The connections over which we reach the events outside of the application's transactions: never those of its pool.

That may be used up, and it may have been filled in the parent of a process.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from ..loops import is_on_a_loop
from ..outbox import Declined
from ..table.contention import is_contention
from .rows import Rows

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds for which another may use the connection: where the database hangs, the end of the process does not."""


def line_to(engine: Engine, *, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> Line:
    """Return a line to the database of an engine, which is reached and set up in the same way."""
    kind = _AsyncLine if engine.dialect.is_async else Line
    return kind(_like(engine), patience=patience, clock=clock)


class Locked(Declined):
    """Another had locked what was wanted: of a deadlock one is the victim, and SQLite has one writer at a time."""


class Line:
    """A way to the database that one thread uses at a time, and the others wait for."""

    def __init__(self, engine: Engine, *, patience: float, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._user: int | None = None
        self._used_at = clock()

    @property
    def is_open(self) -> bool:
        """Whether the database may hold a connection for it."""
        return self in _open

    @property
    def is_taken_here(self) -> bool:
        """Whether this thread is in the middle of using it: a finalizer may run there."""
        return self._user == threading.get_ident()

    def run(self, work: Callable[[Connection], T], *, as_one: bool = False) -> T:
        """Do something over the connection: each statement by itself, or all ``as_one`` transaction.

        Raises ``Declined`` where the connection is not to be had in time, and ``Locked`` where another has locked it.
        """
        if self.is_taken_here or not self._lock.acquire(timeout=self._left()):
            raise Declined("the database is busy, or hangs")
        try:
            self._user, self._used_at = threading.get_ident(), self._clock()
            _open.add(self)
            return self._call(lambda connection: work(self._prepared(connection, as_one)))
        except DBAPIError as exc:
            if is_contention(exc.orig):
                raise Locked("somebody else writes") from exc
            raise
        finally:
            self._used_at = self._clock()
            self._user = None
            self._lock.release()

    def close(self, *, idle_for: float = 0.0) -> None:
        """Close the connection if it was not used for so many seconds; if another thread uses it, it is left."""
        is_idle = self.is_open and self._clock() - self._used_at >= idle_for
        if is_idle and self._lock.acquire(blocking=False):
            try:
                _open.discard(self)
                self._hang_up()
            finally:
                self._lock.release()

    def _left(self) -> float:
        """Return how long to wait; where the one before us has waited in vain, no longer."""
        return max(0.0, self._patience - (self._clock() - self._used_at)) if self._lock.locked() else self._patience

    def _prepared(self, connection: Connection, as_one: bool) -> Connection:
        is_sqlite = connection.dialect.name == "sqlite"
        # MariaDB locks the gaps around what is taken too, above this level: visitors would wait, or deadlock.
        together = "SERIALIZABLE" if is_sqlite else "READ COMMITTED"
        connection = connection.execution_options(isolation_level=together if as_one else "AUTOCOMMIT")
        if is_sqlite:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {self._patience * 1000:.0f}")
        return connection

    def _call(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return _committed(connection, work)

    def _hang_up(self) -> None:
        self._engine.dispose()


class _AsyncLine(Line):
    """A line over a driver for asyncio, which gets an event loop for the time of each call."""

    _loop: asyncio.AbstractEventLoop | None = None

    def _call(self, work: Callable[[Connection], T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self._acall(work))

    async def _acall(self, work: Callable[[Connection], T]) -> T:
        from sqlalchemy.ext.asyncio import AsyncEngine

        async with AsyncEngine(self._engine).connect() as connection:
            return await connection.run_sync(_committed, work)

    def _hang_up(self) -> None:
        if is_on_a_loop():
            # Two loops cannot run in one thread.
            thread = threading.Thread(target=self._close)
            thread.start()
            thread.join()
        else:
            self._close()

    def _close(self) -> None:
        from sqlalchemy.ext.asyncio import AsyncEngine

        loop, self._loop = self._loop, None
        if loop is not None:
            with suppress(Exception):
                # Drivers say good-bye, and wait for an answer.
                loop.run_until_complete(asyncio.wait_for(AsyncEngine(self._engine).dispose(), self._patience))
            loop.close()


class Desk:
    """The courier's way to the rows (``table.rows.Desk``); ``rows_on`` makes them of a connection."""

    def __init__(self, rows_on: Callable[[Connection], Rows], line: Line) -> None:
        self._rows_on = rows_on
        self._line = line

    def run(self, work: Callable[[Rows], T], *, as_one: bool = False) -> T:
        """Do something with the rows; see ``Line.run``."""
        return self._line.run(lambda connection: work(self._rows_on(connection)), as_one=as_one)


def _like(engine: Engine) -> Engine:
    """Return an engine that shares nothing with another but how it connects."""
    # Not even the dialect, which learns of the server with the first connection: two pools at the same time have it
    # used half taught, by the application too. Nor is there another way to what ``create_engine`` was given.
    pool: Any = engine.pool
    options = engine.get_execution_options()
    # What is to be written may hold anything, and is in no exception or log.
    own = create_engine(engine.url, creator=pool._creator, execution_options=options, hide_parameters=True)
    for listener in pool.dispatch.connect:
        if not listener.__module__.startswith("sqlalchemy."):
            event.listen(own, "connect", listener)
    return own


def _committed(connection: Connection, work: Callable[[Connection], T]) -> T:
    result = work(connection)
    connection.commit()
    return result


_open: set[Line] = set()
"""All that are open. A forked child keeps those of its parent here: to collect them might hang up the parent's."""
