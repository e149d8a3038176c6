"""Many processes deliver from one table: what one has taken, lost, left behind, or looks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.db import connections, transaction

from xr2_web.django.clock import DatabaseClock
from xr2_web.django.models import DeadLetter, Event
from xr2_web.django.outbox import DatabaseOutbox
from xr2_web.outbox import Put
from xr2_web.table.leases import BATCH
from xr2_web.table.outbox import KEPT_HOUSE_EVERY, POLLED_EVERY
from xr2_web.values import TRACE_LIFE

from ..outbox.conftest import Clock, entry, taken
from ..table.contract import *  # noqa: F403
from ..table.contract import drained

MakeDatabase = Callable[..., DatabaseOutbox]


def rows() -> list[Event]:
    return list(Event.objects.order_by("id"))


@pytest.mark.parametrize("is_tested", [False, True])
def test_others_may_have_left_something_but_not_to_a_test_run(make_database: MakeDatabase, is_tested: bool) -> None:
    outbox = make_database(is_test_run=lambda: is_tested)

    assert outbox.has_heritage() is not is_tested


class CountingClock(DatabaseClock):
    read = 0

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        CountingClock.read += 1
        return super().as_sql(compiler, connection)


def test_the_database_is_asked_once_for_many_events_and_not_at_all_while_idle(make_database: MakeDatabase) -> None:
    outbox = make_database(database_clock=CountingClock)
    outbox.next_due()
    idle = CountingClock.read
    for _ in range(100):
        outbox.next_due()
    after_idle = CountingClock.read
    for number in range(BATCH - 1):
        outbox.put(entry(number))
    after_puts = CountingClock.read

    claims = drained(outbox)

    assert after_idle == idle
    assert len(claims) == BATCH - 1
    # One for each statement that knows the time; two looks, the second of which finds nothing.
    assert CountingClock.read - after_puts < 10


def test_events_of_another_installation_are_left_alone(make_database: MakeDatabase, clock: Clock) -> None:
    """Trap 35: staging beside production, in one database."""
    staging, production = make_database(installation="staging"), make_database(installation="production")
    staging.put(entry())
    staging.bury(taken(staging), "404: unknown event")
    staging.put(entry())

    put = production.put(entry())
    clock.now += POLLED_EVERY[0]
    production.tend(None)
    found = drained(production)

    assert put is Put.ACCEPTED
    assert len(found) == 1
    assert staging.counts() == (1, 1)
    assert production.counts() == (0, 0)


def test_hosts_whose_clocks_differ_by_an_hour_share_one_table(make_database: MakeDatabase) -> None:
    """Only the database's clock says when a lease ends."""
    behind, ahead = Clock(), Clock()
    ahead.now += 3600.0
    here = make_database(clock=behind, database_clock=DatabaseClock)
    there = make_database(clock=ahead, database_clock=DatabaseClock)
    here.put(entry(1))
    held = taken(here)
    there.put(entry(2))

    found = drained(there)
    here.done(held)
    here.tend(None)
    there.tend(None)

    assert [claim.entry for claim in found] == [entry(2)]
    assert rows() == []


@pytest.mark.parametrize("zone", ["", "+05:00"])
def test_the_clock_of_the_database_counts_the_seconds_of_utc(alias: str, zone: str) -> None:
    """Whatever zone a session has."""
    connection = connections[alias]
    if zone:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has no time zones")
        name = "TIME ZONE" if connection.vendor == "postgresql" else "time_zone ="
        with connection.cursor() as cursor:
            cursor.execute(f"SET {name} '{zone}'")
    sql, _ = DatabaseClock().as_sql(None, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}")
        before = cursor.fetchone()[0]
        cursor.execute(f"SELECT {sql}")
        after = cursor.fetchone()[0]

    assert before == pytest.approx(time.time(), abs=5)
    assert before <= after
    assert after != int(after)


def test_what_another_has_locked_is_passed_over(make_database: MakeDatabase, alias: str) -> None:
    """A courier that was stopped in the middle of taking events keeps the others from those alone."""
    if not connections[alias].features.has_select_for_update_skip_locked:
        pytest.skip("no row is ever locked here")
    outbox = make_database()
    for number in range(2):
        outbox.put(entry(number))

    with transaction.atomic(using=alias):
        list(Event.objects.select_for_update().order_by("id")[:1])
        found = drained(outbox)
    later = outbox.next_due()

    assert [claim.entry for claim in found] == [entry(1)]
    assert later is not None


