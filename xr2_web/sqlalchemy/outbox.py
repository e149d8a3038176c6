"""The outbox in the application's own database: an event is written in the transaction of the order that it reports.

Any number of processes on any number of hosts may deliver from one table.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, text
from sqlalchemy.exc import DataError

from ..engines import new_memory, new_spool
from ..forks import is_before_fork
from ..loops import is_on_a_loop
from ..outbox import Counts, Declined, Entry, Outbox, Put
from ..outbox.backed import Backed
from ..outbox.folder import installation
from ..settings import Settings
from ..table.contention import PATIENCE, impatient
from ..table.hanging import Ending, in_time
from ..table.outbox import TableOutbox, require_fitting
from . import transactions
from .clock import database_clock
from .line import Desk, Locked, line_to
from .rows import Rows

if TYPE_CHECKING:
    from ..outbox.store import Store
    from ..scope import Scope

logger = logging.getLogger("xr2_web")


class DatabaseOutbox(TableOutbox):
    """Events in the table ``xr2_web_event``. Methods raise what SQLAlchemy and the driver raise.

    On a running event loop nothing is read or written but what an application's own session carries along.
    """

    def __init__(
        self,
        engine: Engine,
        installation: str,
        *,
        most_events: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], ColumnElement[float]] | None = None,
        between: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._engine = engine
        self._installation = installation
        self._now = now or partial(database_clock, engine.dialect.name)
        self._rows_on = partial(Rows, installation, self._now)
        # Two, so that a request does not wait for what the courier does.
        self._request_line = line_to(engine, patience=PATIENCE, clock=clock)
        self._courier_line = line_to(engine, clock=clock)
        self._own = (self._courier_line, self._request_line)
        super().__init__(
            Desk(self._rows_on, self._courier_line),
            self._own,
            most_events=most_events,
            # SQLite has one writer: there a transaction that begins with a look is refused if another writes meanwhile.
            takes_as_one=engine.dialect.name != "sqlite",
            clock=clock,
            between=between,
        )

    def put(self, entry: Entry) -> Put:
        """Write an event down. Raises ``Declined`` on an event loop, where it would block."""
        require_fitting(entry)
        if self._pending >= self._most_events:
            return Put.FULL
        self._require_use()
        try:
            is_new = self._request_line.run(self._adding(entry))
        except DataError as exc:
            raise Declined("the table does not take it") from exc
        finally:
            if is_before_fork():
                self._request_line.close()
        if not is_new:
            return Put.DUPLICATE
        self.arrived()
        return Put.ACCEPTED

    def enlist(self, entry: Entry, scope: Scope | None, at_commit: Callable[[], None]) -> bool:
        """Have an event written just before the one transaction commits that is open in a scope.

        Where that is of another database, or it fails, the event is put after the commit.
        """
        if scope is None or self._is_closed or self._pending >= self._most_events:
            return False
        try:
            require_fitting(entry)
        except Declined:
            return False
        return transactions.enlist(scope, _Enlisted(self, entry, scope, at_commit))

    def is_of(self, engine: Engine) -> bool:
        """Say whether an engine leads to the same database as ours."""
        ours, theirs = self._engine.url, engine.url
        return engine.pool is self._engine.pool or (ours.database is not None and _place(ours) == _place(theirs))

    def write(self, connection: Connection, entry: Entry) -> None:
        """Write an event in a transaction of the application; whatever goes wrong leaves no trace in it."""
        if connection.dialect.name == "sqlite":
            with impatient(connection.exec_driver_sql):
                _begin(connection)
                self._write(connection, entry)
        else:
            self._write(connection, entry)

    def has_heritage(self) -> bool:
        """Tell whether events may wait that others have put: nobody knows without asking the database."""
        return True

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter of an event that was delivered from elsewhere."""
        self._require_use()
        self._desk.run(lambda rows: rows.keep_dead(entry, attempts, reason))

    def counts(self) -> Counts:
        """Count what all processes have in the table; on an event loop, and at the end, return what is known here."""
        if not (is_on_a_loop() or self._is_closed):
            with suppress(Locked, Ending):
                return in_time(partial(self._desk.run, self._count))
        return self._known()

    def oldest(self) -> float | None:
        """Return when the first event that waits was made."""
        if is_on_a_loop() or self._is_closed:
            return None
        return self._desk.run(lambda rows: rows.oldest(without=self._leases.gone))

    def stores(self, *, others: bool) -> Sequence[Store]:
        """Return the tables."""
        from ..table.store import TableStore
        from .store import CoreTables

        return [TableStore(CoreTables(self._courier_line, self._now), self._installation, others=others)]

    def _write(self, connection: Connection, entry: Entry) -> None:
        # Of the connection and not of the session: that would write first what the session has pending.
        with connection.begin_nested():
            rows = self._rows_on(connection)
            if _may_look(connection):
                rows.add(entry, gone=self._leases.gone)
            else:
                rows.add_unseen(entry)

    def _adding(self, entry: Entry) -> Callable[[Connection], bool]:
        return lambda connection: self._rows_on(connection).add(entry, gone=self._leases.gone)

    def _require_use(self) -> None:
        if self._is_closed or is_on_a_loop() or any(line.is_taken_here for line in self._own):
            raise Declined("the database cannot be used here")


