"""The same commands behind ``manage.py xr2`` and ``flask xr2``, by the settings of the project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Applications, Server

DJANGO = """
import sys
import django
from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(
    INSTALLED_APPS=["xr2_web.django"],
    SECRET_KEY="of the project",
    XR2={{"API_KEY": "xr2_dev_tests", "BASE_URL": "{base_url}", "OUTBOX_PATH": "{spool}"}},
)
django.setup()
execute_from_command_line(sys.argv)
"""

FLASK = """
from flask import Flask
from xr2_web.flask import Xr2

app = Flask(__name__)
app.secret_key = "of the project"
app.config.update(XR2_API_KEY="xr2_dev_tests", XR2_BASE_URL="{base_url}", XR2_OUTBOX_PATH="{spool}")
Xr2(app)
"""


@pytest.fixture(params=["django", "flask"])
def command(request: pytest.FixtureRequest, xr2: Server, spool: Path, tmp_path: Path) -> list[str]:
    """The beginning of a command line."""
    framework = request.param
    pytest.importorskip(framework)
    script = {"django": DJANGO, "flask": FLASK}[framework].format(base_url=xr2.base_url, spool=spool)
    path = tmp_path / "project.py"
    path.write_text(script)
    if framework == "django":
        return [sys.executable, str(path), "xr2"]
    return [sys.executable, "-m", "flask", "--app", str(path), "xr2"]


def run(command: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], capture_output=True, text=True)


def test_the_settings_are_the_projects(applications: Applications, command: list[str]) -> None:
    applications.ended("note('evt_1')")

    found = run(command, "outbox", "status", "--json")

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["pending"] == 1


def test_ids_are_hashed_with_the_projects_secret_key(applications: Applications, command: list[str]) -> None:
    applications.ended(
        """
        os.environ["XR2_SECRET_KEY"] = "of the project"
        note("evt_1", user_id="ada@example.com")
        """
    )

    forgotten = run(command, "outbox", "forget", "--user", "ada@example.com")

    assert forgotten.stdout == "1 event and 0 dead letters forgotten\n"
    assert forgotten.stderr == ""


def test_exit_codes_and_help_are_those_of_the_commands(applications: Applications, command: list[str]) -> None:
    applications.ended("note('evt_1')")

    left = run(command, "outbox", "drain", "--patience", "0.2")
    mistake = run(command, "outbox", "dead", "drop")
    shown = run(command, "outbox", "drain", "--help")

    assert (left.returncode, mistake.returncode, shown.returncode) == (1, 2, 0)
    assert left.stdout.startswith("0 delivered, 0 refused, 0 expired, 1 left\n")
    assert "say which" in mistake.stderr
    assert "--forever" in shown.stdout
