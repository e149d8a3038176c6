"""``xr2-web outbox`` for an application without a command line of its own, whose events wait in its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

SHOP = """
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

import xr2_web
import xr2_web.sqlalchemy

engine = create_engine("sqlite:///shop.sqlite3")
Session = sessionmaker(engine)
xr2_web.sqlalchemy.keep_events(engine, Session)
xr2_web.sqlalchemy.create_tables(engine)
"""

SALE = """
import os
import sys

sys.path.insert(0, os.getcwd())
import shop
import xr2_web

with xr2_web.scope(trace_id="evt_1"), shop.Session() as session, session.begin():
    session.connection()
    xr2_web.track_event("purchase_completed")
os._exit(0)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    sold = run(tmp_path, "-c", SALE)
    assert sold.returncode == 0, sold.stderr
    return tmp_path


def run(shop: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "XR2_API_KEY": "xr2_dev_tests",
        "XR2_BASE_URL": "http://127.0.0.1:9",
        "XR2_OUTBOX": "database",
        "XR2_OUTBOX_PATH": str(shop / "spool"),
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=shop, env={**os.environ, **environ}, capture_output=True, text=True)


@pytest.mark.parametrize("app", ["shop", "shop:engine"])
def test_the_module_of_the_application_shows_its_table(shop: Path, app: str) -> None:
    found = run(shop, "-m", "xr2_web", "outbox", "--app", app, "status", "--json")

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["pending"] == 1


def test_without_it_nothing_is_said_to_be_empty_that_nobody_has_looked_into(shop: Path) -> None:
    found = run(shop, "-m", "xr2_web", "outbox", "drain")

    assert (found.returncode, found.stdout) == (1, "")
    assert "keep_events" in found.stderr
    assert "--app MODULE" in found.stderr


def test_a_module_that_cannot_be_imported_is_named(shop: Path) -> None:
    found = run(shop, "-m", "xr2_web", "outbox", "--app", "shoop", "status")

    assert found.returncode == 2
    assert "shoop cannot be imported: ModuleNotFoundError" in found.stderr
