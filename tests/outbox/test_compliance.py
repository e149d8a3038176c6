"""One compliance suite for every outbox."""

from __future__ import annotations

import gc
from threading import Thread

import pytest

from xr2_web.outbox import Entry, Outbox, Put

from .conftest import Clock, MakeOutbox, entry, taken


def test_an_empty_outbox_has_nothing_due(outbox: Outbox) -> None:
    assert outbox.claim() is None
    assert outbox.next_due() is None
    assert outbox.counts() == (0, 0)


def test_events_are_claimed_in_the_order_of_arrival(outbox: Outbox) -> None:
    outbox.put(entry(1))
    outbox.put(entry(2))

    claims = [outbox.claim(), outbox.claim()]

    assert [claim.entry for claim in claims if claim] == [entry(1), entry(2)]


def test_a_claimed_event_is_claimed_by_nobody_else(outbox: Outbox) -> None:
    outbox.put(entry())

    outbox.claim()

    assert outbox.claim() is None
    assert outbox.counts().pending == 1


@pytest.mark.parametrize("is_claimed", [False, True])
def test_the_same_key_is_a_duplicate_until_it_is_done(outbox: Outbox, is_claimed: bool) -> None:
    outbox.put(entry())
    if is_claimed:
        outbox.claim()

    assert outbox.put(entry()) is Put.DUPLICATE


def test_another_event_or_another_trace_is_no_duplicate(outbox: Outbox) -> None:
    puts = [outbox.put(entry(1)), outbox.put(entry(1, "purchase")), outbox.put(entry(2))]

    assert puts == [Put.ACCEPTED] * 3


def test_a_done_event_is_forgotten(outbox: Outbox) -> None:
    outbox.put(entry())
    claim = taken(outbox)

    outbox.done(claim)

    assert outbox.counts() == (0, 0)
    assert outbox.put(entry()) is Put.ACCEPTED


def test_a_retry_is_due_after_its_delay_and_counts_the_attempt(outbox: Outbox, clock: Clock) -> None:
    outbox.put(entry())
    claim = taken(outbox)
    outbox.retry(claim, 30.0)

    before, wait = outbox.claim(), outbox.next_due()
    clock.now += 30.0
    after = outbox.claim()

    assert before is None
    assert wait == 30.0
    assert after is not None
    assert (claim.attempts, after.attempts) == (0, 1)


def test_a_due_retry_goes_before_newer_events(outbox: Outbox, clock: Clock) -> None:
    outbox.put(entry(1))
    claim = taken(outbox)
    outbox.retry(claim, 1.0)
    outbox.put(entry(2))
    clock.now += 1.0

    first = outbox.claim()

    assert first is not None
    assert first.entry == entry(1)


def test_events_that_wait_do_not_hold_up_the_others(outbox: Outbox) -> None:
    outbox.put(entry(1))
    claim = taken(outbox)
    outbox.retry(claim, 300.0)
    outbox.put(entry(2))

    other = outbox.claim()

    assert other is not None
    assert other.entry == entry(2)


def test_a_buried_event_is_a_dead_letter_and_no_longer_pending(outbox: Outbox) -> None:
    outbox.put(entry())
    claim = taken(outbox)

    outbox.bury(claim, "404: unknown event")

    assert outbox.counts() == (0, 1)
    assert outbox.claim() is None


def test_a_full_outbox_refuses_the_newest_and_keeps_the_accepted(make_outbox: MakeOutbox, clock: Clock) -> None:
    outbox = make_outbox(2, clock)

    puts = [outbox.put(entry(number)) for number in range(3)]

    assert puts == [Put.ACCEPTED, Put.ACCEPTED, Put.FULL]
    assert outbox.counts().pending == 2


@pytest.fixture
def for_each_thread() -> int:
    """How many events: where each is some commits to a database, fewer will do."""
    return 500


def test_many_threads_put_and_claim_without_losing_or_doubling(
    make_outbox: MakeOutbox, clock: Clock, for_each_thread: int
) -> None:
    outbox = make_outbox(10_000, clock)
    claimed: list[Entry] = []

    def work(base: int) -> None:
        for number in range(for_each_thread):
            outbox.put(entry(base + number))
            if claim := outbox.claim():
                claimed.append(claim.entry)
                outbox.done(claim)

    threads = [Thread(target=work, args=(base,)) for base in range(0, 8 * for_each_thread, for_each_thread)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while claim := outbox.claim():
        claimed.append(claim.entry)
        outbox.done(claim)

    assert sorted(claimed) == sorted(entry(number) for number in range(8 * for_each_thread))
    assert outbox.counts().pending == 0


def test_what_is_buried_and_tracked_again_is_a_new_event(outbox: Outbox) -> None:
    outbox.put(entry())
    outbox.bury(taken(outbox), "404: unknown event")

    again = outbox.put(entry())

    assert again is Put.ACCEPTED
    assert outbox.counts() == (1, 1)


def test_the_oldest_event_that_waits_is_known(outbox: Outbox) -> None:
    none = outbox.oldest()
    outbox.put(entry(1)._replace(made_at=900.0))
    outbox.put(entry(2)._replace(made_at=950.0))
    first = outbox.oldest()
    outbox.done(taken(outbox))

    assert none is None
    assert first == 900.0
    assert outbox.oldest() == 950.0


def test_attempts_add_up(outbox: Outbox, clock: Clock) -> None:
    outbox.put(entry())

    seen = []
    for _ in range(3):
        claim = taken(outbox)
        seen.append(claim.attempts)
        outbox.retry(claim, 10.0)
        clock.now += 10.0

    assert seen == [0, 1, 2]


def test_an_event_that_was_not_tried_is_due_again_without_an_attempt(outbox: Outbox) -> None:
    outbox.put(entry())
    outbox.release(taken(outbox))

    again = taken(outbox)

    assert again.attempts == 0
    assert outbox.counts().pending == 1


def test_many_more_events_than_are_read_at_a_time_come_in_order(outbox: Outbox, clock: Clock) -> None:
    for number in range(1000):
        outbox.put(entry(number))

    claimed = []
    while claim := outbox.claim():
        claimed.append(claim.entry)
        outbox.done(claim)

    assert claimed == [entry(number) for number in range(1000)]
    assert outbox.next_due() is None


def test_a_finalizer_that_tracks_an_event_in_the_middle_of_another_is_served(outbox: Outbox) -> None:
    class Farewell:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            outbox.put(entry(len(done), "farewell"))
            done.append(True)

    done: list[bool] = []
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(200):
            Farewell()
            outbox.put(entry(number))
            outbox.done(taken(outbox))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()

    while claim := outbox.claim():
        outbox.done(claim)
    assert len(done) == 200
    assert outbox.counts().pending == 0


def test_what_comes_after_the_end_does_nothing(make_outbox: MakeOutbox, clock: Clock) -> None:
    outbox = make_outbox(100, clock)
    for number in range(4):
        outbox.put(entry(number))
    claims = [taken(outbox) for _ in range(3)]

    outbox.close()

    outbox.done(claims[0])
    outbox.retry(claims[1], 1.0)
    outbox.bury(claims[2], "404: unknown event")
    outbox.close()
