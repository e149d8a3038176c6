"""Flask's own test suite does as well with the extension in every application as it does plain."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("flask")

from .conftest import Runs
from .suites import Pytest, harmed

WRAPPED = ("idle", "watched", "busy")

DIFFERENT = {
    # A wrapped ``wsgi_app`` refers back to its application, as with every WSGI middleware.
    "tests.test_basic::test_app_freed_on_zero_refcount": WRAPPED,
    # The application limits its cookies to 100 bytes, and Werkzeug warns of ours too.
    "tests.test_basic::test_max_cookie_size": ("busy",),
}


@pytest.fixture(scope="module")
def runs(run_suite: Callable[..., Runs]) -> Runs:
    return run_suite("flask", Pytest("wrapping_flask", plugins=("flask_suite",)), WRAPPED)


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_no_other_test_is_harmed(runs, wrapped):
    expected = {test for test, variants in DIFFERENT.items() if wrapped in variants}

    found = harmed(runs["plain"], runs[wrapped])

    assert found.keys() == expected, found


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_the_applications_of_the_suite_had_the_extension(runs, wrapped):
    counted = runs[wrapped].counted

    assert counted["bound"] > 300
    assert "unbound" not in counted


def test_answers_of_the_busy_suite_carried_a_token(runs):
    """Each was found to differ by the cookie and the caching headers, and by nothing else."""
    assert runs["busy"].counted["with a token"] > 300


def test_the_suite_has_tests_that_pass(runs):
    assert list(runs["plain"].outcomes.values()).count("passed") > 300
