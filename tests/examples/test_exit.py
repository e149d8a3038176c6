"""What waits when a server is told to end: it is delivered, within bounds, and a response that streams is finished."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from xr2_web.courier import SEND_TIMEOUT

from ..local_xr2 import LocalXr2
from . import commands
from .commands import Command, skip_if_missing
from .gate import Gate, gate
from .journal import doubled, events_by_trace
from .servers import probing
from .visitors import buy, new_client

BUYERS = 20
DJANGO = ("probe.django_probe",)
DJANGO_ASGI = ("probe.django_probe:asgi_application",)
FLASK = ("probe.flask_probe",)
STARLETTE = ("probe.starlette_probe:application",)

ROWS: dict[str, tuple[Command, str, str]] = {
    "gunicorn": (commands.GUNICORN + DJANGO, "Handling signal: term", "Worker exiting"),
    "gunicorn with threads": (commands.GTHREAD + FLASK, "Handling signal: term", "Worker exiting"),
    "gunicorn with gevent": (commands.GEVENT + FLASK, "Handling signal: term", "Worker exiting"),
    "gunicorn with uvicorn": (
        commands.GUNICORN_UVICORN + STARLETTE,
        "Shutting down",
        "Waiting for application shutdown",
    ),
    "uwsgi": (commands.UWSGI + FLASK, "killing", "killing"),
    "uvicorn": (commands.UVICORN + STARLETTE, "Shutting down", "Waiting for application shutdown"),
    "uvicorn, two workers": (commands.UVICORNS + STARLETTE, "Shutting down", "Waiting for application shutdown"),
    "uvicorn, django": (commands.UVICORN + DJANGO_ASGI, "Shutting down", "Waiting for application shutdown"),
    "hypercorn": (commands.HYPERCORN + STARLETTE, "", ""),
}
"""Each server, what it writes when it was told to end, and when no request is left; hypercorn writes nothing."""

each_server = pytest.mark.parametrize(("command", "told", "idle"), ROWS.values(), ids=ROWS.keys())


@pytest.fixture
def events(local_xr2: LocalXr2) -> Iterator[Gate]:
    with gate(local_xr2, "/api/v1/events") as events:
        yield events


@each_server
def test_what_waits_at_sigterm_is_delivered(
    command: Command, told: str, idle: str, events: Gate, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    """Trap 25: Runtime's ``atexit.register`` where that runs, ``lifespan.closing`` and ``answer`` where it does not."""
    skip_if_missing(command)
    environ["XR2_BASE_URL"] = events.base_url

    with probing(command, tmp_path, environ) as server:
        bought = {buy(server) for _ in range(BUYERS)}
        events.wait_until_waiting(8)
        server.ask_to_stop()
        server.wait_for_output(idle)
        assert local_xr2.events() == []
        events.open()
        server.wait()

    assert events_by_trace(local_xr2, "purchase_completed").keys() == bought
    assert doubled(local_xr2) == []
    assert server.complaints() == []


@each_server
def test_an_xr2_that_does_not_answer_keeps_no_server_from_ending(
    command: Command, told: str, idle: str, events: Gate, environ: dict[str, str], tmp_path: Path
) -> None:
    """All of them are still on disk, and told: but uWSGI ends a worker that has just answered without exit handlers."""
    skip_if_missing(command)
    environ |= {"XR2_BASE_URL": events.base_url, "XR2_SHUTDOWN_TIMEOUT": "0.5"}

    with probing(command, tmp_path, environ) as server:
        for _ in range(BUYERS):
            buy(server)
        seconds = server.stop()

    # Not as long as a delivery may take, even where gunicorn has to kill a worker that is about to start.
    assert seconds < SEND_TIMEOUT - 2
    assert all(line.startswith("xr2_web.events_left: ") for line in server.complaints())
    left = sum(int(line.split()[1]) for line in server.complaints())
    assert left == BUYERS or (command[0] in commands.UWSGI and left < BUYERS)
    assert pending(environ) == BUYERS


def pending(environ: dict[str, str]) -> int:
    """Return how many events wait on disk."""
    status = [sys.executable, "-m", "xr2_web", "outbox", "status", "--json"]
    found = subprocess.run(status, env={**os.environ, **environ}, capture_output=True, check=True)
    count: int = json.loads(found.stdout)["pending"]
    return count


@each_server
def test_a_response_that_streams_at_sigterm_is_finished_and_makes_its_event(
    command: Command, told: str, idle: str, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_if_missing(command)

    with probing(command, tmp_path, environ) as server, new_client(server.base_url) as client:
        with client.stream("POST", "/stream") as response:
            lines = response.iter_lines()
            first = next(lines)
            server.ask_to_stop()
            server.wait_for_output(told)
            Path(environ["PROBE_GO_ON"]).touch()
            others = list(lines)
        server.wait()

    assert others == [first] * 100
    assert list(events_by_trace(local_xr2, "answer_liked")) == [first.strip()]
    assert doubled(local_xr2) == []
    assert server.complaints() == []


BOUNDED: dict[str, tuple[Command, str]] = {
    "gunicorn with threads": ((*commands.GTHREAD, "--graceful-timeout", "1", *FLASK), "Handling signal: term"),
    "uvicorn": ((*commands.UVICORN, "--timeout-graceful-shutdown", "1", *STARLETTE), "Shutting down"),
}


@pytest.mark.parametrize(("command", "told"), BOUNDED.values(), ids=BOUNDED.keys())
def test_a_response_that_streams_for_too_long_is_cut_and_makes_no_event(
    command: Command, told: str, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    with probing(command, tmp_path, environ) as server, new_client(server.base_url) as client:
        bought = buy(server)
        with client.stream("POST", "/stream") as response, pytest.raises(httpx.TransportError):  # noqa: PT012
            lines = response.iter_lines()
            next(lines)
            seconds = server.stop()
            list(lines)

    assert seconds < 1 + 3
    assert [event["trace_id"] for event in local_xr2.events()] == [bought]