def test_what_all_processes_have_put_counts_towards_the_limit(make_database: MakeDatabase, clock: Clock) -> None:
    here, there = make_database(2), make_database()
    for number in range(3):
        there.put(entry(number))
    clock.now += KEPT_HOUSE_EVERY
    here.tend(None)

    full = here.put(entry(4))
    drained(there)
    there.tend(None)
    clock.now += KEPT_HOUSE_EVERY
    here.tend(None)
    accepted = here.put(entry(4))

    assert (full, accepted) == (Put.FULL, Put.ACCEPTED)


def test_dead_letters_are_kept_for_thirty_days(outbox: DatabaseOutbox, clock: Clock) -> None:
    for number in range(2):
        outbox.put(entry(number))
        outbox.bury(taken(outbox), "404: unknown event")
        clock.now += TRACE_LIFE / 2 + 1
    before = outbox.counts().dead

    outbox.tend(None)

    assert before == 2
    assert [letter.trace_id for letter in DeadLetter.objects.all()] == ["evt_1"]


def test_the_newest_dead_letters_are_kept(outbox: DatabaseOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xr2_web.table.outbox.MOST_DEAD", 3)
    for number in range(5):
        outbox.put(entry(number))
        outbox.bury(taken(outbox), "404: unknown event")

    outbox.tend(None)

    assert [letter.trace_id for letter in DeadLetter.objects.order_by("id")] == ["evt_2", "evt_3", "evt_4"]


@pytest.mark.parametrize("reason", ["400: \0", "422: 💥 für alle"])
def test_a_reason_that_the_database_cannot_hold_is_kept_as_it_can(outbox: DatabaseOutbox, reason: str) -> None:
    outbox.put(entry())

    outbox.bury(taken(outbox), reason)
    outbox.keep_dead(entry(2), 3, reason)

    assert outbox.counts() == (0, 2)
    assert {letter.reason for letter in DeadLetter.objects.all()} <= {reason, ascii(reason)}
    assert [letter.attempts for letter in DeadLetter.objects.order_by("id")] == [1, 3]


def test_a_claim_reads_an_index_and_not_the_table(alias: str) -> None:
    """With a million events it would take a second otherwise. It protects the indexes of `Event`."""
    made = [
        Event(installation="i", trace_id=f"evt_{n}", event_name="e", body=b"{}", made_at=1.0, due_at=time.time() + n)
        for n in range(3000)
    ]
    Event.objects.bulk_create(made)
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor != "mysql" else "ANALYZE TABLE xr2_web_event")
    events = Event.objects.filter(installation="i")

    claim = events.filter(due_at__lte=DatabaseClock()).order_by("due_at", "id")[:BATCH].explain()
    duplicate = events.filter(trace_id="evt_7", event_name="e").explain()

    assert "xr2_web_event_due" in claim
    assert "xr2_web_event_trace" in duplicate


def test_many_couriers_deliver_each_event_once(make_database: MakeDatabase) -> None:
    """100 relays on 10,000 rows, ten at a time: a server need not allow a hundred connections."""
    Event.objects.bulk_create(
        [
            Event(installation="0123456789ab", trace_id=f"evt_{n}", event_name="e", body=b"{}", made_at=1.0, due_at=1.0)
            for n in range(10_000)
        ],
        batch_size=1000,
    )
    real = {"database_clock": DatabaseClock, "clock": time.monotonic}
    relays = [make_database(**real) for _ in range(100)]
    delivered: list[str] = []

    def deliver(outboxes: list[DatabaseOutbox]) -> None:
        for outbox in outboxes:
            is_last = outbox is outboxes[-1]
            # Most stop in the middle of what they have taken.
            while (is_last or len(delivered) % 90) and (claim := outbox.claim()):
                delivered.append(claim.entry.trace_id)
                outbox.done(claim)
            outbox.close()

    threads = [Thread(target=deliver, args=(relays[number::10],)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made_free_at_the_end = drained(make_database(**real))

    assert sorted([*delivered, *(claim.entry.trace_id for claim in made_free_at_the_end)]) == sorted(
        f"evt_{number}" for number in range(10_000)
    )
    assert rows() == []
