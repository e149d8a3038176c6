from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from xr2_web.cli import main

from ..faults.programs import Program, Programs, Xr2, wait_until
from ..scripted_server import Connection, Received, ScriptedServer, answer

REFUSAL = answer(404, json.dumps({"detail": "Event definition not found"}).encode())

APPLICATION = """
def note(trace_id, event_name="sign_up", **options):
    with xr2_web.scope(trace_id=trace_id):
        receipt = xr2_web.track_event(event_name, **options)
    assert receipt.accepted, receipt
"""
"""What the programs of these tests begin with."""


def new_runner() -> CliRunner:
    """Return a runner that keeps the two outputs apart, for which releases before 8.2 have to be asked."""
    is_asked = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(**{"mix_stderr": False} if is_asked else {})


class Server(Xr2):
    """An xR2 that is down at first, and may refuse all events."""

    requests: Sequence[Received] = ()
    """What was received."""

    def refuse(self) -> None:
        """Refuse each event, from now on."""
        self._do_instead = lambda connection: connection.send(REFUSAL)

    def lock_out(self) -> None:
        """Not accept the key, from now on."""
        self._do_instead = lambda connection: connection.send(answer(401, b'{"detail": "Invalid API key"}'))

    def go_down(self) -> None:
        """Reset each connection again."""
        self._do_instead = Connection.reset


@pytest.fixture
def xr2() -> Iterator[Server]:
    xr2 = Server()
    with ScriptedServer(xr2.serve) as server:
        xr2.base_url, xr2.requests = server.base_url, server.requests
        yield xr2


@pytest.fixture
def spool(state_home: Path) -> Path:
    """The folder in which everything waits."""
    return state_home / "outbox"


class Applications:
    """Processes of an application whose events wait."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def start(self, text: str) -> Program:
        """Start one that does something, and goes on running."""
        text = textwrap.dedent(text)
        program = self._programs.start(f"{APPLICATION}\n{text}\nsay('ready')\nsignal.pause()\n")
        assert program.next_line() == "ready", program.errors()
        return program

    def ended(self, text: str) -> Program:
        """Have one run that is killed afterwards."""
        program = self.start(text)
        program.kill()
        return program


@pytest.fixture
def applications(xr2: Server, state_home: Path, spool: Path) -> Iterator[Applications]:
    state_home.mkdir()
    programs = Programs(state_home, xr2.base_url)
    assert programs.spools.folder == spool
    yield Applications(programs)
    programs.end()


class Result(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


Command = Callable[..., Result]


@pytest.fixture
def outbox(xr2: Server, spool: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``xr2-web outbox``, with the settings of the applications in the environment."""
    for name, value in {"API_KEY": "xr2_dev_tests", "BASE_URL": xr2.base_url, "OUTBOX_PATH": str(spool)}.items():
        monkeypatch.setenv(f"XR2_{name}", value)

    def command(*arguments: str) -> Result:
        result = new_runner().invoke(main, ["outbox", *arguments], prog_name="xr2-web", catch_exceptions=False)
        return Result(result.exit_code, result.stdout, result.stderr)

    return command


@pytest.fixture
def dead_letters(xr2: Server, applications: Applications, outbox: Command) -> Callable[[str], Program]:
    """Starts an application whose events are refused, and waits until they are dead letters; then xR2 is down again."""

    def start(text: str) -> Program:
        xr2.refuse()
        program = applications.start(text)
        wait_until(lambda: _of(outbox, program)["pending"] == 0)
        xr2.go_down()
        return program

    return start


def _of(outbox: Command, program: Program) -> dict[str, Any]:
    """Return what ``status`` says of one process."""
    (place,) = (each for each in outbox("status", "--json").document["places"] if each["pid"] == program.pid)
    return place


def files(spool: Path) -> Sequence[str]:
    return sorted(each.name for each in spool.iterdir())
