"""The database fails: at the insert, at the claim, in the middle; nothing that was accepted is lost."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from xr2_web.django.line import Busy, Line
from xr2_web.django.models import Event
from xr2_web.django.outbox import DatabaseOutbox
from xr2_web.outbox import Outbox, Put
from xr2_web.outbox.backed import Backed
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.table.leases import LOCKED_FOR

from ..outbox.conftest import Clock, entry, taken
from .databases import Database


@pytest.fixture
def outage(alias: str) -> Iterator[Callable[[], Callable[[], None]]]:
    """Takes the database away from all connections that are made from now on, until what it returns is called."""
    settings = connections.settings[alias]
    known = dict(settings)

    def begin() -> Callable[[], None]:
        settings.update({"NAME": "/nowhere/at.all", "PORT": "9"})
        connections[alias].close()
        del connections[alias]
        return lambda: settings.update(known)

    yield begin
    settings.update(known)


@pytest.fixture
def backed(outbox: DatabaseOutbox, clock: Clock) -> Outbox:
    return Backed(outbox, MemoryOutbox(100, clock=clock), what="the table", instead="they wait in memory", clock=clock)


def test_a_database_that_is_down_at_the_insert_has_the_event_wait_elsewhere(
    backed: Outbox, outage: Callable[[], Callable[[], None]], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    end = outage()

    put = backed.put(entry())
    meanwhile = backed.counts().pending
    end()
    clock.now += 10.0
    backed.tend(None)

    assert (put, meanwhile) == (Put.ACCEPTED, 1)
    assert [row.trace_id for row in Event.objects.all()] == ["evt_1"]
    assert caplog.text.count("they wait in memory") == 1


def test_a_database_that_is_down_is_not_said_to_be_well_because_nothing_had_to_be_written(
    backed: Outbox, outage: Callable[[], Callable[[], None]], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage()
    backed.put(entry())
    backed.done(taken(backed))

    for _ in range(4):
        clock.now += 10.0
        backed.tend(None)

    assert "xr2_web.outbox_failed" in caplog.text
    assert "xr2_web.outbox_well" not in caplog.text


def test_a_database_that_is_down_at_the_claim_keeps_its_events(
    outbox: DatabaseOutbox, outage: Callable[[], Callable[[], None]]
) -> None:
    outbox.put(entry())
    outbox.tend(None)
    end = outage()
    # A connection that lives through an outage is none.
    outbox._line.close()

    with pytest.raises(DatabaseError):
        outbox.claim()
    end()

    assert taken(outbox).entry == entry()


def test_what_has_left_while_the_database_was_down_is_noted_afterwards(
    outbox: DatabaseOutbox, outage: Callable[[], Callable[[], None]]
) -> None:
    outbox.put(entry())
    claim = taken(outbox)
    end = outage()
    outbox._line.close()
    outbox.done(claim)

    with pytest.raises(DatabaseError):
        outbox.tend(None)
    end()
    outbox.tend(None)

    assert not Event.objects.exists()


def test_a_connection_that_the_server_has_closed_is_replaced(outbox: DatabaseOutbox, alias: str) -> None:
    """A restart of the server, a firewall, ``wait_timeout``."""
    outbox.put(entry(1))
    outbox.put(entry(2))
    first = taken(outbox)
    if connections[alias].vendor == "sqlite":
        pytest.skip("there is no server")
    kill = {
        "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    }[connections[alias].vendor]
    with connections[alias].cursor() as cursor:
        cursor.execute(kill)
        if connections[alias].vendor == "mysql":
            for (number,) in cursor.fetchall():
                cursor.execute(f"KILL {number}")

    with pytest.raises(DatabaseError):
        outbox.retry(first, 0.0)
    outbox.retry(first, 0.0)
    claims = [taken(outbox).entry for _ in range(2)]

    assert claims == [entry(2), entry(1)]


def test_a_locked_database_of_sqlite_is_told_and_loses_nothing(
    make_database: Callable[..., DatabaseOutbox], database: Database, alias: str
) -> None:
    """``database is locked``: another program is in the middle of writing."""
    if database.kind != "sqlite":
        pytest.skip("only SQLite locks all of a database")
    options = connections.settings[alias]["OPTIONS"]
    options["timeout"] = 0.05
    outbox = make_database()
    outbox.put(entry(1))
    other = sqlite3.connect(database.name, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match="locked"):
            outbox.put(entry(2))
        claimed, wait = outbox.claim(), outbox.next_due()
        other.execute("ROLLBACK")
    finally:
        other.close()
        del options["timeout"]

    assert claimed is None
    assert wait == pytest.approx(LOCKED_FOR)  # the courier looks again then, and nothing has failed
    assert outbox.put(entry(2)) is Put.ACCEPTED
    assert [taken(outbox).entry for _ in range(2)] == [entry(1), entry(2)]


def test_a_database_that_hangs_keeps_nobody_waiting_but_who_uses_it(alias: str, monkeypatch: Any) -> None:
    """Else the end of a process would wait with its courier."""
    monkeypatch.setattr("xr2_web.django.line.PATIENCE", 0.05)
    line = Line(alias)
    is_held, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        with line.taken():
            is_held.set()
            may_end.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    is_held.wait(10)

    with pytest.raises(Busy), line.taken():
        pass
    line.close()
    is_left_alone = line.is_open
    may_end.set()
    thread.join()
    line.close()

    assert is_left_alone
    assert not line.is_open


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_waits_for_the_end_of_a_statement_of_sqlite(alias: str, database: Database) -> None:
    """Its allocator has a lock, which would stay locked in the child. A server may hang, and holds up no fork."""
    line = Line(alias)
    is_held, may_end = threading.Event(), threading.Event()
    has_ended: list[bool] = []

    def use() -> None:
        with line.taken():
            is_held.set()
            may_end.wait(0.3)
            has_ended.append(True)

    thread = threading.Thread(target=use)
    thread.start()
    is_held.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0)
    has_waited = has_ended == [True]
    may_end.set()
    os.waitpid(child, 0)
    thread.join()
    line.close()

    assert has_waited is (database.kind == "sqlite")


def test_the_connection_of_a_thread_is_back_after_ours(alias: str) -> None:
    line = Line(alias)
    before = connections[alias]
    with line.taken():
        within = connections[alias]
    after = connections[alias]
    line.close()

    assert within is not before
    assert after is before


@pytest.mark.parametrize("is_used", [False, True])
def test_the_couriers_connection_is_closed_when_it_has_nothing_to_do(
    outbox: DatabaseOutbox, alias: str, clock: Clock, is_used: bool
) -> None:
    outbox.tend(None)
    outbox.put(entry())
    is_own_open = connections[alias].connection is not None
    clock.now += 0.5 if is_used else 1.0

    wait = outbox.tend(None)

    assert not is_own_open
    assert outbox._line.is_open is is_used
    assert wait == 1.0


def test_a_request_writes_over_its_own_connection(outbox: DatabaseOutbox, alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")

    outbox.put(entry())

    assert not outbox._line.is_open
    assert Event.objects.count() == 1


def test_a_settings_file_that_turns_autocommit_off_is_no_reason_to_lose_events(
    make_database: Callable[..., DatabaseOutbox], alias: str
) -> None:
    settings = connections.settings[alias]
    settings["AUTOCOMMIT"] = False
    try:
        make_database().put(entry())
    finally:
        settings["AUTOCOMMIT"] = True
        del connections[alias]

    assert Event.objects.count() == 1


def test_the_loop_of_looks_rests_where_another_has_locked_all(outbox: DatabaseOutbox, alias: str) -> None:
    if not connections[alias].features.has_select_for_update_skip_locked:
        pytest.skip("no row is ever locked here")
    outbox.put(entry())

    with transaction.atomic(using=alias):
        list(Event.objects.select_for_update())
        found, wait = outbox.claim(), outbox.next_due()

    assert found is None
    assert wait
