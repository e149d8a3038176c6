"""The example projects under their usual servers: two workers, real processes, a free loopback port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import xr2_web

PROJECTS = Path(__file__).parents[2] / "example_projects"
LIBRARY = Path(xr2_web.__file__).parents[1]

GUNICORN = ("gunicorn", "--workers", "2", "--threads", "4", "--bind", "fd://{fd}")
UVICORN = ("uvicorn", "--workers", "2", "--no-access-log", "--fd", "{fd}")
COMMANDS = {
    "django_shop": (*GUNICORN, "config.wsgi"),
    "flask_shop": (*GUNICORN, "shop:create_app()"),
    "starlette_shop": (*UVICORN, "shop.app:app"),
    "fastapi_chat": (*UVICORN, "chat.main:app"),
}


@contextmanager
def serving(project: str, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Run the project until the block ends and yield its address; its output goes to pytest's report.

    The socket listens before the server runs, so a client that comes early waits in its backlog.
    """
    environ = {**os.environ, **environ, "HOME": str(folder), "PYTHONPATH": str(LIBRARY)}
    log = folder / "server.log"
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, log.open("wb") as output:
        if project == "django_shop":
            run(project, environ, output, "manage.py", "migrate")
        command = [part.format(fd=listener.fileno()) for part in COMMANDS[project]]
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=PROJECTS / project,
            env=environ,
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield "http://{}:{}".format(*listener.getsockname())
        finally:
            stop(server)
            sys.stdout.write(log.read_text())


def run(project: str, environ: Mapping[str, str], output: object, *command: str) -> None:
    subprocess.run(
        [sys.executable, *command], cwd=PROJECTS / project, env=environ, stdout=output, stderr=output, check=True
    )


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server gently, and its whole process group in any case."""
    server.terminate()
    try:
        server.wait(15)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(5)
