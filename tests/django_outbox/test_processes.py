"""Whole processes: a shop that is killed, and the test runs of a project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from ..local_xr2 import LocalXr2
from .databases import Database

ROOT = Path(__file__).parents[2]
SETTINGS = "tests.django_outbox.project.settings"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(database: Database, alias: str, local_xr2: LocalXr2, tmp_path: Path) -> Run:
    """Runs Python with the project's settings, the database under test and the local xR2."""
    connections[alias].close()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "TEST_DATABASE": json.dumps(database.settings),
        "XR2_API_KEY": local_xr2.api_key,
        "XR2_BASE_URL": local_xr2.base_url,
        "XR2_OUTBOX_PATH": str(tmp_path / "spool"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )

    return run


@pytest.fixture
def visit(run: Run) -> Run:
    return lambda *pages: run("-m", "tests.django_outbox.project.visit", *pages)


def bought(local_xr2: LocalXr2) -> list[tuple[Any, Any]]:
    return [(event["event_name"], event["value"]) for event in local_xr2.events()]


def orders(alias: str) -> list[int]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT id FROM shop_order")
        return [row[0] for row in cursor.fetchall()]


def test_a_purchase_arrives_with_its_order(visit: Run, local_xr2: LocalXr2, alias: str) -> None:
    done = visit("/welcome", "/buy/7")

    assert done.stderr == ""
    trace, receipt, left = done.stdout.splitlines()
    assert (receipt, left) == ("200 pending", "0 left")
    assert trace.startswith("200 ")
    assert bought(local_xr2) == [("purchase_completed", 7.0)]
    assert orders(alias) == [7]


def test_a_crash_between_commit_and_callback_loses_nothing(visit: Run, local_xr2: LocalXr2, alias: str) -> None:
    """``kill -9`` in the middle of a checkout: whoever serves the next request delivers the event."""
    killed = visit("/welcome", "/buy/7?crash=after the commit")
    before = bought(local_xr2)

    done = visit("/welcome")

    assert killed.returncode == -9
    assert before == []
    assert done.stderr == ""
    assert bought(local_xr2) == [("purchase_completed", 7.0)]
    assert orders(alias) == [7]


def test_a_crash_before_the_commit_leaves_neither_order_nor_event(visit: Run, local_xr2: LocalXr2, alias: str) -> None:
    killed = visit("/welcome", "/buy/7?crash=before the commit")

    done = visit("/welcome")

    assert killed.returncode == -9
    assert done.stderr == ""
    assert bought(local_xr2) == []
    assert orders(alias) == []


@pytest.mark.parametrize("runner", ["django", "pytest"])
def test_the_tests_of_a_project_own_the_database(
    run: Run, runner: str, local_xr2: LocalXr2, database: Database
) -> None:
    """No connection of ours keeps the test database from being removed, and no event of a test is delivered from it."""
    if database.kind != "postgresql":
        pytest.skip("only PostgreSQL minds a connection to what is removed")
    cases = "tests/django_outbox/project/cases.py"
    commands = {
        "django": ["-m", "django", "test", "tests.django_outbox.project", "--pattern", "cases.py"],
        "pytest": [
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            "--noconftest",
            "-c",
            os.devnull,
            cases,
        ],
    }

    done = run(*commands[runner])

    assert done.returncode == 0, done.stdout + done.stderr
    assert ("Ran 3 tests" in done.stderr) or ("3 passed" in done.stdout)
    assert bought(local_xr2) in ([], [("seen", None)])
