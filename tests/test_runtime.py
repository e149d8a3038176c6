"""The lifetime of a runtime: background delivery, close, exit and fork, against a real server."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import xr2_web
from xr2_web import settings
from xr2_web.client import xR2Client
from xr2_web.courier import SEND_TIMEOUT
from xr2_web.outbox import Entry, Put
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.runtime import Runtime

from .local_xr2 import LocalXr2
from .scripted_server import Connection, ScriptedServer, answer, each_request


def make_runtime(**keywords: object) -> Runtime:
    return Runtime(settings.load(settings.keywords({"api_key": "xr2_dev_tests", **keywords})))


@pytest.fixture
def runtime(local_xr2: LocalXr2) -> Iterator[Runtime]:
    runtime = make_runtime(base_url=local_xr2.base_url)
    yield runtime
    runtime.close()


@pytest.fixture
def trace_id(local_xr2: LocalXr2) -> str:
    with xR2Client(local_xr2.api_key, base_url=local_xr2.base_url) as client:
        return client.get_prompt(slug="welcome").unwrap().trace_id or ""


def track(runtime: Runtime, trace_id: str, name: str = "sign_up") -> xr2_web.Receipt:
    with xr2_web.scope(runtime=runtime, trace_id=trace_id):
        return xr2_web.track_event(name)


def run_script(local_xr2: LocalXr2, trace_id: str, body: str) -> subprocess.CompletedProcess[str]:
    """Run ``body`` in an interpreter of its own, with ``track(name)`` at hand."""
    head = f"""
        import os, sys, atexit, threading, time, xr2_web
        runtime = xr2_web.configure(api_key="xr2_dev_tests", base_url={local_xr2.base_url!r}, shutdown_timeout=30)

        def track(name):
            with xr2_web.scope(trace_id={trace_id!r}):
                return xr2_web.track_event(name)
        """
    code = textwrap.dedent(head) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)


def names(local_xr2: LocalXr2) -> list[str]:
    return sorted(event["event_name"] for event in local_xr2.events())


def test_events_are_delivered_in_the_background(runtime: Runtime, local_xr2: LocalXr2, trace_id: str) -> None:
    receipts = [track(runtime, trace_id, f"event_{number}") for number in range(50)]

    flushed = runtime.flush(10)

    assert all(receipts)
    assert (flushed.refused, flushed.left) == (0, 0)
    assert len(local_xr2.events()) == 50
    assert runtime.counts["delivered"] == 50


def test_an_event_whose_answer_is_slow_holds_up_no_later_one() -> None:
    is_held, has_arrived = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        connection.read_request()
        is_held.set()
        connection.hang()

    def arrive(connection: Connection) -> None:
        connection.read_request()
        has_arrived.set()

    with ScriptedServer(hold, arrive) as server:
        runtime = make_runtime(base_url=server.base_url)
        track(runtime, "evt_1")
        assert is_held.wait(5)
        track(runtime, "evt_2")

        # Well before the first is given up.
        assert has_arrived.wait(SEND_TIMEOUT / 2)

        runtime.close(0)


def test_no_thread_runs_before_the_first_event(runtime: Runtime) -> None:
    before = threading.active_count()

    with xr2_web.scope(runtime=runtime):
        xr2_web.track_event("sign_up")

    assert threading.active_count() == before


def test_the_courier_runs_in_an_empty_context(local_xr2: LocalXr2, trace_id: str) -> None:
    from xr2_web.scope import bound

    seen: list[object] = []

    class Watching(MemoryOutbox):
        def claim(self) -> object:  # type: ignore[override]
            seen.append(bound())
            return super().claim()

    runtime = make_runtime(base_url=local_xr2.base_url, outbox=lambda chosen: Watching(10))
    track(runtime, trace_id)

    runtime.flush(10)
    runtime.close()

    assert seen
    assert set(seen) == {None}


def test_flush_at_the_top_is_that_of_the_scope_at_hand_else_of_the_process_default(
    local_xr2: LocalXr2, runtime: Runtime
) -> None:
    default = xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)
    with xr2_web.scope(runtime=runtime):
        xr2_web.get_prompt("welcome")
        xr2_web.track_event("sign_up")
        of_the_scope = xr2_web.flush(5)
    with xr2_web.scope(runtime=default):
        xr2_web.get_prompt("welcome")
        xr2_web.track_event("sign_up")
        xr2_web.track_event("paid")

    of_the_default = xr2_web.flush(5)

    assert of_the_scope.left == of_the_default.left == 0
    assert of_the_scope
    assert len(local_xr2.events()) == 3


def test_a_flush_that_leaves_events_is_false() -> None:
    runtime = make_runtime(base_url="http://127.0.0.1:9")
    with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
        xr2_web.track_event("sign_up")

        flushed = xr2_web.flush(0.05)

    assert not flushed
    assert flushed.left == 1
    runtime.close(0)


def test_flush_says_what_was_refused_and_what_is_left(local_xr2: LocalXr2, runtime: Runtime) -> None:
    track(runtime, "evt_unknown")
    refused = runtime.flush(10)
    stuck = make_runtime(base_url="http://127.0.0.1:9")
    track(stuck, "evt_1")
    left = stuck.flush(0.2)
    stuck.close(0)

    assert (refused.delivered, refused.left) == (0, 0)
    assert runtime.counts["refused"] == 1
    assert left == (0, 0, 1)


def test_close_delivers_and_a_later_event_starts_anew(runtime: Runtime, local_xr2: LocalXr2, trace_id: str) -> None:
    track(runtime, trace_id, "before")
    runtime.close()
    after_close = names(local_xr2)
    track(runtime, trace_id, "after")

    runtime.flush(10)

    assert after_close == ["before"]
    assert names(local_xr2) == ["after", "before"]


@pytest.mark.parametrize(
    ("outbox", "then"), [("spool", "kept: the next process sends them"), ("memory", "lost: OUTBOX is memory")]
)
def test_close_is_bounded_and_tells_what_it_leaves(caplog: pytest.LogCaptureFixture, outbox: str, then: str) -> None:
    runtime = make_runtime(base_url="http://127.0.0.1:9", shutdown_timeout=0.3, outbox=outbox)
    for number in range(20):
        track(runtime, f"evt_{number}")
    start = time.monotonic()

    runtime.close()

    assert time.monotonic() - start < 1.0
    assert f"xr2_web.events_left: 20 undelivered at the end, and {then}" in caplog.text


def test_events_that_the_disk_did_not_take_are_told_as_lost(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    runtime = make_runtime(base_url="http://127.0.0.1:9", shutdown_timeout=0.1, outbox_path=tmp_path / "file")
    track(runtime, "evt_1")

    runtime.close()

    assert "xr2_web.events_left: 1 undelivered at the end, and lost: the outbox failed" in caplog.text
    assert "kept" not in caplog.text


def test_closing_what_never_started_does_nothing() -> None:
    make_runtime().close()


def test_threads_end_with_close(local_xr2: LocalXr2, trace_id: str) -> None:
    runtime = make_runtime(base_url=local_xr2.base_url)
    for number in range(100):
        track(runtime, trace_id, f"event_{number}")
    runtime.flush(10)

    runtime.close()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("xr2-courier")]


def test_a_full_outbox_refuses_with_a_receipt(local_xr2: LocalXr2) -> None:
    runtime = make_runtime(base_url="http://127.0.0.1:9", outbox_max_events=1)
    receipts = [track(runtime, "evt_1"), track(runtime, "evt_2")]
    runtime.close(0)

    assert [receipt.reason for receipt in receipts] == [None, "full"]
    assert runtime.counts["full"] == 1


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no such signal here")
def test_a_time_limit_that_is_over_in_the_outbox_is_the_tasks() -> None:
    class TimeIsUp(Exception):
        pass

    class Limit:
        def is_over(self, *_: object) -> None:
            raise TimeIsUp

    class Slow(MemoryOutbox):
        def put(self, entry: Entry) -> Put:
            signal.raise_signal(signal.SIGALRM)
            return super().put(entry)

    runtime = make_runtime(base_url="http://127.0.0.1:9", outbox=lambda chosen: Slow(10))
    before = signal.signal(signal.SIGALRM, Limit().is_over)
    try:
        with pytest.raises(TimeIsUp):
            track(runtime, "evt_1")
    finally:
        signal.signal(signal.SIGALRM, before)
        runtime.close(0)


def test_an_outbox_can_be_given_by_its_dotted_path(local_xr2: LocalXr2, trace_id: str) -> None:
    runtime = make_runtime(base_url=local_xr2.base_url, outbox=f"{__name__}.SmallOutbox")

    track(runtime, trace_id)
    runtime.flush(10)
    runtime.close()

    assert names(local_xr2) == ["sign_up"]


class SmallOutbox(MemoryOutbox):
    """Takes the settings, as an outbox of one's own does."""

    def __init__(self, chosen: settings.Settings) -> None:
        super().__init__(most_events=2)


