"""gevent's worker: a greenlet for each request, and the courier's threads are greenlets beside them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from ..scripted_server import Connection, ScriptedServer, answer
from . import commands
from .commands import skip_if_missing
from .gate import gate
from .journal import doubled, events_by_trace
from .servers import LIBRARY, probing
from .visitors import buy, new_client

VISITORS = 12
ONE_WORKER = (*commands.GEVENT, "--workers", "1", "probe.flask_probe")

TWO_CALLS = """
    import sys, time
    from xr2_web import wire
    from xr2_web.transport import Address, SyncTransport  # before gevent patches, as with --preload
    from gevent import monkey, spawn
    monkey.patch_all()

    transport = SyncTransport(Address(sys.argv[1], "xr2_dev_tests"))
    began = time.monotonic()

    def call(seconds):
        transport.send(wire.check_api_key(), began + seconds)
        return time.monotonic() - began

    quick, slow = spawn(call, 1), spawn(call, 20)
    print(quick.get())
    """

FORKED_WHILE_WAITING = """
    from gevent import monkey
    monkey.patch_all()
    import os, select, sys, time
    from gevent import sleep, spawn
    from xr2_web import wire
    from xr2_web.transport import Address, SyncTransport

    transport = SyncTransport(Address(sys.argv[1], "xr2_dev_tests"))
    calls = [spawn(transport.send, wire.check_api_key(), time.monotonic() + 10) for _ in range(10)]
    select.select([sys.stdin], [], [])  # until all have asked
    if not os.fork():
        sleep(2)
        os._exit(0)
    print("forked", flush=True)
    for call in calls:
        print(getattr(call.get(), "status", "no answer"))
    os.wait()
    """


@pytest.fixture(autouse=True)
def _gevent() -> None:
    skip_if_missing(ONE_WORKER)


def test_waiting_for_a_prompt_blocks_no_other_greenlet(
    local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    with gate(local_xr2, "/api/v1/get-prompt") as prompts:
        environ["XR2_BASE_URL"] = prompts.base_url
        with probing(ONE_WORKER, tmp_path, environ) as server, ThreadPoolExecutor(VISITORS) as pool:
            buyers = [pool.submit(buy, server) for _ in range(VISITORS)]
            prompts.wait_until_waiting(VISITORS)
            with new_client(server.base_url) as client:
                meanwhile = client.get("/quiet").text
            prompts.open()
            bought = {buyer.result() for buyer in buyers}
            server.stop()

    assert meanwhile == "no prompt here"
    assert events_by_trace(local_xr2, "purchase_completed").keys() == bought
    assert len(bought) == VISITORS
    assert doubled(local_xr2) == []
    assert server.complaints() == []


def test_delivering_blocks_no_greenlet(local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path) -> None:
    with gate(local_xr2, "/api/v1/events") as events:
        environ["XR2_BASE_URL"] = events.base_url
        with probing(ONE_WORKER, tmp_path, environ) as server:
            bought = {buy(server) for _ in range(VISITORS)}
            events.wait_until_waiting(8)
            bought.add(buy(server))
            events.open()
            server.stop()

    assert events_by_trace(local_xr2, "purchase_completed").keys() == bought
    assert doubled(local_xr2) == []
    assert server.complaints() == []


def test_each_greenlet_keeps_its_own_deadline_though_gevent_patches_late() -> None:
    with ScriptedServer(Connection.hang) as server:
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(TWO_CALLS), server.base_url],
            env={"PYTHONPATH": str(LIBRARY)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert ended.stderr == ""
    assert 1 <= float(ended.stdout) < 5


def test_greenlets_that_a_fork_has_copied_do_not_take_their_parents_answers() -> None:
    """Trap 24: the descriptors that ``network._disown_all`` takes from the child."""
    release = threading.Event()

    def after_the_fork(connection: Connection) -> None:
        connection.read_request()
        release.wait(10)
        connection.send(answer())

    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKED_WHILE_WAITING)]
    with (
        ScriptedServer(after_the_fork) as server,
        subprocess.Popen(
            [*command, server.base_url],
            env={"PYTHONPATH": str(LIBRARY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program,
    ):
        assert program.stdin is not None
        assert program.stdout is not None
        while len(server.requests) < 10 and program.poll() is None:
            server.wait(0.01)
        program.stdin.write("go on\n")
        program.stdin.flush()
        forked = program.stdout.readline()
        release.set()
        statuses, _ = program.communicate(timeout=30)

    assert forked == "forked\n"
    assert statuses.split() == ["200"] * 10
    assert len(server.requests) == 10
