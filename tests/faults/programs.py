"""Programs that track events, in processes of their own, and an xR2 that is down until it is asked to come up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

import xr2_web

from ..scripted_server import Connection, ScriptedServer, answer
from .chaos.ledger import Spools

LIBRARY = Path(xr2_web.__file__).parents[1]
PATIENCE_SECONDS = 30.0

TAKEN = answer(
    body=json.dumps(
        {
            "status": "success",
            "event_id": "1",
            "trace_id": "evt_1",
            "event_name": "sign_up",
            "timestamp": "2026-01-01T00:00:00Z",
            "is_duplicate": False,
        }
    ).encode()
)

BEGINNING = """
    import os, signal, sys, threading
    import xr2_web

    def track(trace_id):
        with xr2_web.scope(trace_id=trace_id):
            receipt = xr2_web.track_event("sign_up")
        assert receipt.accepted, receipt

    def say(words):
        os.write(1, f"{words}\\n".encode())
    """


class Xr2:
    """Takes every event once it is up; until then it resets each connection that has sent a request."""

    def __init__(self) -> None:
        self.arrived: Counter[str] = Counter()
        """How often the event under each trace has arrived."""
        self.base_url = ""
        self.before_answer: Callable[[], None] = lambda: None
        self.after_answer: Callable[[], None] = lambda: None
        self._do_instead: Callable[[Connection], None] | None = Connection.reset
        self._changed = threading.Condition()

    def fall_silent(self) -> None:
        """Take requests and never answer, from now on."""
        self._do_instead = Connection.hang

    def come_up(self) -> None:
        """Answer, from now on."""
        self._do_instead = None

    def wait_for(self, trace_ids: Set[str]) -> None:
        """Wait until all of these have arrived, as long as there are arrivals."""
        with self._changed:
            while missing := trace_ids - self.arrived.keys():
                assert self._changed.wait(PATIENCE_SECONDS), f"these did not arrive: {sorted(missing)[:10]}"

    def serve(self, connection: Connection) -> None:
        """Serve a connection."""
        while (request := connection.read_request()) is not None:
            if self._do_instead is not None:
                return self._do_instead(connection)
            self.before_answer()
            with self._changed:
                self.arrived[json.loads(request.body)["trace_id"]] += 1
                self._changed.notify_all()
            connection.send(TAKEN)
            self.after_answer()
        return None


@contextmanager
def running_xr2() -> Iterator[Xr2]:
    """Have an xR2 for a block, down at first."""
    xr2 = Xr2()
    with ScriptedServer(xr2.serve) as server:
        xr2.base_url = server.base_url
        yield xr2


class Program:
    """A process that runs, and what it says."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors
        self.pid = process.pid

    def next_line(self) -> str:
        """Wait for the next line that it says; empty where it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def terminate(self) -> float:
        """Ask it to end, by SIGTERM, and return the seconds that it took."""
        began = time.monotonic()
        self._process.terminate()
        self.wait()
        return time.monotonic() - began

    def stop(self) -> None:
        """Have it stand still, as SIGSTOP does."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Have it go on after a stop."""
        self._process.send_signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        return self._process.wait(PATIENCE_SECONDS)

    def errors(self) -> str:
        """Return what it has written to its standard error."""
        return self._errors.read_text()


class Programs:
    """Starts programs that share one outbox folder; what still runs at the end is killed, with all of its children."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._folder = folder
        self._base_url = base_url
        self._started: list[subprocess.Popen[str]] = []
        self.spools = Spools(folder / "outbox")

    def start(self, text: str, *, first: str = "") -> Program:
        """Start a program, which has ``track`` and ``say``; ``first`` is what it does before it imports anything."""
        number = len(self._started)
        path, errors = self._folder / f"program{number}.py", self._folder / f"program{number}.log"
        path.write_text("\n".join(map(textwrap.dedent, (first, BEGINNING, text))))
        with errors.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(path)],
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return Program(process, errors)

    def run(self, text: str) -> Program:
        """Run a program to its end, which is a good one."""
        program = self.start(text)
        assert program.wait() == 0, program.errors()
        return program

    def start_heir(self) -> Program:
        """Start a program that adopts what others have left, as any does that tracks."""
        return self.start("track('of the heir'); signal.pause()")

    def end(self) -> None:
        """Kill all that still runs."""
        for process in self._started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.communicate()

    def _environ(self) -> dict[str, str]:
        settings = {
            "XR2_API_KEY": "xr2_dev_tests",
            "XR2_BASE_URL": self._base_url,
            "XR2_OUTBOX": "spool",
            "XR2_OUTBOX_PATH": str(self.spools.folder),
        }
        return {**os.environ, **settings, "PYTHONPATH": str(LIBRARY)}


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
