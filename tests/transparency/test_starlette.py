"""Starlette's own test suite does as well with every application wrapped as it does plain."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from .conftest import Runs
from .suites import Pytest, harmed

# Five runs of the whole suite, two at a time.
pytestmark = pytest.mark.timeout(300)

AROUND = ("idle", "watched", "busy")


@pytest.fixture(scope="module")
def runs(run_suite: Callable[..., Runs]) -> Runs:
    return run_suite("starlette", Pytest("wrapping_starlette", plugins=("anyio",)), (*AROUND, "inside"))


@pytest.mark.parametrize("wrapped", [*AROUND, "inside"])
def test_no_test_is_harmed(runs, wrapped):
    assert harmed(runs["plain"], runs[wrapped]) == {}


@pytest.mark.parametrize("wrapped", AROUND)
def test_the_applications_of_the_suite_were_wrapped(runs, wrapped):
    counted = runs[wrapped].counted

    assert counted["http bound"] > 500
    assert counted["websocket bound"] > 50
    assert counted["lifespan unbound"] > 50
    assert counted.keys().isdisjoint({"http unbound", "websocket unbound"})


def test_answers_of_the_busy_suite_carried_a_token(runs):
    """Each was found to differ by the cookie and the caching headers, and by nothing else."""
    assert runs["busy"].counted["http with a token"] > 500


def test_the_suite_has_tests_that_pass(runs):
    assert list(runs["plain"].outcomes.values()).count("passed") > 500
