"""What is bound while a real server runs requests one after another on a thread, or several at once."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from . import commands
from .commands import Command, skip_if_missing
from .journal import doubled, events_by_trace
from .servers import probing
from .visitors import new_client

VISITORS = 6
ONE = ("--workers", "1")
ONE_THREAD = (*ONE, "--worker-class", "gthread", "--threads", "1")
DJANGO = ("probe.django_probe",)
DJANGO_ASGI = ("probe.django_probe:asgi_application",)
FLASK = ("probe.flask_probe",)
STARLETTE = ("probe.starlette_probe:application",)

ON_ONE_THREAD: dict[str, Command] = {
    "flask, gunicorn": commands.GUNICORN + ONE + FLASK,
    "django, gunicorn": commands.GUNICORN + ONE + DJANGO,
    "flask, gunicorn with a thread": commands.GUNICORN + ONE_THREAD + FLASK,
    "django, gunicorn with a thread": commands.GUNICORN + ONE_THREAD + DJANGO,
    "flask, uwsgi": (*commands.UWSGI, *FLASK, "--processes", "1"),
}
AT_ONCE: dict[str, Command] = {
    "flask, gunicorn with threads": (*commands.GTHREAD, *ONE, "--threads", str(VISITORS), *FLASK),
    "django, gunicorn with threads": (*commands.GTHREAD, *ONE, "--threads", str(VISITORS), *DJANGO),
    "flask, gunicorn with gevent": commands.GEVENT + ONE + FLASK,
    "starlette, uvicorn": commands.UVICORN + STARLETTE,
    "django, uvicorn": commands.UVICORN + DJANGO_ASGI,
    "starlette, hypercorn": commands.HYPERCORN + STARLETTE,
}
at_once = pytest.mark.parametrize("command", AT_ONCE.values(), ids=AT_ONCE.keys())


@pytest.mark.parametrize("command", ON_ONE_THREAD.values(), ids=ON_ONE_THREAD.keys())
def test_nothing_of_a_visitor_who_left_is_bound_for_the_next_on_the_thread(
    command: Command, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    """Traps 5 and 23: ``unbind`` in the adapter's ``wsgi_app`` or ``__call__``, and in each method of ``Body``."""
    skip_if_missing(command)

    with probing(command, tmp_path, environ) as server:
        with new_client(server.base_url) as leaver, leaver.stream("POST", "/stream") as response:
            next(response.iter_raw())
            thread = response.headers["X-Thread"]
        Path(environ["PROBE_GO_ON"]).touch()
        with new_client(server.base_url) as next_one:
            bought = next_one.post("/buy")
        with new_client(server.base_url) as reader:
            read = reader.post("/stream")
        with new_client(server.base_url) as last:
            seen = last.get("/quiet")
        server.stop()

    assert [each.headers["X-Thread"] for each in (bought, read, seen)] == [thread] * 3
    assert [each.headers["X-Bound"] for each in (bought, read, seen)] == ["False False"] * 3
    assert bought.json() == {"accepted": False}
    # Of the one who read to the end, and not of the one who left.
    assert [event["trace_id"] for event in local_xr2.events()] == [read.text.split()[-1]]


@at_once
def test_each_of_several_streams_keeps_its_own_visitor(
    command: Command, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_if_missing(command)

    with probing(command, tmp_path, environ) as server, ExitStack() as visitors:
        clients = [visitors.enter_context(new_client(server.base_url)) for _ in range(VISITORS)]
        streams = [visitors.enter_context(client.stream("POST", "/stream")).iter_lines() for client in clients]
        firsts = [next(lines).strip() for lines in streams]
        Path(environ["PROBE_GO_ON"]).touch()
        rests = [{line.strip() for line in lines} for lines in streams]
        server.stop()

    assert len(set(firsts)) == VISITORS
    assert rests == [{first} for first in firsts]
    assert events_by_trace(local_xr2, "answer_liked").keys() == set(firsts)
    assert doubled(local_xr2) == []
    assert server.complaints() == []


@at_once
def test_work_that_outlives_its_request_tracks_for_its_visitor(
    command: Command, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    """Traps 6 and 27: a detached task, or a thread with ``propagate``, which carries the scope and no request."""
    skip_if_missing(command)

    with probing(command, tmp_path, environ) as server:
        expected = set()
        for _ in range(VISITORS):
            with new_client(server.base_url) as client:
                expected.add(client.post("/later").text)
        deadline = time.monotonic() + 10
        while len(local_xr2.events()) < VISITORS and time.monotonic() < deadline:
            time.sleep(0.02)

    purchases = events_by_trace(local_xr2, "purchase_completed")
    assert purchases.keys() == expected
    assert not any(event["metadata"].get("sees_request") for event in purchases.values())
    assert server.complaints() == []


@pytest.mark.parametrize("application", [FLASK, DJANGO], ids=["flask", "django"])
def test_a_file_reaches_the_server_in_its_own_wrapper(
    application: Command, environ: dict[str, str], tmp_path: Path
) -> None:
    """The body that gunicorn is handed is its file wrapper, for which it uses sendfile; no ``Body`` around it."""
    with probing(commands.GUNICORN + application, tmp_path, environ) as server, new_client(server.base_url) as client:
        response = client.get("/file")

    assert response.headers["X-Body"] == "file wrapper"
    assert "def file(" in response.text
    assert "xr2_carry" in response.headers["Set-Cookie"]
    assert server.complaints() == []
