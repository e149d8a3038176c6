"""Django's own test suite does as well with the middleware in every handler as it does plain."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("django")

from .conftest import Runs
from .suites import Django, harmed

# Eight runs, two at a time: four minutes on two cores.
pytestmark = pytest.mark.timeout(1200)

# What goes through handlers and middleware; neither the models nor what waits for seconds without a request.
LABELS = (
    "admin_docs admin_views.test_actions admin_views.test_multidb admin_views.test_nav_sidebar asgi async "
    "auth_tests.test_auth_backends auth_tests.test_basic auth_tests.test_context_processors auth_tests.test_decorators "
    "auth_tests.test_forms auth_tests.test_handlers auth_tests.test_login auth_tests.test_middleware "
    "auth_tests.test_mixins auth_tests.test_remote_user auth_tests.test_signals auth_tests.test_templates "
    "auth_tests.test_views cache.tests.CacheMiddlewareTest cache.tests.CacheHEADTest cache.tests.CacheI18nTest "
    "cache.tests.PrefixedCacheI18nTest cache.tests.TestWithTemplateResponse conditional_processing "
    "contenttypes_tests.test_views context_processors csrf_tests decorators file_uploads flatpages_tests generic_views "
    "handlers httpwrappers i18n.patterns i18n.tests.LocaleMiddlewareTests i18n.tests.UnprefixedDefaultLanguageTests "
    "logging_tests messages_tests middleware middleware_exceptions redirects_tests requests_tests resolve_url "
    "responses servers sessions_tests shortcuts signed_cookies_tests sitemaps_tests sites_tests "
    "staticfiles_tests.test_handlers staticfiles_tests.test_liveserver staticfiles_tests.test_views syndication_tests "
    "test_client test_client_regress test_utils urlpatterns urlpatterns_reverse view_tests wsgi"
)

SYNC = ("idle-innermost", "watched-innermost", "busy-innermost", "busy-outermost")
ASYNC = ("watched-async", "busy-async")
BUSY = ("busy-innermost", "busy-outermost", "busy-async")

DIFFERENT = {
    # No query is allowed, and the user of an event is looked up in a session that nothing else has read.
    "auth_tests.test_middleware.TestLoginRequiredMiddleware.test_public_view_logged_in_performance": BUSY,
}


@pytest.fixture(scope="module")
def runs(run_suite: Callable[..., Runs]) -> Runs:
    return run_suite("django", Django(tuple(LABELS.split())), ("plain-async", *SYNC, *ASYNC))


@pytest.mark.parametrize("wrapped", [*SYNC, *ASYNC])
def test_no_other_test_is_harmed(runs, wrapped):
    expected = {test for test, variants in DIFFERENT.items() if wrapped in variants}

    found = harmed(runs["plain-async" if wrapped in ASYNC else "plain"], runs[wrapped])

    assert found.keys() == expected, found


@pytest.mark.parametrize("wrapped", [*SYNC, *ASYNC])
def test_the_handlers_of_the_suite_had_the_middleware(runs, wrapped):
    counted = runs[wrapped].counted

    assert counted["async bound"] > (2000 if wrapped in ASYNC else 150)
    assert wrapped in ASYNC or counted["sync bound"] > 1800
    assert counted.keys().isdisjoint({"sync unbound", "async unbound"})


@pytest.mark.parametrize("wrapped", [each for each in (*SYNC, *ASYNC) if not each.startswith("idle")])
def test_a_rule_looked_at_the_answers_of_the_watched_suite(runs, wrapped):
    assert runs[wrapped].counted["looked at"] > 1000


@pytest.mark.parametrize("wrapped", BUSY)
def test_answers_of_the_busy_suite_carried_a_token(runs, wrapped):
    """Each was found to differ by the cookie and the caching headers, and by nothing else."""
    assert runs[wrapped].counted["with a token"] > 1800


def test_the_suite_has_tests_that_pass(runs):
    assert list(runs["plain"].outcomes.values()).count("passed") > 3500


def test_a_chain_that_is_async_alone_harms_only_tests_of_what_is_logged(runs):
    """So that the async runs are compared with nearly as many tests that pass."""
    found = harmed(runs["plain"], runs["plain-async"])

    assert {test.rpartition(".")[0] for test in found} == {
        "middleware_exceptions.tests.MiddlewareNotUsedTests",
        "middleware_exceptions.tests.MiddlewareSyncAsyncTests",
    }
