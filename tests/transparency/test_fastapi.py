"""FastAPI's own test suite does as well with every application wrapped as it does plain."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
pytest.importorskip("dirty_equals")
pytest.importorskip("inline_snapshot")

from .conftest import Runs
from .suites import Pytest, harmed

# Four runs of the suite, two at a time: a minute and a half on two cores.
pytestmark = pytest.mark.timeout(900)

WRAPPED = ("idle", "watched", "busy")

SUITE = (
    "tests",
    # The examples of the documentation, and what asks for exporters of telemetry and for scripts.
    "--ignore=tests/test_tutorial",
    "--ignore=tests/test_telemetry",
    "--ignore=tests/test_prepare_release.py",
    # A marker of pytest-xdist.
    "--override-ini=markers=xdist_group",
)


@pytest.fixture(scope="module")
def runs(run_suite: Callable[..., Runs]) -> Runs:
    runner = Pytest("wrapping_starlette", plugins=("anyio",), arguments=SUITE)
    return run_suite("fastapi", runner, WRAPPED, also=("docs_src",))


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_no_test_is_harmed(runs, wrapped):
    assert harmed(runs["plain"], runs[wrapped]) == {}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_the_applications_of_the_suite_were_wrapped(runs, wrapped):
    counted = runs[wrapped].counted

    assert counted["http bound"] > 2000
    assert counted["websocket bound"] > 20
    assert counted.keys().isdisjoint({"http unbound", "websocket unbound"})


def test_answers_of_the_busy_suite_carried_a_token(runs):
    """Each was found to differ by the cookie and the caching headers, and by nothing else."""
    assert runs["busy"].counted["http with a token"] > 2000


def test_the_suite_has_tests_that_pass(runs):
    assert list(runs["plain"].outcomes.values()).count("passed") > 3000