def test_a_missing_key_turns_everything_off_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    runtime = make_runtime(api_key=None)

    receipts = [track(runtime, "evt_1"), track(runtime, "evt_1")]

    assert [receipt.reason for receipt in receipts] == ["disabled", "disabled"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "API_KEY is not set" in caplog.text


def test_the_key_is_not_in_what_is_printed_of_a_runtime(runtime: Runtime) -> None:
    assert "xr2_dev_tests" not in repr(runtime)


def test_waiting_events_are_delivered_at_exit(local_xr2: LocalXr2, trace_id: str) -> None:
    done = run_script(
        local_xr2,
        trace_id,
        """
        for number in range(200):
            assert track(f"event_{number}")
        """,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(local_xr2.events()) == 200


def test_an_exception_that_ends_the_program_loses_nothing(local_xr2: LocalXr2, trace_id: str) -> None:
    done = run_script(local_xr2, trace_id, 'track("before"); raise SystemExit(3)')

    assert done.returncode == 3
    assert names(local_xr2) == ["before"]


def test_exit_does_not_wait_for_a_server_that_is_away() -> None:
    code = """
        import xr2_web
        xr2_web.configure(api_key="k", base_url="http://127.0.0.1:9", shutdown_timeout=0.5)
        with xr2_web.scope(trace_id="evt_1"):
            xr2_web.track_event("sign_up")
        """
    start = time.monotonic()

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 0
    assert done.stderr == "xr2_web.events_left: 1 undelivered at the end, and kept: the next process sends them\n"
    assert time.monotonic() - start < 5


def test_sigterm_with_a_handler_that_exits_delivers(local_xr2: LocalXr2, trace_id: str) -> None:
    done = run_script(
        local_xr2,
        trace_id,
        """
        import signal
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        for number in range(100):
            track(f"event_{number}")
        os.kill(os.getpid(), signal.SIGTERM)
        """,
    )

    assert done.returncode == 0
    assert len(local_xr2.events()) == 100


def test_each_of_two_keys_sends_its_own_events_only() -> None:
    """Trap 35, as far as memory goes: staging beside production. Each `Process` has its own outbox and courier."""
    said = {"status": "success", "event_id": "1", "trace_id": "evt_1", "event_name": "with", "is_duplicate": False}
    taken = each_request(answer(body=json.dumps({**said, "timestamp": "2026-01-01T00:00:00Z"}).encode()))
    keys = ["key_of_staging", "key_of_production"]
    with ScriptedServer(taken) as server:
        runtimes = [make_runtime(api_key=key, base_url=server.base_url) for key in keys]
        for key, runtime in zip(keys, runtimes, strict=True):
            track(runtime, "evt_1", f"with_{key}")
        for runtime in runtimes:
            runtime.close()

    sent = {request.headers["authorization"]: json.loads(request.body)["event_name"] for request in server.requests}
    assert sent == {f"Bearer {key}": f"with_{key}" for key in keys}
    assert len(server.requests) == len(keys)


class TestFork:
    """Trap 24, as far as memory goes: each process delivers what it accepted, once."""

    def test_parent_and_child_deliver_their_own_events_once(self, local_xr2: LocalXr2, trace_id: str) -> None:
        done = run_script(
            local_xr2,
            trace_id,
            """
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            for number in range(50):
                track(f"parent_{number}")
            child = os.fork()
            for number in range(50):
                track(f"{'parent_late' if child else 'child'}_{number}")
            if child:
                assert os.waitpid(child, 0)[1] == 0
            """,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert len(local_xr2.events()) == 150
        assert sum(len(trace["events"]) for trace in local_xr2.traces()) == 150

    def test_a_child_that_tracks_nothing_sends_nothing(self, local_xr2: LocalXr2, trace_id: str) -> None:
        done = run_script(
            local_xr2,
            trace_id,
            """
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            for number in range(20):
                track(f"event_{number}")
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
            """,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert sum(len(trace["events"]) for trace in local_xr2.traces()) == 20

    def test_a_fork_while_threads_track_leaves_no_lock_held(self, local_xr2: LocalXr2, trace_id: str) -> None:
        done = run_script(
            local_xr2,
            trace_id,
            """
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            goes_on = True

            def busy():
                while goes_on:
                    track("same")

            threads = [threading.Thread(target=busy, daemon=True) for _ in range(3)]
            for thread in threads:
                thread.start()
            for number in range(20):
                child = os.fork()
                if not child:
                    track(f"child_{number}")
                    runtime.close()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            goes_on = False
            """,
        )

        assert done.returncode == 0, done.stderr
        assert names(local_xr2) == sorted([*(f"child_{number}" for number in range(20)), "same"])
