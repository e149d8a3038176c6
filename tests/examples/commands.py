"""How applications are served: the beginnings of command lines, and which servers are here."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

Command = tuple[str, ...]

PATHS = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))

GUNICORN: Command = ("-m", "gunicorn", "--bind", "fd://{fd}", "--workers", "2", "--graceful-timeout", "5")
"""A worker that is told to end while it starts does not hear it; gunicorn kills it after that time, 30 s by default."""

GTHREAD: Command = (*GUNICORN, "--threads", "4")
GEVENT: Command = (*GUNICORN, "--worker-class", "gevent")
GEVENT_FIRST: Command = (*GEVENT, "--config", str(Path(__file__).parent / "gevent_first.py"), "--preload")
GUNICORN_UVICORN: Command = (*GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker")
UVICORN: Command = ("-m", "uvicorn", "--no-access-log", "--fd", "{fd}")
UVICORNS: Command = (*UVICORN, "--workers", "2")
HYPERCORN: Command = ("-m", "hypercorn", "--bind", "fd://{fd}")
"""One worker process: of several, it kills the others as soon as the first has ended."""
UWSGI: Command = (
    *(shutil.which("uwsgi", path=PATHS) or "uwsgi", "--http-socket", "fd://{fd}", "--processes", "2"),
    *("--master", "--need-app", "--disable-logging", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
    "--module",
)
"""Its defaults but for SIGTERM, which would restart it.

With the usual --die-on-term a worker that is in a request, or has just answered one, is cut and runs no exit handler.
"""

MODULES = {"gevent": "gevent", "uvicorn_worker.UvicornWorker": "uvicorn_worker"}


def skip_if_missing(command: Command) -> None:
    """Skip the test where the server, or the class of its workers, is not installed."""
    program = command[1] if command[0] == "-m" else None
    needed = [program, *(MODULES[part] for part in command if part in MODULES)]
    lacking = [module for module in needed if module and find_spec(module) is None]
    if program is None and shutil.which(command[0]) is None:
        lacking.append("uwsgi")
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not installed")
