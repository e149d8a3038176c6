"""The courier's threads: how many of them deliver at once, and that none waits for another that got stuck."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xr2_web.abreast import STUCK
from xr2_web.courier import Courier
from xr2_web.outbox import Claim, Counts, Entry, Paused
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.pacing import Chance

from .cutting import each_cut, is_cut_off

PATIENCE_SECONDS = 10.0


class LeftAlone(MemoryOutbox):
    """Wants to be looked after once, and then not for long."""

    def __init__(self, most_events: int) -> None:
        super().__init__(most_events)
        self.answers = threading.Event()
        self.answers.set()

    tended = 0
    claimed_by: int | None = None
    troubles = 0
    """How often who has taken an event cannot ask whether others wait."""

    def claim(self) -> Claim | None:
        claim = super().claim()
        if claim is not None:
            self.claimed_by = threading.get_ident()
        return claim

    def done(self, claim: Claim) -> None:
        self.claimed_by = None
        super().done(claim)

    def counts(self) -> Counts:
        assert self.answers.wait(2 * PATIENCE_SECONDS)
        return super().counts()

    def next_due(self) -> float | None:
        if self.troubles and self.claimed_by == threading.get_ident():
            self.troubles -= 1
            raise OSError("away")
        return super().next_due()

    def tend(self, paused: Paused | None) -> float | None:
        self.tended += 1
        return 30.0


class Crew:
    """A courier, whose deliveries take as long as ``answer`` does, by a clock that adds ``seconds`` for each."""

    def __init__(self, concurrency: int) -> None:
        self.answer: Callable[[Entry], object] = lambda entry: None
        self.seconds = 0.0
        self.at_once: list[int] = []
        """For each delivery, how many were under way as it began."""
        self.delivered = self.refused = 0
        self._under_way = 0
        self._lock = threading.Lock()
        self.outbox = LeftAlone(100_000)
        self._now = 0.0
        chance = Chance(monotonic=lambda: self._now)
        self.courier = Courier(self.outbox, self, concurrency=concurrency, chance=chance)

    def take(self, until: float) -> Claim | float | None:
        return self.outbox.claim() or self.outbox.next_due()

    def deliver(self, claim: Claim, until: float) -> None:
        with self._lock:
            self._under_way += 1
            self.at_once.append(self._under_way)
        self.answer(claim.entry)
        with self._lock:
            self._under_way -= 1
            self._now += self.seconds
            self.outbox.done(claim)
            self.delivered += 1

    def give_back(self, claim: Claim) -> None:
        with self._lock:
            self._under_way -= 1
            self.outbox.release(claim)

    @property
    def tended(self) -> int:
        """How often the outbox was looked after."""
        return self.outbox.tended

    def paused(self) -> Paused | None:
        return None

    def close(self) -> None:
        pass

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.outbox.put(Entry(f"evt_{number}", "sign_up", b"{}", time.time()))
            self.courier.wake()

    def wait_for(self, delivered: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.delivered < delivered:
            assert time.monotonic() < deadline, f"{self.delivered} of {delivered} are delivered"
            time.sleep(0.002)

    def wait_until_all_rest(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.courier._crew.awake:
            assert time.monotonic() < deadline
            time.sleep(0.002)


@pytest.fixture
def start() -> Iterator[Callable[[int], Crew]]:
    crews: list[Crew] = []

    def make(concurrency: int) -> Crew:
        crews.append(Crew(concurrency))
        return crews[-1]

    yield make
    for crew in crews:
        crew.courier.stop(5)


def test_one_thread_serves_a_quick_server(start: Callable[[int], Crew]) -> None:
    crew = start(8)
    crew.answer = lambda entry: time.sleep(0.0001)

    for number in range(1000):
        crew.put(number)
        if number % 10 == 0:
            time.sleep(0.001)
    crew.wait_for(1000)

    # Where the machine has kept the one from its work for long, others have helped for a while.
    assert sum(others > 1 for others in crew.at_once) < 500


def test_all_threads_serve_a_server_that_takes_its_time(start: Callable[[int], Crew]) -> None:
    crew = start(8)
    crew.answer = lambda entry: time.sleep(0.01)
    crew.seconds = 0.01

    crew.put(*range(100))
    crew.wait_for(100)

    assert max(crew.at_once) == 8


def test_none_waits_for_another_whose_answer_does_not_come(start: Callable[[int], Crew]) -> None:
    crew = start(8)
    comes = threading.Event()
    crew.put(*range(20))
    crew.wait_for(20)
    crew.answer = lambda entry: comes.wait(2 * PATIENCE_SECONDS) if entry.trace_id == "evt_20" else None
    began = time.monotonic()

    crew.put(*range(20, 120))
    crew.wait_for(119)
    seconds = time.monotonic() - began
    comes.set()
    crew.wait_for(120)

    assert seconds < PATIENCE_SECONDS / 2


def test_an_event_that_comes_while_the_only_thread_is_stuck_is_soon_delivered(start: Callable[[int], Crew]) -> None:
    crew = start(2)
    comes = threading.Event()
    crew.put(0)
    crew.wait_for(1)
    time.sleep(5 * STUCK)  # until both rest
    crew.answer = lambda entry: comes.wait(2 * PATIENCE_SECONDS) if entry.trace_id == "evt_1" else None
    crew.put(1)
    time.sleep(3 * STUCK)

    crew.put(2)
    crew.wait_for(2)
    comes.set()
    crew.wait_for(3)


def test_what_became_of_an_event_is_noted_soon_though_the_outbox_was_looked_after_before(
    start: Callable[[int], Crew],
) -> None:
    crew = start(8)
    crew.courier.wake()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not crew.tended:
        time.sleep(0.01)

    crew.seconds = 2.0
    crew.put(0)
    crew.wait_for(1)
    crew.put(1)
    crew.wait_for(2)
    while crew.tended < 2 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert crew.tended >= 2


def test_a_wake_up_that_a_time_limit_cuts_off_keeps_no_later_event(start: Callable[[int], Crew]) -> None:
    at = 0
    is_cut = True
    while is_cut:
        crew = start(1)
        crew.put(0)
        crew.wait_for(1)
        crew.wait_until_all_rest()

        is_cut = is_cut_off(crew.courier.wake, at)
        crew.put(1)

        crew.wait_for(2)
        at += 1
    assert at > 1


def test_a_start_that_a_time_limit_cuts_off_keeps_no_later_event() -> None:
    # Elsewhere: what Python knows of a thread whose start was cut off stays with it for ever.
    # The folder of the tests comes last, so that it is the installed package that is tested.
    folder = str(Path(__file__).parents[1])
    program = f"import sys; sys.path.append({folder!r}); from tests.test_threads import cut_starts; cut_starts()"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.stdout.startswith("every event of "), ended.stderr


def cut_starts() -> None:
    crews: list[Crew] = []

    def new_wake() -> Callable[[], None]:
        crews.append(Crew(1))
        return crews[-1].courier.wake

    for _ in each_cut(new_wake):
        crews[-1].put(0)
        crews[-1].wait_for(1)
    print("every event of", len(crews), flush=True)  # noqa: T201
    os._exit(0)


def test_an_event_is_given_back_where_others_cannot_be_asked_for(start: Callable[[int], Crew]) -> None:
    crew = start(1)
    crew.put(0)
    crew.wait_for(1)
    crew.wait_until_all_rest()
    crew.courier._pace.got_stuck()  # from now on it is asked whether more events wait
    crew.outbox.troubles = 1

    crew.put(1)
    crew.wait_for(2)

    assert crew.outbox.troubles == 0


def test_a_thread_that_is_ended_from_outside_counts_no_longer(
    start: Callable[[int], Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda what: None)
    crew = start(1)

    def end_the_thread(entry: Entry) -> None:
        if entry.trace_id != "evt_4":
            raise SystemExit

    crew.answer = end_the_thread
    for number in range(4):
        crew.put(number)
        crew.wait_until_all_rest()
    crew.put(4)

    crew.wait_for(1)


def test_an_outbox_that_hangs_keeps_no_process_from_its_end(start: Callable[[int], Crew]) -> None:
    crew = start(1)
    crew.put(0)
    crew.wait_for(1)
    crew.outbox.answers.clear()
    began = time.monotonic()

    crew.courier.stop(0.1)
    seconds = time.monotonic() - began
    crew.outbox.answers.set()

    assert seconds < PATIENCE_SECONDS


def test_what_is_left_is_counted_though_a_thread_is_still_sending(start: Callable[[int], Crew]) -> None:
    crew = start(1)
    comes = threading.Event()
    crew.answer = lambda entry: comes.wait(2 * PATIENCE_SECONDS)
    crew.put(0, 1, 2)

    left = crew.courier.stop(0.1)
    comes.set()

    assert left == 3


def test_a_thread_that_cannot_be_started_any_more_keeps_no_event_from_being_sent_at_the_end(
    start: Callable[[int], Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = start(1)
    is_starting, fails = threading.Event(), threading.Event()

    def fail_to_start(thread: threading.Thread) -> None:
        is_starting.set()
        fails.wait(PATIENCE_SECONDS)
        raise RuntimeError("can't create new thread at interpreter shutdown")

    may_put = threading.Event()

    def put() -> None:
        may_put.wait()
        crew.put(0)

    def end() -> None:
        left.append(crew.courier.stop(PATIENCE_SECONDS))

    left: list[int] = []
    request, stopper = threading.Thread(target=put), threading.Thread(target=end)
    request.start()
    start_thread = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", fail_to_start)
    may_put.set()
    assert is_starting.wait(PATIENCE_SECONDS)

    start_thread(stopper)
    stopper.join(0.1)
    fails.set()
    request.join()
    stopper.join()

    assert (left, crew.delivered) == ([0], 1)
