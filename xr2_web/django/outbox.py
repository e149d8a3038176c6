"""The outbox in the project's own database: an event is written in the transaction of the order that it reports.

What a request does goes over the connection of its thread, what the courier does over one of its own. Any number of
processes on any number of hosts may deliver from one table.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db import DataError, connections, router, transaction

from ..engines import new_spool
from ..forks import is_before_fork
from ..loops import is_on_a_loop
from ..outbox import Counts, Declined, Entry, Outbox, Put
from ..outbox.backed import Backed
from ..outbox.folder import installation
from ..settings import Settings
from ..table.contention import PATIENCE
from ..table.hanging import Ending, in_time
from ..table.outbox import TableOutbox, require_fitting
from .clock import DatabaseClock
from .line import Desk, Line, in_a_hurry, own_connection
from .models import Event
from .queries import is_in_a_query
from .rows import Rows

if TYPE_CHECKING:
    from ..outbox.store import Store
    from ..scope import Scope

logger = logging.getLogger("xr2_web")


def is_test_run() -> bool:
    """Say whether Django's test environment is set up: by its own test runner, by pytest-django, by hand."""
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")


class DatabaseOutbox(TableOutbox):
    """Events in the table ``xr2_web_event`` of the database that the routers name for it.

    In a test run they are written and not delivered: the test owns the database, and a connection of ours would keep
    it from being removed. Methods raise what Django raises where the database fails, and ``Busy`` where it hangs.
    """

    def __init__(
        self,
        installation: str,
        *,
        most_events: int,
        clock: Callable[[], float] = time.monotonic,
        database_clock: Callable[[], Any] = DatabaseClock,
        between: Callable[[float, float], float] = random.uniform,
        is_test_run: Callable[[], bool] = is_test_run,
    ) -> None:
        # Once and for all: a router may go by the request, and the courier has none.
        self._alias: str = router.db_for_write(Event)
        self._rows = Rows(installation, self._alias, clock=database_clock)
        self._line = Line(self._alias, clock=clock)
        super().__init__(
            Desk(self._rows, self._line),
            [self._line],
            most_events=most_events,
            takes_as_one=False,
            clock=clock,
            between=between,
        )
        self._is_test_run = is_test_run
        self._has_seen_tests = is_test_run()

    def put(self, entry: Entry) -> Put:
        """Write an event down. Raises ``Declined`` on an event loop, where the ORM may not be used."""
        require_fitting(entry)
        if self._pending >= self._most_events:
            return Put.FULL
        try:
            with self._connected(PATIENCE), in_a_hurry(self._alias):
                is_new = self._rows.add(entry, self._leases.gone)
        except DataError as exc:
            raise Declined("the table does not take it") from exc
        finally:
            if is_before_fork():
                self._line.close()
        if not is_new:
            return Put.DUPLICATE
        self.arrived()
        return Put.ACCEPTED

    def enlist(self, entry: Entry, scope: Scope | None, at_commit: Callable[[], None]) -> bool:
        """Write an event into the transaction of this thread, where it is the only one and of the same database."""
        if not self._may_enlist(scope):
            return False
        try:
            require_fitting(entry)
            # Whatever goes wrong is undone with this savepoint, and the transaction around it goes on.
            with in_a_hurry(self._alias), transaction.atomic(using=self._alias):
                self._rows.add(entry, self._leases.gone)
        except Exception as exc:  # noqa: BLE001 - then it waits for the commit, and is put
            logger.debug("xr2_web.not_enlisted: %s", type(exc).__name__)
            return False

        # No partial: where one fails Django asks for its __qualname__, and breaks the commit by that.
        def committed() -> None:
            self.arrived()
            at_commit()

        transaction.on_commit(committed, using=self._alias, robust=True)
        return True

    def has_heritage(self) -> bool:
        """Tell whether events may wait that others have put: nobody knows without asking the database."""
        return not self._sees_tests()

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter of an event that was delivered from elsewhere."""
        with self._connected():
            self._rows.keep_dead(entry, attempts, reason)

    def counts(self) -> Counts:
        """Count what all processes have in the table; on an event loop, and at the end, return what is known here."""
        if is_on_a_loop() or not self._may_read():
            return self._known()
        try:
            own = own_connection(self._alias)
            return in_time(self._counted) if own is None or own.connection is None else self._counted()
        except Ending:
            return self._known()

    def oldest(self) -> float | None:
        """Return when the first event that waits was made."""
        if is_on_a_loop() or not self._may_read():
            return None
        gone = self._leases.gone
        with self._connected():
            return self._rows.oldest(without=gone)

    def stores(self, *, others: bool) -> Sequence[Store]:
        """Return the tables."""
        from ..table.store import TableStore
        from .store import ModelTables

        return [TableStore(ModelTables(self._alias, self._connected), self._rows.installation, others=others)]

    def _may_enlist(self, scope: Scope | None) -> bool:
        if self._is_closed or self._pending >= self._most_events:
            return False
        if scope is not None and scope.transactions:
            return False
        open_now = [each.alias for each in connections.all(initialized_only=True) if each.in_atomic_block]
        return open_now == [self._alias] and not self._is_in_the_middle()

    def _counted(self) -> Counts:
        with self._connected():
            return self._count(self._rows)

    @contextmanager
    def _connected(self, patience: float | None = None) -> Iterator[None]:
        """Have the ORM use what is open in this thread, else the courier's connection, which somebody will close."""
        if self._is_closed or is_on_a_loop() or self._is_in_the_middle():
            raise Declined("the database cannot be used here")
        with self._connection(patience):
            yield

    def _connection(self, patience: float | None) -> AbstractContextManager[Any]:
        own = own_connection(self._alias)
        if own is not None and own.in_atomic_block:
            return transaction.atomic(using=self._alias)
        if own is not None and own.connection is not None:
            if not own.get_autocommit():
                raise Declined("a transaction is open that Django does not know")
            return nullcontext()
        if self._sees_tests():
            raise Declined("a connection would be left to the test run")
        return self._line.taken(patience)

    def _is_in_the_middle(self) -> bool:
        return self._line.is_taken_here or is_in_a_query()

    def _may_read(self) -> bool:
        # In a test run only over what is open already: what the settings name may be somebody's real database.
        own = own_connection(self._alias)
        return not self._sees_tests() or (own is not None and own.connection is not None)

    def _is_at_work(self) -> bool:
        return super()._is_at_work() and not self._sees_tests()

    def _sees_tests(self) -> bool:
        # For good: after the last test the settings name the real database again, which is no test's to empty.
        self._has_seen_tests = self._has_seen_tests or self._is_test_run()
        return self._has_seen_tests


def new_database(chosen: Settings) -> Outbox:
    """Return the outbox in the project's database, with the spool for what that cannot take."""
    owner = installation(chosen.base_url, chosen.api_key)
    primary = DatabaseOutbox(owner, most_events=chosen.outbox_max_events)
    return Backed(primary, new_spool(chosen), what="the table of events", instead="they wait in the spool meanwhile")
