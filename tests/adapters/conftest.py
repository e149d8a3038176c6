from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ..local_xr2 import LocalXr2
from .django_project.settings import DATABASES
from .exclusions import EXCLUSIONS, reason_against_item
from .modes import ALL, Mode
from .site import Site

if find_spec("django") is not None:
    # Not an option of pytest-django: where only another framework is installed there is none.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.adapters.django_project.settings")
    import django
    import django.db

    django.setup()


@pytest.fixture(params=ALL)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each mode of each framework; a test of some modes only parametrizes it itself."""
    found: Mode = request.param
    return found


@pytest.fixture
def open_site(mode: Mode, local_xr2: LocalXr2, request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    """Build sites in this mode; see ``Site`` for the arguments."""
    if mode.module == "django_sites":
        request.getfixturevalue("_django_database")
    opened: list[Site] = []

    def open_site(**options: Any) -> Site:
        site: Site = mode.site_class()(local_xr2, **options)
        opened.append(site)
        return site

    yield open_site
    for site in reversed(opened):
        site.close()


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    return open_site()


@pytest.fixture(scope="session")
def _django_tables(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The tables in the file of the settings, also where no test has the mark ``django_db``."""
    from django.core.management import call_command

    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        yield
        django.db.connections.close_all()


def pytest_unconfigure() -> None:
    Path(DATABASES["default"]["NAME"]).unlink(missing_ok=True)


@pytest.fixture
def _django_database(_django_tables: None, django_db_blocker: Any) -> Iterator[None]:
    """The database as it is outside of tests, with transactions that commit.

    Emptied by hand: the mark ``django_db(transaction=True)`` spends 0.1 s on each test for that.
    """
    with django_db_blocker.unblock():
        yield
        with django.db.connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_session")
            cursor.execute("DELETE FROM auth_user")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    excluded = [item for item in items if reason_against_item(item) is not None]
    if excluded:
        config.hook.pytest_deselected(items=excluded)
        items[:] = [item for item in items if reason_against_item(item) is None]


_passed: dict[str, set[str]] = {}
"""The modes in which each row of the contract has passed; a row with parameters in at least one of them."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path, _, parameters = report.nodeid.partition("[")
    if report.when == "call" and "/adapters/contract/" in path and report.passed:
        modes = _passed.setdefault(path.rpartition("::")[2], set())
        modes.update(mode.id for mode in ALL if mode.id in parameters)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _passed:
        return
    modes = sorted(set().union(*_passed.values()))
    pairs, possible = sum(map(len, _passed.values())), len(_passed) * len(modes)
    terminalreporter.write_line(
        f"contract: {len(_passed)} rows x {len(modes)} modes; {pairs} of {possible} pairs passed, in this run"
    )
    for where, rows in [*_somewhere(modes), *_in_part()]:
        terminalreporter.write_line(f"  {where}: {', '.join(rows)}")


def _somewhere(modes: list[str]) -> list[tuple[str, list[str]]]:
    """Return the rows that are not in every mode, by where they are or are not."""
    found: dict[str, list[str]] = {}
    for row, passed in sorted(_passed.items()):
        lacking = [mode for mode in modes if mode not in passed]
        if lacking:
            is_rare = len(passed) < len(lacking)
            where = f"only in {', '.join(sorted(passed))}" if is_rare else f"not in {', '.join(lacking)}"
            found.setdefault(where, []).append(row.removeprefix("test_"))
    return sorted(found.items())


def _in_part() -> list[tuple[str, list[str]]]:
    """Return the rows that a mode has not with all of their parameters."""
    return [
        (f"not in {', '.join(excluded.modes)}", [row.removeprefix("test_") for row in excluded.rows if "[" in row])
        for excluded in EXCLUSIONS
        if excluded.applies and any("[" in row for row in excluded.rows)
    ]
