"""Commands and workers: processes of a project that serve no request, and bind their scopes by hand."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

import xr2_web

from ..local_xr2 import LocalXr2

DJANGO_COMMAND = """
import sys, django
from django.conf import settings
from django.core.management import BaseCommand, call_command

settings.configure(
    SECRET_KEY="long enough", INSTALLED_APPS=["xr2_web.django"],
    XR2={"API_KEY": sys.argv[1], "BASE_URL": sys.argv[2], "SOURCE_NAME": sys.argv[3]},
)
django.setup()

import xr2_web

class Command(BaseCommand):
    def handle(self, **options):
        with xr2_web.scope(user_id=42):
            self.stdout.write(xr2_web.get_prompt("welcome", fallback="none").trace_id or "none")
            xr2_web.track_event("digest_sent")

call_command(Command())
"""


def run_django_command(local_xr2: LocalXr2, source_name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", DJANGO_COMMAND, local_xr2.api_key, local_xr2.base_url, source_name],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.skipif(find_spec("django") is None, reason="django is not installed")
def test_a_command_of_django_uses_the_settings_of_its_project(local_xr2: LocalXr2) -> None:
    """It loads no middleware, so nothing else would start an installation."""
    done = run_django_command(local_xr2, "the project")

    assert done.stderr == ""
    assert [(event["trace_id"], event["user_id"], event["source_name"]) for event in local_xr2.events()] == [
        (done.stdout.strip(), "42", "the project")
    ]


@pytest.mark.skipif(find_spec("django") is None, reason="django is not installed")
def test_a_command_with_wrong_settings_runs_and_says_so(local_xr2: LocalXr2) -> None:
    done = run_django_command(local_xr2, "")

    assert done.stdout.strip() == "none"
    assert "xr2_web.misconfigured" in done.stderr
    assert 'XR2["SOURCE_NAME"]' in done.stderr
    assert local_xr2.events() == []


@pytest.mark.skipif(find_spec("flask") is None, reason="flask is not installed")
def test_a_command_of_flask_uses_the_settings_of_its_application(local_xr2: LocalXr2) -> None:
    import click
    from flask import Flask

    from xr2_web.flask import Xr2

    app = Flask(__name__)
    Xr2(app, api_key=local_xr2.api_key, base_url=local_xr2.base_url)

    @app.cli.command("digest")
    def digest() -> None:
        with xr2_web.scope(user_id=42):
            click.echo(xr2_web.get_prompt("welcome").trace_id)
            xr2_web.track_event("digest_sent")

    done = app.test_cli_runner().invoke(args=["digest"])
    app.extensions["xr2_web"].runtime.close()

    assert [(event["trace_id"], event["user_id"]) for event in local_xr2.events()] == [(done.output.strip(), "42")]
