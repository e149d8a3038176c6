"""Others are in the way: those who use the same connection, and in SQLite whoever writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connections, transaction

from xr2_web.django.line import Busy, Line
from xr2_web.django.outbox import DatabaseOutbox
from xr2_web.table.contention import PATIENCE

from ..outbox.conftest import Clock, entry, taken
from .databases import Database


def busy_timeout(alias: str) -> int:
    """Return for how many milliseconds a connection of SQLite waits for another that writes."""
    return int(connections[alias].connection.execute("PRAGMA busy_timeout").fetchone()[0])


@pytest.mark.parametrize("is_in_a_transaction", [False, True])
def test_a_request_waits_for_another_writer_of_sqlite_for_a_moment_and_its_view_as_before(
    outbox: DatabaseOutbox, database: Database, alias: str, is_in_a_transaction: bool
) -> None:
    if database.kind != "sqlite":
        pytest.skip("only SQLite has one writer at a time")
    connections[alias].ensure_connection()
    seen: list[int] = []

    def look(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if "INSERT" in sql:
            seen.append(busy_timeout(alias))
        return execute(sql, *rest)

    with transaction.atomic(using=alias) if is_in_a_transaction else nullcontext():
        with connections[alias].execute_wrapper(look):
            is_kept = outbox.enlist(entry(), None, lambda: None) if is_in_a_transaction else outbox.put(entry())
        afterwards = busy_timeout(alias)

    assert is_kept
    assert seen == [250]
    assert afterwards == 5000


@pytest.mark.parametrize(("given", "kept"), [({}, 2000), ({"timeout": 60}, 2000), ({"timeout": 0.05}, 50)])
def test_nobody_who_uses_our_connection_waits_for_another_writer_of_sqlite_for_long(
    database: Database, alias: str, monkeypatch: pytest.MonkeyPatch, given: dict[str, float], kept: int
) -> None:
    if database.kind != "sqlite":
        pytest.skip("only SQLite has one writer at a time")
    settings = connections.settings[alias]
    monkeypatch.setitem(settings, "OPTIONS", {**settings["OPTIONS"], **given})
    line = Line(alias)

    with line.taken():
        connections[alias].ensure_connection()
        seen = busy_timeout(alias)
    line.close()

    assert seen == kept


def test_a_request_waits_for_the_couriers_connection_for_a_moment(outbox: DatabaseOutbox) -> None:
    """In which case another outbox takes the event."""
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with outbox._line.taken():
            is_held.set()
            may_end.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait(10)

    began = time.monotonic()
    with pytest.raises(Busy):
        outbox.put(entry())
    seconds = time.monotonic() - began
    may_end.set()
    thread.join()

    assert seconds < 1.0


class Hanging:
    """A database that does not answer over the connection of an outbox."""

    def __init__(self, outbox: DatabaseOutbox) -> None:
        self._outbox = outbox
        self._answers = threading.Event()
        with outbox._line.taken():
            connections[outbox._alias].ensure_connection()
            connections[outbox._alias].execute_wrappers.append(self._hang)

    def ask(self, question: Callable[[], object], *, within: float = 10) -> object:
        """Return what is answered, or which exception is raised, while it hangs; nothing where it takes longer."""
        given: list[object] = []

        def run() -> None:
            try:
                given.append(question())
            except Exception as exc:  # noqa: BLE001
                given.append(type(exc))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(within)
        return given[:]

    def recover(self) -> None:
        self._answers.set()
        while self._outbox._line._user is not None:
            time.sleep(0.001)

    def _hang(self, execute: Callable[..., Any], *statement: Any) -> Any:
        self._answers.wait()
        return execute(*statement)


def test_behind_a_request_for_which_the_database_hangs_no_other_waits(outbox: DatabaseOutbox, clock: Clock) -> None:
    database = Hanging(outbox)

    first = database.ask(lambda: outbox.put(entry(1)), within=0.1)
    clock.now += PATIENCE
    second = database.ask(lambda: outbox.put(entry(2)))
    patience = outbox._line._left(PATIENCE)
    database.recover()

    assert (first, second) == ([], [Busy])
    assert patience == 0.0


def test_a_database_that_hangs_is_not_counted_for_long(outbox: DatabaseOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xr2_web.table.hanging.ANSWERED_WITHIN", 0.2)
    database = Hanging(outbox)

    counted = database.ask(outbox.counts)
    database.recover()

    assert counted == [TimeoutError]


def test_a_database_that_hangs_does_not_hold_up_the_end(
    outbox: DatabaseOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xr2_web.table.hanging.ANSWERED_WITHIN", 0.2)
    outbox.put(entry())
    outbox.done(taken(outbox))
    database = Hanging(outbox)

    closed = database.ask(outbox.close)
    database.recover()

    assert closed == [None]
