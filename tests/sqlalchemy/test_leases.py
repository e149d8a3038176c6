"""Many processes deliver from one table: what one has taken, lost, left behind, or looks for."""

from __future__ import annotations

import asyncio
import time
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.orm import Session

from xr2_web.outbox import Declined, Put
from xr2_web.sqlalchemy import dead_letters, events
from xr2_web.sqlalchemy.clock import database_clock
from xr2_web.sqlalchemy.line import Locked, line_to
from xr2_web.sqlalchemy.outbox import DatabaseOutbox
from xr2_web.table.leases import LEASE, LOCKED_FOR
from xr2_web.values import EVENT_BYTES, TRACE_LIFE

from ..outbox.conftest import Clock, entry, taken
from ..table.contract import *  # noqa: F403
from ..table.contract import drained
from .conftest import MakeDatabase


def rows(plain: Engine, table: Any = events) -> list[Any]:
    with plain.connect() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


ZONES = {"postgresql": "SET TIME ZONE 'Asia/Tokyo'", "mariadb": "SET time_zone = '+09:00'"}


class TestDeadLetters:
    def test_a_buried_event_says_why_in_words_that_every_database_takes(
        self, outbox: DatabaseOutbox, plain: Engine
    ) -> None:
        outbox.put(entry())

        outbox.bury(taken(outbox), "422: \0 \ud800 é")

        assert [(row.reason, row.attempts) for row in rows(plain, dead_letters)] == [("422: \\0 \\ud800 é", 1)]

    def test_old_dead_letters_are_forgotten(self, outbox: DatabaseOutbox, clock: Clock, plain: Engine) -> None:
        outbox.put(entry(1))
        outbox.bury(taken(outbox), "404")
        clock.now += TRACE_LIFE + 1
        outbox.put(entry(2))
        outbox.bury(taken(outbox), "404")

        outbox.tend(None)

        assert [row.trace_id for row in rows(plain, dead_letters)] == ["evt_2"]


class TestClocks:
    """Two machines an hour apart on one database."""

    def test_the_clock_is_that_of_the_database_wherever_it_stands(self, plain: Engine) -> None:
        now = select(database_clock(plain.dialect.name))
        with plain.connect() as connection:
            if zone := ZONES.get(plain.dialect.name):
                connection.execute(text(zone))
            before, found, after = time.time(), connection.scalar(now), time.time()

        # SQLite knows milliseconds, and rounds them.
        assert before - 0.002 <= found <= after + 0.002
        assert found % 1.0 != 0.0

    def test_the_clock_goes_on_within_a_transaction(self, plain: Engine) -> None:
        now = select(database_clock(plain.dialect.name))
        end = time.monotonic() + 5
        with plain.begin() as connection:
            first = last = connection.scalar(now)
            while last == first and time.monotonic() < end:
                last = connection.scalar(now)

        assert last > first

    def test_no_host_looks_at_its_own(self, make_database: MakeDatabase, engine: Engine) -> None:
        """Only the differences of a host's own clock are used; this one stands still, far in the past."""
        late = Clock()
        one, other = (
            make_database(now=lambda: database_clock(engine.dialect.name), clock=clock) for clock in (late, time.time)
        )
        one.put(entry(1))
        other.put(entry(2))

        claimed = [drained(one), drained(other)]

        assert [[claim.entry for claim in each] for each in claimed] == [[entry(1), entry(2)], []]


class TestPut:
    def test_names_that_differ_in_case_are_two_events(self, outbox: DatabaseOutbox) -> None:
        """MariaDB compares text without regard to case by default, and to spaces at the end."""
        puts = [outbox.put(entry(1, name)) for name in ("sign_up", "Sign_Up", "sign_up ")]

        assert puts == [Put.ACCEPTED] * 3

    def test_the_largest_event_is_kept_whole(self, outbox: DatabaseOutbox) -> None:
        large = entry(1, "\N{PARTY POPPER}" * 100)._replace(trace_id="e" * 100, body=b"\xff" * EVENT_BYTES)

        outbox.put(large)

        assert taken(outbox).entry == large

    @pytest.mark.parametrize(
        "change", [{"trace_id": "e" * 101}, {"event_name": "e" * 101}, {"body": b"e" * (EVENT_BYTES + 1)}]
    )
    def test_what_is_longer_is_declined(self, outbox: DatabaseOutbox, plain: Engine, change: dict[str, Any]) -> None:
        with pytest.raises(Declined):
            outbox.put(entry()._replace(**change))

        assert rows(plain) == []

    async def test_on_an_event_loop_nothing_blocks(self, outbox: DatabaseOutbox, plain: Engine) -> None:
        with pytest.raises(Declined):
            outbox.put(entry())

        assert (outbox.claim(), outbox.next_due(), outbox.tend(None), outbox.oldest()) == (None,) * 4
        assert outbox.counts() == (0, 0)

    def test_an_end_on_an_event_loop_loses_nothing(self, make_database: MakeDatabase, clock: Clock) -> None:
        ending, heir = make_database(), make_database()
        ending.put(entry())
        ending.claim()

        async def end() -> None:
            ending.close()

        asyncio.run(end())
        clock.now += LEASE

        assert taken(heir).entry == entry()

    def test_connections_are_closed_where_nothing_is_to_do(
        self, outbox: DatabaseOutbox, clock: Clock, plain: Engine
    ) -> None:
        outbox.put(entry())
        outbox.done(taken(outbox))
        soon = outbox.tend(None)
        clock.now += 1.0

        later = outbox.tend(None)

        assert soon == 1.0
        assert later is not None
        assert later > 0
        assert outbox.counts() == (0, 0)  # it is opened again


