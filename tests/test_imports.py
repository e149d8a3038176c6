"""What importing loads: the package no framework and no HTTP library, an adapter its own framework only."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

FRAMEWORKS = {"django", "flask", "starlette", "fastapi", "werkzeug", "asgiref", "celery", "sqlalchemy"}
LOADED_ON_USE = {
    "httpx",
    "httpx2",
    "httpcore",
    "msgspec",
    "itsdangerous",
    "click",
    "rich",
    "uvicorn",
    "jinja2",
}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules of a fresh interpreter after ``code``."""
    code = f"{code}\nimport sys; print(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_the_package_loads_no_framework_and_nothing_that_is_loaded_on_use():
    loaded = loaded_by("import xr2_web")

    assert loaded & (FRAMEWORKS | LOADED_ON_USE) == set()


def test_the_package_starts_no_thread_and_sets_up_no_logging():
    code = "import xr2_web, threading, logging; assert threading.active_count() == 1; assert not logging.root.handlers"

    loaded_by(code)


@pytest.mark.parametrize(
    ("adapter", "framework", "brought"),
    [
        ("xr2_web.starlette", "starlette", {"starlette"}),
        ("xr2_web.flask", "flask", {"flask", "werkzeug", "click", "jinja2", "itsdangerous", "asgiref"}),
        ("xr2_web.django", "django", {"django", "asgiref"}),
        # Kombu, which Celery brings, looks for Django to serialise its lazy texts.
        ("xr2_web.sqlalchemy", "sqlalchemy", {"sqlalchemy"}),
        ("xr2_web.celery", "celery", {"celery", "click", "msgspec", "django", "asgiref"}),
    ],
)
def test_an_adapter_loads_its_own_framework_only(adapter, framework, brought):
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")

    loaded = loaded_by(f"import {adapter}")

    assert framework in loaded
    assert loaded & (FRAMEWORKS | LOADED_ON_USE) <= brought


def test_the_clients_load_an_http_library_when_they_are_made_and_no_framework():
    before = loaded_by("import xr2_web.client")
    after = loaded_by("from xr2_web.client import xR2Client; xR2Client('a_key').check_api_key")

    assert before & {"httpx", "httpx2"} == set()
    assert after & FRAMEWORKS == set()
