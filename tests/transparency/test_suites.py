"""The harness itself: it names a test that does worse than plain, whatever became of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .suites import Pytest, Suite, Unavailable, harmed


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """A suite of two tests: one that passes and one that does not."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_page.py").write_text("def test_good(): pass\ndef test_bad(): assert False\n")
    return Suite(tmp_path)


def harm(suite: Suite, plugin: str) -> dict[str, str]:
    """Run the suite plain and with a plugin."""
    (suite.folder / "harming.py").write_text(plugin)
    runs = suite.run_each({"plain": (), "wrapped": ("-p", "harming")})
    return harmed(runs["plain"], runs["wrapped"])


def test_a_suite_that_is_left_alone_is_not_harmed(suite):
    assert harm(suite, "") == {}


@pytest.mark.parametrize(
    ("hook", "became"),
    [
        ("def pytest_runtest_call(item): raise ValueError('broken')", "failed: ValueError: broken"),
        ("def pytest_runtest_setup(item): raise ValueError('broken')", "failed: failed on setup with"),
        ("def pytest_runtest_teardown(item): raise ValueError('broken')", "failed: failed on teardown with"),
        ("def pytest_runtest_call(item): __import__('pytest').skip('off')", "skipped: off"),
        ("def pytest_collection_modifyitems(items): items.clear()", "missing: "),
    ],
    ids=["fails", "errs before", "errs after", "is skipped", "disappears"],
)
def test_a_test_that_passed_plain_is_named(suite, hook, became):
    found = harm(suite, hook)

    assert list(found) == ["tests.test_page::test_good"]
    assert found["tests.test_page::test_good"].startswith(became)


def test_a_suite_that_does_not_run_at_all_is_no_success(suite):
    with pytest.raises(AssertionError, match="did not run"):
        harm(suite, "raise ImportError('no such release')")


def test_a_release_that_the_registry_does_not_give_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(Unavailable, match=r"pytest==.* cannot be had"):
        Suite.of("pytest", tmp_path, Pytest())