class _Enlisted(transactions.Record):
    """An event that goes into a transaction of the application."""

    def __init__(self, outbox: DatabaseOutbox, entry: Entry, scope: Scope, at_commit: Callable[[], None]) -> None:
        self._outbox = outbox
        self._entry = entry
        self._scope = scope
        self._at_commit = at_commit
        self._is_written = False

    def belongs_to(self, engine: Engine) -> bool:
        return self._outbox.is_of(engine)

    def write(self, connection: Connection) -> None:
        try:
            self._outbox.write(connection, self._entry)
        except Exception as exc:  # noqa: BLE001 - then it waits for the commit, and is put
            logger.debug("xr2_web.not_enlisted: %s", type(exc).__name__)
        else:
            self._is_written = True

    def __call__(self) -> None:
        if self._is_written:
            self._outbox.arrived()
            self._at_commit()
        else:
            self._scope.runtime.put(self._entry)


def new_database(engine: Engine, chosen: Settings) -> Outbox:
    """Return the outbox in a database, with the spool for what that cannot take.

    What is in memory has no second connection, and survives no process either: there events wait in memory.
    """
    if _is_in_memory(engine):
        return new_memory(chosen)
    owner = installation(chosen.base_url, chosen.api_key)
    primary = DatabaseOutbox(engine, owner, most_events=chosen.outbox_max_events)
    what = "the table xr2_web_event (made by xr2_web.sqlalchemy.create_tables)"
    return Backed(primary, new_spool(chosen), what=what, instead="events wait in the spool meanwhile")


def _is_in_memory(engine: Engine) -> bool:
    database = engine.url.database or ""
    is_named_so = database in ("", ":memory:") or ":memory:" in database or engine.url.query.get("mode") == "memory"
    return engine.dialect.name == "sqlite" and is_named_so


def _place(url: Any) -> tuple[Any, ...]:
    return url.get_backend_name(), url.host, url.port, url.database, url.query.get("host")


def _begin(connection: Connection) -> None:
    """Have the transaction begun that SQLAlchemy believes to be open. Raises ``Declined`` where none will be."""
    # SQLite's driver begins one only with the first row that is written. A savepoint before that is a transaction of
    # its own, whose release commits it. At once to write: what has begun to read may find that another was faster.
    driver: Any = connection.connection.driver_connection
    if not driver.in_transaction:
        if driver.isolation_level is None or getattr(driver, "autocommit", None) is True:
            raise Declined("there are no transactions on this connection")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _may_look(connection: Connection) -> bool:
    """Tell whether reading harms nobody. Raises ``Declined`` where each statement is a transaction."""
    kind = connection.dialect.name
    # PostgreSQL would have refused the savepoint already.
    if kind in ("mysql", "mariadb") and connection.scalar(text("SELECT @@autocommit")):
        raise Declined("there are no transactions on this connection")
    # Who reads in a serializable transaction makes those of others fail, or wait, who write there.
    return kind == "sqlite" or connection.get_isolation_level() != "SERIALIZABLE"