@pytest.mark.parametrize("place", ["postgresql+psycopg", "mariadb+pymysql"], indirect=True)
def test_events_that_somebody_has_locked_are_passed_over(make_database: MakeDatabase, plain: Engine) -> None:
    outbox = make_database()
    outbox.put(entry(1))
    outbox.put(entry(2))

    with Session(plain) as session, session.begin():
        session.execute(select(events).where(events.c.trace_id == "evt_1").with_for_update())
        claimed = drained(outbox)
        wait = outbox.next_due()

    assert [claim.entry for claim in claimed] == [entry(2)]
    assert wait == pytest.approx(LOCKED_FOR)


@pytest.mark.parametrize("place", ["sqlite+pysqlite"], indirect=True)
def test_while_somebody_writes_to_sqlite_a_courier_looks_again_and_nothing_fails(
    make_database: MakeDatabase, clock: Clock, plain: Engine
) -> None:
    outbox, heir = make_database(), make_database()
    outbox.put(entry())
    claim = taken(outbox)

    with plain.connect() as connection:
        connection.execute(text("BEGIN EXCLUSIVE"))
        with pytest.raises(Declined):
            outbox.put(entry(2))
        outbox.retry(claim, 0.0)
        wait = outbox.next_due()
    clock.now += LEASE

    assert wait == pytest.approx(LOCKED_FOR)
    assert [(claim.entry, claim.attempts) for claim in drained(heir)] == [(entry(), 1)]


@pytest.mark.parametrize("place", ["postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql"], indirect=True)
def test_the_victim_of_a_deadlock_has_failed_in_nothing(
    make_database: MakeDatabase, engine: Engine, plain: Engine
) -> None:
    """Fault: deadlock. The database ends the transaction that has done least, or has waited for its patience."""
    outbox = make_database()
    for number in range(2):
        outbox.put(entry(number))
    more = update(events).values(attempts=events.c.attempts + 1)
    change = [more.where(events.c.id == row.id) for row in rows(plain)]
    line = line_to(engine)
    other = plain.connect()
    if plain.dialect.name == "postgresql":
        other.execute(text("SET deadlock_timeout = '20s'"))
    other.execute(insert(dead_letters), [{**LETTER, "trace_id": f"evt_{number}"} for number in range(50)])
    other.execute(change[0])
    waiting = Thread(target=other.execute, args=(change[1],))

    def in_the_other_order(connection: Connection) -> None:
        connection.execute(change[1])
        waiting.start()
        while not is_waiting(plain):
            time.sleep(0.01)
        connection.execute(change[0])

    with pytest.raises(Locked):
        line.run(in_the_other_order, as_one=True)

    waiting.join(20)
    other.rollback()
    other.close()
    line.close()
    assert len(drained(outbox)) == 2


LETTER = {
    "installation": "another",
    "event_name": "sign_up",
    "body": b"{}",
    "made_at": 0.0,
    "attempts": 1,
    "reason": "404",
    "died_at": 0.0,
}


def is_waiting(plain: Engine) -> bool:
    """Say whether a transaction waits for another."""
    asked = {
        "postgresql": "SELECT COUNT(*) FROM pg_locks WHERE NOT granted",
        "mariadb": "SELECT COUNT(*) FROM information_schema.innodb_lock_waits",
        "mysql": "SELECT COUNT(*) FROM information_schema.innodb_lock_waits",
    }
    with plain.connect() as connection:
        return bool(connection.scalar(text(asked[plain.dialect.name])))
