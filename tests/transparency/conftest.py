from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .suites import Run, Runner, Suite, Unavailable

REPORT = pytest.StashKey[list[str]]()

Runs = dict[str, Run]


@pytest.fixture(scope="session")
def run_suite(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Callable[..., Runs]:
    """Run the suite of a framework plain and wrapped in each of some ways, and have the counts printed at the end."""

    def run_suite(package: str, runner: Runner, wrapped: tuple[str, ...], **options: Any) -> Runs:
        folder = tmp_path_factory.mktemp(package)
        try:
            suite = Suite.of(package, folder, runner, **options)
        except Unavailable as exc:
            pytest.skip(str(exc))
        runs = suite.run_each({"plain": (), **{each: runner.wrapping(each) for each in wrapped}})
        lines = pytestconfig.stash.setdefault(REPORT, [])
        lines += [f"{suite.folder.name}, {name}: {run}" for name, run in runs.items()]
        return runs

    return run_suite


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if lines := config.stash.get(REPORT, []):
        terminalreporter.section("transparency")
        for line in lines:
            terminalreporter.line(line)
