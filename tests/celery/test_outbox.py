"""``OUTBOX = "celery"``: events go to the user's broker, and a worker sends them to xR2."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from xr2_web import get_prompt, track_event
from xr2_web.celery import install
from xr2_web.celery.letters import DELIVER, Letter
from xr2_web.default import started
from xr2_web.outbox import Entry
from xr2_web.outbox.folder import installation
from xr2_web.runtime import Runtime

from ..conftest import RuntimeMaker
from ..local_xr2 import LocalXr2
from ..scripted_server import Connection, ScriptedServer, answer
from ..visits import Door
from .brokers import BROKERS, NO_REDIS, app_with, in_redis
from .test_workers import soon
from .workers import Workers

SOLO = ("--pool", "solo")
TAKEN = {
    "status": "success",
    "event_id": "1",
    "trace_id": "evt_1",
    "event_name": "bought",
    "timestamp": "2026-01-01T00:00:00Z",
    "is_duplicate": False,
}


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with request.param() as configuration:
        yield configuration


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers() as workers:
        yield workers


@pytest.fixture
def send_from(make_runtime: RuntimeMaker) -> Callable[..., Runtime]:
    """Return a runtime whose events leave through an app."""

    def send_from(app: Celery, **keywords: Any) -> Runtime:
        install(app)
        made = make_runtime(outbox="celery", **keywords)
        started(made)
        return made

    return send_from


def settings_of(local_xr2: LocalXr2, folder: Path) -> dict[str, str]:
    return {
        "XR2_API_KEY": local_xr2.api_key,
        "XR2_BASE_URL": local_xr2.base_url,
        "XR2_OUTBOX": "celery",
        "XR2_OUTBOX_PATH": str(folder / "spool"),
    }


def names(local_xr2: LocalXr2) -> list[str]:
    return sorted(event["event_name"] for event in local_xr2.events())


def test_events_reach_xr2_by_way_of_the_broker_once(
    broker: dict[str, Any],
    workers: Workers,
    send_from: Callable[..., Runtime],
    local_xr2: LocalXr2,
    tmp_path: Path,
) -> None:
    app = workers.start(broker, tmp_path, settings_of(local_xr2, tmp_path), *SOLO)
    runtime = send_from(app)

    with Door(runtime).visit(user_id=7):
        trace_id = get_prompt("welcome").trace_id
        for number in range(20):
            assert track_event(f"bought-{number}", value=number).accepted
    left = runtime.flush(20).left

    assert left == 0
    assert runtime.counts["handed_over"] == 20
    assert soon(lambda: len(local_xr2.events()) == 20)
    assert names(local_xr2) == sorted(f"bought-{number}" for number in range(20))
    assert {(event["trace_id"], event["user_id"]) for event in local_xr2.events()} == {(trace_id, "7")}
    assert not any(event["is_duplicate"] for event in local_xr2.events() if "is_duplicate" in event)


def test_an_event_whose_worker_is_killed_in_the_middle_is_sent_by_the_next(
    broker: dict[str, Any], send_from: Callable[..., Runtime], local_xr2: LocalXr2, tmp_path: Path
) -> None:
    """Fault: SIGKILL of a worker; ``acks_late`` has the broker give the message to another."""
    if "redis" in broker["broker_url"]:
        # What was not acknowledged is given out again after this time, an hour by default, when a worker looks for it.
        again = {"visibility_timeout": 0.5, "unacked_restore_interval": 0.1}
        broker = {**broker, "broker_transport_options": {**broker["broker_transport_options"], **again}}
    hanging = ScriptedServer(lambda connection: connection.read_request() and connection.hang())
    with hanging:
        environ = settings_of(local_xr2, tmp_path)
        (tmp_path / "first").mkdir()
        first = Workers()
        app = first.start(broker, tmp_path / "first", {**environ, "XR2_BASE_URL": hanging.base_url}, *SOLO)
        runtime = send_from(app, base_url=hanging.base_url)
        with Door(runtime).visit() as scope:
            assert track_event("bought", trace_id="evt_1").accepted
            assert scope is not None
        assert soon(lambda: bool(hanging.requests))
        kill(first)

    taken = ScriptedServer(answering(json.dumps(TAKEN).encode()))
    with taken:
        # The same address, as far as the event's installation goes.
        (tmp_path / "second").mkdir()
        with Workers() as second:
            second.start(
                broker,
                tmp_path / "second",
                {**environ, "XR2_BASE_URL": hanging.base_url, "HTTP_PROXY": taken.base_url, "NO_PROXY": ""},
                *SOLO,
            )
            assert soon(lambda: bool(taken.requests), within=30)

    assert json.loads(taken.requests[0].body)["event_name"] == "bought"


def kill(workers: Workers) -> None:
    for worker in workers._started:
        os.killpg(worker._process.pid, signal.SIGKILL)
        worker._process.wait(5)
    workers._started = []


def answering(body: bytes, *statuses: int) -> Callable[[Connection], None]:
    """Answer the first requests with ``statuses``, whatever the connection, and all others with ``body``."""
    left = list(statuses)

    def script(connection: Connection) -> None:
        while connection.read_request() is not None:
            if left:
                connection.send(answer(left.pop(0), b'{"detail": "busy"}'))
            else:
                connection.send(answer(200, body))

    return script


@NO_REDIS
class TestWorker:
    """What a worker does with an event, over Redis."""

    @pytest.fixture
    def broker(self) -> Iterator[dict[str, Any]]:
        with in_redis() as configuration:
            yield configuration

    def test_a_server_in_trouble_has_the_event_come_again(
        self, broker: dict[str, Any], workers: Workers, send_from: Callable[..., Runtime], tmp_path: Path
    ) -> None:
        with ScriptedServer(answering(json.dumps(TAKEN).encode(), 503, 500)) as server:
            environ = {"XR2_API_KEY": "xr2_dev_k", "XR2_BASE_URL": server.base_url, "XR2_OUTBOX": "celery"}
            app = workers.start(broker, tmp_path, environ, *SOLO)
            runtime = send_from(app, base_url=server.base_url, api_key="xr2_dev_k")

            with Door(runtime).visit():
                track_event("bought", trace_id="evt_1")

            assert soon(lambda: len(server.requests) == 3)
            assert len({each.body for each in server.requests}) == 1
            workers.stop()

    def test_a_refused_event_is_a_dead_letter_of_the_worker(
        self, broker: dict[str, Any], workers: Workers, send_from: Callable[..., Runtime], tmp_path: Path
    ) -> None:
        refusal = answer(404, b'{"detail": {"message": "event not defined"}}')

        def refuse(connection: Connection) -> None:
            while connection.read_request() is not None:
                connection.send(refusal)

        with ScriptedServer(refuse) as server:
            environ = {"XR2_API_KEY": "xr2_dev_k", "XR2_BASE_URL": server.base_url}
            environ |= {"XR2_OUTBOX": "celery", "XR2_OUTBOX_PATH": str(tmp_path / "spool")}
            app = workers.start(broker, tmp_path, environ, *SOLO)
            runtime = send_from(app, base_url=server.base_url, api_key="xr2_dev_k")

            with Door(runtime).visit():
                track_event("bought", trace_id="evt_1")

            assert soon(lambda: dead_in(tmp_path / "spool") == [("evt_1", "bought", "404: event not defined")])
            workers.stop()
            assert len(server.requests) == 1

    def test_what_is_no_event_is_dropped_and_what_is_anothers_is_not_sent(
        self,
        broker: dict[str, Any],
        workers: Workers,
        send_from: Callable[..., Runtime],
        local_xr2: LocalXr2,
        tmp_path: Path,
    ) -> None:
        app = workers.start(broker, tmp_path, settings_of(local_xr2, tmp_path), *SOLO)
        foreign = Letter.of("another", Entry("evt_1", "bought", b"{}", time.time()), 0)
        ours = installation(local_xr2.base_url, local_xr2.api_key)

        for written in ({"nonsense": 1}, "text", foreign._replace(installation=ours, body=1)._asdict()):
            app.send_task(DELIVER, (written,))
        app.send_task(DELIVER, (foreign._asdict(),))
        runtime = send_from(app)
        with Door(runtime).visit():
            get_prompt("welcome")
            track_event("bought")

        assert soon(lambda: names(local_xr2) == ["bought"])
        workers.stop()
        assert names(local_xr2) == ["bought"]
        assert (tmp_path / "worker.log").read_text().count("xr2_web.bad_letter") == 1
        assert (tmp_path / "worker.log").read_text().count("xr2_web.foreign_letter") == 1

    def test_what_is_tracked_in_a_task_goes_the_same_way(
        self,
        broker: dict[str, Any],
        workers: Workers,
        local_xr2: LocalXr2,
        runtime: Runtime,
        tmp_path: Path,
    ) -> None:
        install()
        app = workers.start(broker, tmp_path, settings_of(local_xr2, tmp_path), *SOLO)

        with Door(runtime).visit(user_id=7):
            get_prompt("welcome")
            app.send_task("shop.buy", [20])

        assert soon(lambda: names(local_xr2) == ["bought"])

    @pytest.mark.parametrize("task", ["xr2_web.drain", "shop.look"])
    def test_a_task_has_what_dead_processes_left_delivered(
        self,
        broker: dict[str, Any],
        workers: Workers,
        make_runtime: RuntimeMaker,
        local_xr2: LocalXr2,
        tmp_path: Path,
        task: str,
    ) -> None:
        """The task for it, and the first of any."""
        left = make_runtime(outbox_path=tmp_path / "spool")
        trace_id = trace_from(left)
        body = b'{"trace_id":"%s","event_name":"bought","source_name":"test","metadata":{}}' % trace_id.encode()
        left._here().outbox.put(Entry(trace_id, "bought", body, time.time()))
        left._here().outbox.close()
        environ = {**settings_of(local_xr2, tmp_path), "XR2_OUTBOX": "spool"}
        app = workers.start(broker, tmp_path, environ, *SOLO)

        app.send_task(task)

        assert soon(lambda: names(local_xr2) == ["bought"])


def trace_from(runtime: Runtime) -> str:
    with Door(runtime).visit():
        trace_id = get_prompt("welcome").trace_id
        assert trace_id is not None
        return trace_id


def dead_in(folder: Path) -> list[tuple[str, str, str]]:
    found = []
    for path in folder.glob("*.sqlite3"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        # Its maker may be in the middle of making it.
        with closing(connection), suppress(sqlite3.OperationalError):
            found += connection.execute("SELECT trace_id, event_name, reason FROM dead").fetchall()
    return found


@NO_REDIS
def test_a_broker_that_is_down_keeps_no_event_from_being_accepted_and_gets_it_later(
    send_from: Callable[..., Runtime], local_xr2: LocalXr2, tmp_path: Path, workers: Workers
) -> None:
    """Fault: an engine that is down."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    broker = {"broker_url": f"redis://127.0.0.1:{port}/0"}
    runtime = send_from(app_with(broker))
    with Door(runtime).visit():
        get_prompt("welcome")
        began = time.perf_counter()
        accepted = track_event("bought").accepted
        took = time.perf_counter() - began
    failed = soon(lambda: runtime.counts.get("failed", 0) > 0)

    redis = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    try:
        workers.start(broker, tmp_path, settings_of(local_xr2, tmp_path), *SOLO)
        arrived = soon(lambda: names(local_xr2) == ["bought"], within=30)
        workers.stop()
    finally:
        redis.kill()
        redis.wait()

    assert accepted
    assert took < 1
    assert failed
    assert arrived


