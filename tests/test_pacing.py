from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from xr2_web import pacing
from xr2_web.machine import Machine
from xr2_web.pacing import Breaker, Budget, Pause

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()


class OneProcess:
    """Gives what one process has for itself, as ``Machine`` gives what it shares with others."""

    budget = Budget
    pause = Pause


Place = type[OneProcess] | Machine


@pytest.fixture(params=["one process", "machine"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where counts and pauses are: the rules are the same."""
    return OneProcess if request.param == "one process" else Machine(tmp_path, "https://xr2.uk")


def http_date(seconds_from_now: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds_from_now, UTC), usegmt=True)


class TestBackoff:
    @pytest.mark.parametrize(("attempt", "longest"), [(0, 0.5), (1, 1), (2, 2), (3, 4), (10, 20), (10_000, 20)])
    def test_the_wait_is_spread_from_nothing_to_twice_the_last_up_to_a_cap(self, attempt: int, longest: float) -> None:
        waits = [pacing.backoff(attempt, base=0.5, cap=20, jitter=jitter) for jitter in (0.0, 0.5, 1.0)]

        assert waits == [0, longest / 2, longest]


class TestRateLimitPause:
    @pytest.mark.parametrize(("said", "pause"), [(None, 60), (0, 1), (0.5, 1), (300, 300), (600, 600), (1e9, 600)])
    def test_the_server_is_believed_between_a_second_and_ten_minutes(self, said: float | None, pause: float) -> None:
        assert pacing.rate_limit_pause(said) == pause


class TestSecondsUntil:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("0", 0),
            ("-1", 0),
            ("120", 120),
            (" 1.5 ", 1.5),
            ("1e9", 1e9),
            (http_date(90), 90),
            (http_date(-90), 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 - NOW),
            ("Fri, 01 May 2026 14:01:00 +0200", 60),
        ],
    )
    def test_seconds_and_http_dates_are_read(self, text: str, seconds: float) -> None:
        assert pacing.seconds_until(text, now=NOW) == seconds

    @pytest.mark.parametrize("text", ["Fri, 01 May 2026 12:01:00 -0000", "Fri, 01 May 2026 12:01:00"])
    def test_a_date_without_a_zone_is_utc_wherever_this_machine_is(
        self, text: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        request.addfinalizer(time.tzset)
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        request.addfinalizer(monkeypatch.undo)

        assert pacing.seconds_until(text, now=NOW) == 60

    @pytest.mark.parametrize(
        "text", ["", " ", "NaN", "inf", "-inf", "1e400", "soon", "None", "2026-05-01", "Fri, 99 May 2026 99:00:00 GMT"]
    )
    def test_anything_else_says_nothing(self, text: str) -> None:
        assert pacing.seconds_until(text, now=NOW) is None


class TestTimestamp:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-05-01T12:00:00Z", NOW),
            ("2026-05-01T12:00:00+00:00", NOW),
            ("2026-05-01T14:00:00+02:00", NOW),
            ("2026-05-01T12:00:00", NOW),
            ("2026-05-01", NOW - 12 * 3600),
            ("1999-01-01T00:00:00Z", 915148800),
            ("9999-12-31T23:59:59Z", 253402300799),
            ("9999-12-31T23:59:59-23:59", 253402300799 + 86340),
            ("0001-01-01T00:00:00+23:59", -62135596800 - 86340),
        ],
    )
    def test_iso_times_are_read_and_naive_ones_are_utc(self, text: str, moment: float) -> None:
        assert pacing.timestamp(text) == moment

    @pytest.mark.parametrize("text", [None, "", "tomorrow", 5, {}, "2026-13-01", "10000-01-01T00:00:00Z"])
    def test_anything_else_says_nothing(self, text: object) -> None:
        assert pacing.timestamp(text) is None


class TestBreaker:
    def test_it_opens_after_failures_in_a_row(self) -> None:
        breaker = Breaker(threshold=3, pause=10)

        breaker.failed(0)
        breaker.failed(1)
        before = breaker.allows(2)
        breaker.failed(2)

        assert before
        assert not breaker.allows(2)
        assert not breaker.allows(11.9)

    def test_a_success_between_failures_starts_the_count_again(self) -> None:
        breaker = Breaker(threshold=2)

        breaker.failed(0)
        breaker.succeeded()
        breaker.failed(1)

        assert breaker.allows(1)

    def test_after_the_pause_one_trial_goes_out_and_no_second_until_it_ends(self) -> None:
        breaker = Breaker(threshold=1, pause=10)
        breaker.failed(0)

        assert [breaker.allows(moment) for moment in (9, 10, 10, 19, 20, 20)] == [
            False,
            True,
            False,
            False,
            True,
            False,
        ]

    def test_a_trial_that_succeeds_closes_it(self) -> None:
        breaker = Breaker(threshold=1, pause=10)
        breaker.failed(0)
        breaker.allows(10)

        breaker.succeeded()

        assert breaker.allows(10)
        assert breaker.allows(10)

    def test_a_trial_that_fails_opens_it_for_another_pause(self) -> None:
        breaker = Breaker(threshold=1, pause=10)
        breaker.failed(0)
        breaker.allows(10)

        breaker.failed(12)

        assert not breaker.allows(21)
        assert breaker.allows(22)

    def test_it_stays_closed_until_the_moment_the_server_named_and_then_lets_all_through(self) -> None:
        breaker = Breaker()

        breaker.pause_until(100)
        breaker.pause_until(50)

        assert not breaker.allows(99)
        assert breaker.allows(100)
        assert breaker.allows(100)

    def test_of_a_hundred_threads_one_gets_the_trial(self) -> None:
        breaker = Breaker(threshold=1, pause=10)
        breaker.failed(0)

        with ThreadPoolExecutor(20) as threads:
            allowed = list(threads.map(lambda _: breaker.allows(10), range(100)))

        assert Counter(allowed) == {True: 1, False: 99}


class TestPause:
    def test_the_latest_word_of_the_server_counts(self, place: Place) -> None:
        pause = place.pause()

        pause.extend(20)
        pause.extend(10)

        assert [pause.left(moment) for moment in (5, 20, 25)] == [15, 0, 0]

    def test_it_is_over_before_it_began_and_when_it_is_lifted(self, place: Place) -> None:
        pause = place.pause()
        before = pause.left(0)
        pause.extend(20)

        pause.lift()

        assert (before, pause.left(0)) == (0, 0)


class TestBudget:
    def test_never_more_events_than_the_limit_in_any_window(self, place: Place) -> None:
        budget, dice, now = place.budget(30), random.Random(1), 0.0
        sent: list[float] = []

        while len(sent) < 1000:
            wait = budget.debit_event(now)
            if wait == 0:
                sent.append(now)
            now += max(wait, dice.choice([0, 0, 0.01, 3]))

        windows = [sum(start <= moment < start + 60 for moment in sent) for start in sent]
        assert max(windows) == 30

    def test_the_wait_it_names_is_enough_and_no_longer_than_needed(self, place: Place) -> None:
        budget = place.budget(2)
        budget.debit_event(0)
        budget.debit_event(10)

        assert budget.debit_event(20) == 40
        assert budget.debit_event(59.9) == pytest.approx(0.1)
        assert budget.debit_event(60) == 0
        assert budget.debit_event(60) == 10

    def test_the_wait_is_enough_when_many_requests_have_to_leave_the_window_first(self, place: Place) -> None:
        budget = place.budget(20)
        for second in range(60):
            budget.debit_prompt(second)
        for _ in range(10):
            budget.debit_event(59)

        wait = budget.debit_event(59)

        assert wait == 50 + 60 - 59
        assert budget.debit_event(59 + wait) == 0

    def test_a_request_counts_as_made_at_the_end_of_its_second(self, place: Place) -> None:
        budget = place.budget(1)
        budget.debit_event(0.9)

        assert budget.debit_event(60.89) == pytest.approx(0.11)
        assert budget.debit_event(61) == 0

    def test_a_prompt_fetch_counts_as_made_at_the_end_of_its_second(self, place: Place) -> None:
        budget = place.budget(11)
        budget.debit_prompt(0.9)
        for _ in range(10):
            budget.debit_event(30)

        assert budget.debit_event(60.89) == pytest.approx(0.11)
        assert budget.debit_event(61) == 0

    def test_who_reads_the_clock_before_another_still_counts_what_that_one_sent(self, place: Place) -> None:
        budget = place.budget(2)
        budget.debit_event(100.2)
        budget.debit_event(101.5)

        assert budget.debit_event(99.9) > 0

    def test_prompt_fetches_are_never_refused_and_take_from_the_events(self, place: Place) -> None:
        budget = place.budget(90)

        for _ in range(80):
            budget.debit_prompt(0)
        taken = [budget.debit_event(1) for _ in range(11)]

        assert taken == [0] * 10 + [59]

    def test_events_keep_ten_a_window_whatever_the_prompts_take(self, place: Place) -> None:
        budget, served = place.budget(90), Counter[int]()

        for second in range(240):
            for _ in range(10):
                budget.debit_prompt(second)
            if budget.debit_event(second) == 0:
                served[second // 60] += 1

        assert served == {0: 10, 1: 10, 2: 10, 3: 10}

    def test_a_limit_below_ten_holds_for_events_too(self, place: Place) -> None:
        budget = place.budget(3)
        budget.debit_prompt(0)

        assert [budget.debit_event(0) == 0 for _ in range(5)] == [True, True, True, False, False]

    def test_a_share_given_back_can_be_taken_again(self, place: Place) -> None:
        budget = place.budget(1)
        budget.credit_event()
        budget.debit_event(0)

        budget.credit_event()

        assert budget.debit_event(0) == 0
        assert budget.debit_event(0) == 60

    def test_a_share_is_given_back_once_and_by_the_thread_that_took_it(self, place: Place) -> None:
        budget = place.budget(2)
        budget.debit_event(0)
        with ThreadPoolExecutor(1) as other:
            other.submit(budget.debit_event, 5).result()

        budget.credit_event()
        budget.credit_event()

        assert budget.debit_event(10) == 0
        assert budget.debit_event(10) == 55

    def test_without_a_limit_nothing_waits(self, place: Place) -> None:
        budget = place.budget(None)

        for _ in range(1000):
            budget.debit_prompt(0)

        assert {budget.debit_event(0) for _ in range(1000)} == {0}

    def test_threads_together_never_take_more_than_the_limit(self, place: Place) -> None:
        budget = place.budget(50)

        with ThreadPoolExecutor(20) as threads:
            waits = list(threads.map(lambda _: budget.debit_event(0), range(500)))

        assert waits.count(0) == 50
