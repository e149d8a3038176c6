"""Processes that the demo starts, and that end with it whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType

from . import warden
from .failure import Failure

PATIENCE_SECONDS = 60.0
"""How long a process may take to start, or to do what it was started for."""

LINES_SHOWN = 100
"""gunicorn writes up to half of that after the reason for which an app could not be loaded."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was started, and the file that its output goes to."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def last_lines(self) -> tuple[str, ...]:
        """Return the end of what it wrote."""
        return tuple(self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])

    def wait_for(self, pattern: str) -> str:
        """Return the first group of ``pattern`` as soon as it is in the output. Raises ``Failure`` if it never is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(pattern, self.log.read_text(errors="replace"))):
            self.check()
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} was not up after {PATIENCE_SECONDS:.0f} seconds", self.last_lines())
            time.sleep(0.02)
        return found[1]

    def wait(self) -> None:
        """Wait until it has done its work. Raises ``Failure`` if it did not succeed."""
        try:
            code = self.popen.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} took over {PATIENCE_SECONDS:.0f} seconds", self.last_lines()) from None
        if code != 0:
            raise Failure(f"{self.name} failed with code {code}", self.last_lines())

    def check(self, *, seconds: float = 0) -> None:
        """Raise ``Failure`` if it has ended, or does within so many seconds."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise Failure(f"{self.name} ended with code {code}", self.last_lines())


class Processes:
    """A context manager that starts processes and ends all of them, and all that they started, when it is left.

    They share one process group, led by a warden. So nobody is forgotten, not even a worker whose server was killed;
    Ctrl-C reaches only the demo, which then ends them in good order; and where the demo itself is killed hard the
    warden sees its standard input close and ends the group. The usual alternatives are less: Linux's PR_SET_PDEATHSIG
    reaches children but not grandchildren, and a session for each process has to be remembered by somebody.

    Logs are written to ``folder``; whoever has not ended ``grace`` seconds after being asked to is killed. Threads may
    share it.
    """

    def __init__(self, folder: Path, *, grace: float = 5.0) -> None:
        self._folder = folder
        self._grace = grace
        self._started: list[Process] = []
        self._is_ending = False
        self._lock = Lock()

    def __enter__(self) -> Processes:
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", warden.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._lock:
                self._is_ending = True
            self._end_gently()
        finally:
            with self._warden, suppress(ProcessLookupError):
                os.killpg(self._warden.pid, signal.SIGKILL)
            for process in self._started:
                process.popen.wait()

    def start(
        self, name: str, command: Sequence[str], *, environ: Mapping[str, str], cwd: Path, inherit: Sequence[int] = ()
    ) -> Process:
        """Start Python with the arguments ``command``; ``inherit`` lists file descriptors that it may use."""
        log = self._folder / f"{name.replace('/', '-')}.log"
        with self._lock, log.open("wb") as output:
            if self._is_ending:
                raise Failure(f"{name} was not started: the demo ends")
            popen = subprocess.Popen(
                [sys.executable, *command],
                cwd=cwd,
                env=environ,
                pass_fds=inherit,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self._warden.pid,
            )
            process = Process(name, popen, log)
            self._started.append(process)
        return process

    def _end_gently(self) -> None:
        for process in self._started:
            process.popen.terminate()
        deadline = time.monotonic() + self._grace
        for process in self._started:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(0.0, deadline - time.monotonic()))