def program(*lines: str) -> str:
    """Return a script that sends its events through Celery; ``URL`` is the broker."""
    setup = """
import atexit, json, os, sys
from celery import Celery
import xr2_web
from xr2_web.celery import install
from xr2_web.default import default
app = Celery(set_as_current=False, fixups=[])
app.conf.update(json.loads(os.environ["SHOP_CELERY"]))
install(app)
def track():
    with xr2_web.scope(trace_id="evt_1"):
        assert xr2_web.track_event("bought").accepted
"""
    return setup + "\n".join(lines)


def run(script: str, broker: dict[str, Any], folder: Path, **settings: str) -> float:
    """Run a script, and return how long it lived on after its last line."""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "SHOP_CELERY": json.dumps(broker),
        "XR2_API_KEY": "xr2_dev_k",
        "XR2_BASE_URL": "http://127.0.0.1:9",
        "XR2_OUTBOX": "celery",
        "XR2_OUTBOX_PATH": str(folder / "spool"),
        **settings,
    }
    command = [sys.executable, "-c", script + "\nprint(flush=True)"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        process.communicate(timeout=30)
        assert process.returncode == 0
        return time.monotonic() - began


def test_a_script_that_ends_at_once_hands_over_before(broker: dict[str, Any], tmp_path: Path) -> None:
    """What the client of a broker imports could be imported no more."""
    run(program("track()"), broker, tmp_path, XR2_SHUTDOWN_TIMEOUT="10")

    app = app_with(broker)
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[app.conf.task_default_queue](connection.default_channel)
        message = queue.get(no_ack=True)
    assert message is not None
    assert message.payload[0][0]["event_name"] == "bought"
    assert list((tmp_path / "spool").glob("*.sqlite3")) == []


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("when", ["track()", "default().inherit(); atexit.register(track)"], ids=["before", "at exit"])
def test_a_broker_that_hangs_does_not_hold_up_the_exit(scheme: str, when: str, tmp_path: Path) -> None:
    """Out in SHUTDOWN_TIMEOUT, and the event stays on disk.

    At exit no thread can be started, and the main thread is the one that must not wait.
    """
    with ScriptedServer(Connection.hang) as hanging:
        broker = {"broker_url": f"{scheme}://127.0.0.1:{hanging.port}//"}
        took = run(program(when), broker, tmp_path, XR2_SHUTDOWN_TIMEOUT="0.5")

    assert took < 3
    assert pending_in(tmp_path / "spool") == ["bought"]


def pending_in(folder: Path) -> list[str]:
    found = []
    for path in folder.glob("*.sqlite3"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found += [name for (name,) in connection.execute("SELECT event_name FROM events")]
    return found


def test_where_tasks_run_eagerly_events_go_to_xr2_without_any_broker(
    send_from: Callable[..., Runtime], local_xr2: LocalXr2
) -> None:
    runtime = send_from(app_with({"broker_url": "redis://127.0.0.1:9/0", "task_always_eager": True}))

    with Door(runtime).visit():
        get_prompt("welcome")
        track_event("bought")

    assert runtime.flush().left == 0
    assert names(local_xr2) == ["bought"]
