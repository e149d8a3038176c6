"""One compliance suite for every outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from xr2_web.outbox import Entry, Outbox, Put
from xr2_web.outbox.memory import MOST_DEAD, MemoryOutbox


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


MakeOutbox = Callable[[int, Clock], Outbox]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory"])
def make_outbox(request: pytest.FixtureRequest) -> MakeOutbox:
    kinds: dict[str, MakeOutbox] = {"memory": lambda most, clock: MemoryOutbox(most, clock=clock)}
    return kinds[request.param]


@pytest.fixture
def outbox(make_outbox: MakeOutbox, clock: Clock) -> Iterator[Outbox]:
    outbox = make_outbox(100, clock)
    yield outbox
    outbox.close()


def entry(number: int = 1, event_name: str = "sign_up") -> Entry:
    return Entry(f"evt_{number}", event_name, b"{}", 1000.0)


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
    claim = outbox.claim()
    assert claim is not None

    outbox.done(claim)

    assert outbox.counts() == (0, 0)
    assert outbox.put(entry()) is Put.ACCEPTED


def test_a_retry_is_due_after_its_delay_and_counts_the_attempt(outbox: Outbox, clock: Clock) -> None:
    outbox.put(entry())
    claim = outbox.claim()
    assert claim is not None
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
    claim = outbox.claim()
    assert claim is not None
    outbox.retry(claim, 1.0)
    outbox.put(entry(2))
    clock.now += 1.0

    first = outbox.claim()

    assert first is not None
    assert first.entry == entry(1)


def test_events_that_wait_do_not_hold_up_the_others(outbox: Outbox) -> None:
    outbox.put(entry(1))
    claim = outbox.claim()
    assert claim is not None
    outbox.retry(claim, 300.0)
    outbox.put(entry(2))

    other = outbox.claim()

    assert other is not None
    assert other.entry == entry(2)


def test_a_buried_event_is_a_dead_letter_and_no_longer_pending(outbox: Outbox) -> None:
    outbox.put(entry())
    claim = outbox.claim()
    assert claim is not None

    outbox.bury(claim, "404: unknown event")

    assert outbox.counts() == (0, 1)
    assert outbox.claim() is None


def test_a_full_outbox_refuses_the_newest_and_keeps_the_accepted(make_outbox: MakeOutbox, clock: Clock) -> None:
    outbox = make_outbox(2, clock)

    puts = [outbox.put(entry(number)) for number in range(3)]

    assert puts == [Put.ACCEPTED, Put.ACCEPTED, Put.FULL]
    assert outbox.counts().pending == 2


def test_dead_letters_are_bounded(outbox: Outbox) -> None:
    for number in range(MOST_DEAD + 10):
        outbox.put(entry(number))
        claim = outbox.claim()
        assert claim is not None
        outbox.bury(claim, "refused")

    assert outbox.counts() == (0, MOST_DEAD)


def test_many_threads_put_and_claim_without_losing_or_doubling(make_outbox: MakeOutbox, clock: Clock) -> None:
    outbox = make_outbox(10_000, clock)
    claimed: list[Entry] = []

    def work(base: int) -> None:
        for number in range(500):
            outbox.put(entry(base + number))
            if claim := outbox.claim():
                claimed.append(claim.entry)
                outbox.done(claim)

    threads = [Thread(target=work, args=(base,)) for base in range(0, 4000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while claim := outbox.claim():
        claimed.append(claim.entry)
        outbox.done(claim)

    assert sorted(claimed) == sorted(entry(number) for number in range(4000))
    assert outbox.counts().pending == 0
