"""What couriers do with a table that they share, whichever library reaches it; run where there are databases.

Wants the fixtures ``make_database`` and ``table``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from xr2_web.delivery import LONGEST_BACKOFF
from xr2_web.outbox import Claim, Paused, Put
from xr2_web.table.leases import BATCH, HANDED_OUT_FOR, LEASE
from xr2_web.table.outbox import KEPT_HOUSE_EVERY, POLLED_EVERY, TableOutbox

from ..outbox.conftest import Clock, entry, taken

MakeTable = Callable[..., TableOutbox]


class Table(Protocol):
    """What stands in the table of events."""

    def tokens(self) -> list[str]:
        """Return by which token each event was taken, empty where by none, in the order of arrival."""

    def count_dead(self) -> int:
        """Return how many dead letters there are."""


def drained(outbox: TableOutbox) -> list[Claim]:
    """Deliver everything that is due, and return it."""
    claims = []
    while claim := outbox.claim():
        outbox.done(claim)
        claims.append(claim)
    return claims


def test_two_processes_never_have_the_same_event(make_database: MakeTable) -> None:
    one, other = make_database(), make_database()
    for number in range(BATCH + 1):
        one.put(entry(number))

    first = taken(one)
    rest = drained(other)

    assert first.entry == entry(0)
    assert [claim.entry for claim in rest] == [entry(BATCH)]


def test_a_lost_lease_changes_nothing(make_database: MakeTable, clock: Clock, table: Table) -> None:
    """The fencing: every change asks for the token."""
    slow, other = make_database(), make_database()
    for number in range(3):
        slow.put(entry(number))
    lost = [taken(slow) for _ in range(3)]
    clock.now += LEASE
    held = [taken(other) for _ in range(3)]

    slow.done(lost[0])
    slow.retry(lost[1], 0.0)
    slow.bury(lost[2], "404: unknown event")
    slow.tend(None)

    assert table.tokens() == [claim.ticket.token for claim in held]
    assert table.count_dead() == 0


def test_what_was_taken_and_not_delivered_is_due_again_and_no_first_attempt(
    make_database: MakeTable, clock: Clock
) -> None:
    """A crash between the claim and anything after it."""
    dead, heir = make_database(), make_database()
    dead.put(entry())
    before = taken(dead)

    none, wait = heir.claim(), heir.next_due()
    clock.now += LEASE
    after = taken(heir)

    assert none is None
    assert wait == LEASE
    assert after.entry == entry()
    assert (before.attempts, after.attempts) == (0, 1)


def test_a_clock_that_is_put_back_keeps_nothing_waiting(make_database: MakeTable, clock: Clock) -> None:
    """A failover to a host whose clock is an hour behind: whatever waits or is leased is due in an hour."""
    before = make_database()
    for number in range(3):
        before.put(entry(number))
    before.retry(taken(before), LONGEST_BACKOFF)
    taken(before)
    before.tend(Paused(2000.0, "429"))
    clock.now -= 3600.0
    after = make_database()
    none = after.claim()

    after.tend(None)
    found = drained(after)

    assert none is None
    assert sorted((claim.entry, claim.attempts) for claim in found) == [(entry(n), int(n < 2)) for n in range(3)]


def test_nothing_is_sent_before_the_longest_wait_there_is_is_over(make_database: MakeTable, clock: Clock) -> None:
    outbox = make_database()
    outbox.put(entry())
    outbox.retry(taken(outbox), LONGEST_BACKOFF)

    outbox.tend(None)
    none = outbox.claim()
    clock.now += LONGEST_BACKOFF

    assert none is None
    assert taken(outbox).entry == entry()


def test_what_arrived_is_delivered_again_after_a_crash_before_it_was_noted(
    make_database: MakeTable, clock: Clock
) -> None:
    """A crash between the server's yes and the note of it."""
    dead, heir = make_database(), make_database()
    dead.put(entry())
    dead.done(taken(dead))
    clock.now += LEASE

    again = taken(heir)

    assert again.entry == entry()


@pytest.mark.parametrize("note", ["tend", "next_due", "close"])
def test_what_arrived_is_noted_when_nothing_else_is_to_do(outbox: TableOutbox, table: Table, note: str) -> None:
    outbox.put(entry())
    outbox.done(taken(outbox))
    before = len(table.tokens())

    {"tend": lambda: outbox.tend(None), "next_due": outbox.next_due, "close": outbox.close}[note]()

    assert (before, table.tokens()) == (1, [])


def test_what_waits_in_a_process_for_too_long_is_left_to_others(make_database: MakeTable, clock: Clock) -> None:
    slow, other = make_database(), make_database()
    for number in range(3):
        slow.put(entry(number))
    first = taken(slow)
    clock.now += HANDED_OUT_FOR

    second = taken(slow)
    clock.now += LEASE - HANDED_OUT_FOR
    found = drained(other)

    assert (first.entry, second.entry) == (entry(0), entry(1))
    assert [claim.entry for claim in found] == [entry(0)]


@pytest.mark.parametrize("leave", [lambda outbox: outbox.tend(Paused(2000.0, "429")), TableOutbox.close])
def test_a_pause_and_the_end_leave_what_was_taken_to_others(
    make_database: MakeTable, leave: Callable[[TableOutbox], object]
) -> None:
    """Their address may not be paused."""
    leaving, other = make_database(), make_database()
    for number in range(3):
        leaving.put(entry(number))
    under_way = taken(leaving)

    leave(leaving)
    found = drained(other)

    assert under_way.entry == entry(0)
    assert [(claim.entry, claim.attempts) for claim in found] == [(entry(1), 0), (entry(2), 0)]


def test_what_another_process_puts_is_found_by_looking_now_and_then(make_database: MakeTable, clock: Clock) -> None:
    looking, other = make_database(), make_database()
    looking.tend(None)
    nothing = looking.claim()
    other.put(entry())

    before, waits = looking.next_due(), looking.tend(None)
    clock.now += POLLED_EVERY[0]
    looking.tend(None)
    after = looking.claim()

    assert nothing is None
    assert before is None
    assert waits is not None
    assert waits <= POLLED_EVERY[1]
    assert after is not None


def test_events_of_another_installation_are_neither_delivered_nor_counted(make_database: MakeTable) -> None:
    """They are for another server, or another key."""
    ours, theirs = make_database(), make_database(installation="ba9876543210")
    theirs.put(entry())
    theirs.put(entry(2))
    theirs.bury(taken(theirs), "404: unknown event")

    found = (ours.claim(), ours.counts(), ours.oldest(), ours.put(entry(2)))

    assert found == (None, (0, 0), None, Put.ACCEPTED)
    assert theirs.counts() == (1, 1)


def test_at_the_end_of_the_interpreter_nothing_is_asked_that_may_not_be_answered(
    outbox: TableOutbox, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started any more. What has arrived is noted all the same."""
    for number in range(2):
        outbox.put(entry(number))
    outbox.done(taken(outbox))

    with monkeypatch.context() as exiting:
        exiting.setattr("_thread.start_new_thread", refuse)
        counts = outbox.counts()
        outbox.close()

    assert counts == (1, 0)
    assert table.tokens() == [""]


def refuse(*_: object) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


def test_a_table_that_others_have_filled_is_full(make_database: MakeTable, clock: Clock) -> None:
    one, other = make_database(2), make_database(2)
    for number in range(2):
        other.put(entry(number))
    clock.now += KEPT_HOUSE_EVERY
    one.tend(None)

    put = one.put(entry(2))

    assert put is Put.FULL
