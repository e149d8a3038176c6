"""gevent's worker: a greenlet for each request, and the courier's threads are greenlets beside them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from ..scripted_server import Connection, ScriptedServer
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
