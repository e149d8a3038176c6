"""The harness for Django's suite itself: it names a test around which the middleware did harm."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("django")

from .suites import Django, Suite, harmed

# As small as a suite that ``run_django.py`` can run may be: its settings, its own runner, and its tests.
RUNTESTS = """
import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "test_sqlite"

import django
from django.conf import settings
from django.test.utils import get_runner

django.setup()
get_runner(settings)(verbosity=0).run_tests(sys.argv[2:])
"""
SETTINGS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
ROOT_URLCONF = "pages"
SECRET_KEY = "of the suite"
"""
PAGES = """
import unittest

from django.http import HttpResponse, StreamingHttpResponse
from django.test import TestCase
from django.urls import path

def ends(request):
    raise SystemExit

urlpatterns = [
    path("", lambda request: HttpResponse("a page")),
    path("stream", lambda request: StreamingHttpResponse(iter("abc"))),
    path("ends", ends),
]

class Pages(TestCase):
    def test_good(self):
        with self.assertNumQueries(0):
            self.assertEqual(self.client.get("/").content, b"a page")

    def test_stream(self):
        self.assertEqual(list(self.client.get("/stream").streaming_content), [b"a", b"b", b"c"])

    def test_end(self):
        self.assertRaises(SystemExit, self.client.get, "/ends")

    def test_error(self):
        raise ValueError("broken")

    def test_failure(self):
        self.fail("broken")

    def test_part(self):
        with self.subTest():
            self.fail("broken")

    @unittest.skip("off")
    def test_skipped(self): ...

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("broken")

    @unittest.expectedFailure
    def test_unexpected(self): ...
"""
HARMED = """
import xr2_web.django
from xr2_web.django.middleware import Xr2Middleware
from xr2_web.scope import bind

class Harmed(Xr2Middleware):
    def __call__(self, request):
        from django.contrib.auth.models import User
        from django.http import HttpResponse

        {}
        return response

xr2_web.django.Xr2Middleware = Harmed
"""
RESPONSE = "response = super().__call__(request)"


def run(folder: Path, *variants: str, settings: str = SETTINGS, pages: str = PAGES) -> dict[str, dict[str, str]]:
    """Run the suite plain and in each of some variants; return what was harmed in each."""
    (folder / "tests").mkdir()
    for name, text in (("runtests", RUNTESTS), ("test_sqlite", settings), ("pages", pages)):
        (folder / f"tests/{name}.py").write_text(text)
    suite = Suite(folder, Django(("pages",)))
    runs = suite.run_each({"plain": (), **{each: suite.runner.wrapping(each) for each in variants}})
    return {each: harmed(runs["plain"], runs[each]) for each in variants}


def test_what_becomes_of_each_test_is_recorded(tmp_path):
    run(tmp_path)

    recorded = Django(()).read(tmp_path / "plain.report")

    outcomes = {test.rpartition("_")[2]: outcome for test, outcome in recorded.outcomes.items()}
    assert outcomes == {
        "good": "passed",
        "stream": "passed",
        "end": "passed",
        "error": "failed",
        "failure": "failed",
        "part": "failed",
        "skipped": "skipped",
        "expected": "skipped",
        "unexpected": "failed",
    }


def test_a_suite_that_is_left_alone_is_not_harmed(tmp_path):
    variants = ("idle-innermost", "busy-innermost", "busy-outermost", "busy-async")

    found = run(tmp_path, *variants)

    assert found == {each: {} for each in variants}


@pytest.mark.parametrize(
    ("harm", "test", "became"),
    [
        (f"{RESPONSE}; del response.headers['Content-Type']", "good", "[] instead of [("),
        (f"{RESPONSE}; response.headers['Vary'] = 'Cookie'", "good", "('Vary', 'Cookie')"),
        (f"{RESPONSE}; response.set_cookie('another')", "good", "another="),
        (f"{RESPONSE}; response.content = b''", "good", "b'' != b'a page'"),
        (f"{RESPONSE}; request.session.get('user')", "good", "True, False) instead of"),
        (f"{RESPONSE}; User.objects.count()", "good", "1 queries executed, 0 expected"),
        (f"{RESPONSE}; response = HttpResponse('a page')", "good", "another response"),
        (f"{RESPONSE}; bind(self.exchange.open_scope())", "good", "a scope is left bound"),
        (f"{RESPONSE}; response.streaming and next(response.streaming_content)", "stream", "Lists differ"),
        (f"try: {RESPONSE}\n        except SystemExit: return HttpResponse('')", "end", "SystemExit not raised"),
    ],
    ids=["header", "vary", "cookie", "body", "session", "query", "response", "scope", "chunk", "exception"],
)
def test_harm_that_the_middleware_does_is_named(tmp_path, harm, test, became):
    found = run(tmp_path, "idle-innermost", settings=SETTINGS + HARMED.format(harm))

    told = found["idle-innermost"][f"pages.Pages.test_{test}"]
    assert told.startswith("failed: ")
    assert became in told
