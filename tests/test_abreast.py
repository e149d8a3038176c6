"""Whether deliveries are made one after the other or side by side."""

from __future__ import annotations

from itertools import pairwise

import pytest

from xr2_web.abreast import LONGEST_SIDE_BY_SIDE, QUICK, SLOW_IN_A_ROW, STUCK, TRIED_ALONE_AFTER, Pace

SLOW = 2 * QUICK


@pytest.fixture
def pace() -> Pace:
    return Pace()


@pytest.fixture
def slow() -> Pace:
    pace = Pace()
    pace.got_stuck()
    return pace


def alone(pace: Pace, *took: float) -> None:
    for seconds in took:
        pace.took(seconds, under_way=1, was_alone=True, now=0.0)


def beside(pace: Pace, took: float, *, now: float, under_way: int = 8) -> bool:
    """Learn from a delivery beside others, and return whether one is to be made alone now."""
    pace.took(took, under_way=under_way, was_alone=False, now=now)
    return pace.is_quick()


def test_it_begins_with_one(pace: Pace) -> None:
    assert pace.is_quick()


def test_several_slow_ones_in_a_row_are_needed_to_have_others_beside_them(pace: Pace) -> None:
    alone(pace, *[SLOW] * (SLOW_IN_A_ROW - 1), QUICK / 2, *[SLOW] * (SLOW_IN_A_ROW - 1))
    before = pace.is_quick()

    alone(pace, SLOW)

    assert (before, pace.is_quick()) == (True, False)


def test_an_answer_that_does_not_come_has_others_beside_it_at_once(slow: Pace) -> None:
    assert not slow.is_quick()


def test_a_quick_one_alone_ends_that(slow: Pace) -> None:
    alone(slow, QUICK / 2)

    assert slow.is_quick()


def test_those_that_may_only_be_in_each_others_way_have_one_try_alone(slow: Pace) -> None:
    tried = beside(slow, 4 * QUICK, now=0.0)
    alone(slow, SLOW)

    assert (tried, slow.is_quick()) == (True, False)


def test_such_tries_become_rarer_while_they_fail(slow: Pace) -> None:
    tried_at = []
    for tenths in range(600):
        if beside(slow, 4 * QUICK, now=tenths / 10):
            tried_at.append(tenths / 10)
            alone(slow, SLOW)

    pauses = [later - earlier for earlier, later in pairwise(tried_at)]
    assert pauses[0] == pytest.approx(TRIED_ALONE_AFTER)
    assert all(earlier < later for earlier, later in pairwise(pauses[:6]))
    assert max(pauses) == pytest.approx(LONGEST_SIDE_BY_SIDE)


def test_and_frequent_again_when_one_has_succeeded(slow: Pace) -> None:
    for now in (0.0, 1.0, 2.0):
        beside(slow, 4 * QUICK, now=now)
        alone(slow, SLOW)
    beside(slow, 4 * QUICK, now=20.0)
    alone(slow, QUICK / 2)
    slow.got_stuck()
    beside(slow, 4 * QUICK, now=40.0)
    alone(slow, SLOW)

    assert beside(slow, 4 * QUICK, now=40.0 + TRIED_ALONE_AFTER)


@pytest.mark.parametrize(("took", "under_way"), [(QUICK * 8, 8), (STUCK, 64)])
def test_a_server_that_takes_its_time_is_not_tried_alone(slow: Pace, took: float, under_way: int) -> None:
    assert not beside(slow, took, now=0.0, under_way=under_way)
