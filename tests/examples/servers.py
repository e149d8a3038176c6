"""Applications under real servers: real processes, a free loopback port, and an end in good order."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import xr2_web
from xr2_web.demo.examples import EXAMPLES

PROJECTS = Path(__file__).parents[2] / "example_projects"
LIBRARY = Path(xr2_web.__file__).parents[1]
PATIENCE_SECONDS = 15.0

COMMANDS = {each.folder: each.server for each in EXAMPLES}
PREPARATIONS = {each.folder: each.prepare for each in EXAMPLES}

OURS = re.compile(r"xr2_web|xr2-|Traceback|Exception ignored|Error\b")


@dataclass(frozen=True)
class Server:
    """A server that runs, and what it writes."""

    base_url: str
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text()

    def wait_for_output(self, text: str) -> None:
        """Wait until it has written this."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.output():
            assert self.process.poll() is None, f"it ended before it wrote {text!r}"
            assert time.monotonic() < deadline, f"it did not write {text!r}"
            time.sleep(0.02)

    def stop(self) -> float:
        """End it gently, and return the seconds that it took."""
        began = time.monotonic()
        self.ask_to_stop()
        self.wait()
        return time.monotonic() - began

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        self.process.wait(PATIENCE_SECONDS)

    def complaints(self) -> list[str]:
        """Return the lines that say something of ours, or of an error."""
        return [line for line in self.output().splitlines() if OURS.search(line)]


@contextmanager
def serving(
    project: str, folder: Path, environ: Mapping[str, str], command: tuple[str, ...] | None = None
) -> Iterator[Server]:
    """Run an example project until the block ends, by default under the server that the demo runs it under."""
    prepare = PREPARATIONS[project]
    environ = environment(folder, environ)
    if prepare:
        subprocess.run(
            [sys.executable, *prepare], cwd=PROJECTS / project, env=environ, stdout=subprocess.DEVNULL, check=True
        )
    with running(command or COMMANDS[project], folder, environ, cwd=PROJECTS / project) as server:
        yield server


@contextmanager
def probing(command: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> Iterator[Server]:
    """Run one of the applications in ``probe`` until the block ends."""
    with running(command, folder, environment(folder, environ), cwd=Path(__file__).parent) as server:
        yield server


@contextmanager
def running(command: tuple[str, ...], folder: Path, environ: Mapping[str, str], *, cwd: Path) -> Iterator[Server]:
    """Run a server until the block ends; its output goes to pytest's report.

    ``command`` is what follows ``python``, or a program; ``{fd}`` in it is a socket that listens before the server
    runs, so that a client that comes early waits in its backlog.
    """
    program = [sys.executable] if command[0] == "-m" else []
    log = folder / "server.log"
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, log.open("wb") as output:
        process = subprocess.Popen(
            [*program, *(part.format(fd=listener.fileno()) for part in command)],
            cwd=cwd,
            env=environ,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = Server("http://{}:{}".format(*listener.getsockname()), process, log)
        try:
            yield server
        finally:
            end(server)
            sys.stdout.write(server.output())


def environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    # gunicorn keeps its control socket in the user's folders, under one name for all.
    own = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(LIBRARY)}
    return {**os.environ, **environ, **own, "PYTHONWARNINGS": "default"}


def end(server: Server) -> None:
    """End the server gently, and its whole process group in any case."""
    try:
        if server.process.poll() is None:
            server.stop()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(5)
