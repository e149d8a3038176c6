"""What breaks on demand: in the application, and under a real server with raw sockets."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import random
from subprocess import PIPE
from threading import Event, Thread

import httpx
import pytest

from xr2_web.client import xR2Client
from xr2_web.devserver import Library, Store, create_app, serving
from xr2_web.devserver.chaos import Chaos, Fault, parse
from xr2_web.errors import ConfigurationError

from ..dev_process import COMMAND, DevProcess, running
from .conftest import NOW, Visitor

CHAOS = "/api/local/chaos"
FETCH = json.dumps({"slug": "welcome", "source_name": "tests"}).encode()


def broken(visitor: Visitor, faults: object) -> None:
    """Put ``faults`` in force."""
    answer = visitor.http.put(CHAOS, json=faults)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ("503:0.1", {"503": Fault(0.1)}),
        ("429:1,slow:0.5", {"429": Fault(1, 300), "slow": Fault(0.5, 2)}),
        (" 429:0.2:30s, slow:1:500ms ,reset:0", {"429": Fault(0.2, 30), "slow": Fault(1, 0.5), "reset": Fault(0)}),
        ("slow:1:1.5m,silent:.5,quota:.25,revoked:.25", None),
        (",".join(f"{status}:0.1" for status in (400, 401, 403, 404, 422, 429, 500, 502, 503, 504)), None),
    ],
)
def test_a_spec_names_faults_their_rates_and_how_long_they_last(spec: str, faults: dict[str, Fault] | None) -> None:
    parsed = parse(spec)

    assert len(parsed) == spec.count(",") + 1
    assert faults is None or parsed == faults


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("", "no such fault"),
        ("slwo:0.1", "did you mean slow"),
        ("200:0.1", "no such fault"),
        ("499:0.1", "no such fault"),
        ("503", "503: the rate is a number from 0 to 1, not ''"),
        ("503:often", "not 'often'"),
        ("503:1.1", r"not 1\.1"),
        ("503:-0.1", r"not -0\.1"),
        ("503:nan", "not nan"),
        ("503:0.1:2s", "only slow and 429 take seconds"),
        ("slow:0.1:soon", "not 'soon'"),
        ("slow:0.1:2h", "from 0 to 3600 seconds"),
        ("slow:0.1:2s:3s", "not '2s:3s'"),
        ("503:0.6,reset:0.5", r"add up to 1\.1"),
        ("503:0.1,503:0.2", "503 is given twice"),
        ("bad:0.1,503:2", "bad.*503"),
    ],
)
def test_a_wrong_spec_is_refused_with_all_that_is_wrong(spec: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse(spec)


def test_faults_are_drawn_at_their_rates() -> None:
    draws = iter(each / 10 for each in range(10))
    chaos = Chaos(parse("503:0.2,reset:0.3"), chance=lambda: next(draws))

    drawn = [fault and fault[0] for fault in (chaos.fault() for _ in range(10))]

    assert drawn == ["503"] * 2 + ["reset"] * 3 + [None] * 5


def test_slow_is_drawn_on_its_own() -> None:
    draws = iter([0.0, 0.0, 0.5, 0.9])
    chaos = Chaos(parse("slow:0.5:3s,503:0.9"), chance=lambda: next(draws))

    assert (chaos.delay(), chaos.fault()) == (3, ("503", Fault(0.9)))
    assert (chaos.delay(), chaos.fault()) == (0, None)


def test_nothing_is_drawn_where_nothing_breaks() -> None:
    chaos = Chaos(chance=lambda: 1 / 0)

    assert (chaos.delay(), chaos.fault()) == (0, None)


def test_what_breaks_is_set_told_and_ended_at_run_time(visitor: Visitor) -> None:
    before = visitor.http.get(CHAOS).json()
    put = visitor.http.put(CHAOS, json={"503": 1, "slow": {"rate": 0, "seconds": "500ms"}, "429": 0})
    told, failed = visitor.http.get(CHAOS).json(), visitor.fetch()
    ended = visitor.http.delete(CHAOS)

    assert before == ended.json() == {}
    faults = {"503": 1, "slow": {"rate": 0, "seconds": 0.5}, "429": 0}
    assert put.json() == told == faults
    assert visitor.http.put(CHAOS, json=told).json() == told
    assert failed.status_code == 503
    visitor.http.delete(CHAOS)
    assert visitor.fetch().status_code == 200


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ('{"slwo": 1}', ["did you mean slow"]),
        ('{"503": true, "500": "1"}', ["not True", "not '1'"]),
        ('{"503": 1, "500": 1}', ["add up to 2"]),
        ('{"slow": {"rate": 1, "second": 2}}', ["not 'second'"]),
        ('{"slow": {"rate": 1, "seconds": true}}', ["not True"]),
        ('{"slow": {"seconds": 1}}', ["not None"]),
        ('{"slow": {"rate": 1, "seconds": -1}}', ["from 0 to 3600 seconds"]),
        ("[]", ["should be an object"]),
        ("{", ["JSON decode error"]),
    ],
)
def test_faults_that_do_not_validate_are_a_422_and_change_nothing(
    visitor: Visitor, body: str, problems: list[str]
) -> None:
    broken(visitor, {"503": 0.5})

    answer = visitor.http.put(CHAOS, content=body)

    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == len(problems)
    assert all(problem in each["msg"] for problem, each in zip(problems, answer.json()["detail"], strict=True))
    assert visitor.http.get(CHAOS).json() == {"503": 0.5}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422, 429, 500, 503])
def test_a_status_comes_with_a_body_of_xr2_and_nothing_is_processed(visitor: Visitor, status: int) -> None:
    broken(visitor, {str(status): 1})

    answer = visitor.fetch()

    assert answer.status_code == status
    assert answer.json()["detail"]
    assert visitor.journal()["traces"] == []


def test_too_many_requests_says_when_to_come_back(visitor: Visitor) -> None:
    broken(visitor, {"429": {"rate": 1, "seconds": 1.2}})

    answer = visitor.fetch()

    assert answer.headers["Retry-After"] == "2"
    assert answer.json() == {"detail": "Too many requests", "retry_after": 2}


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_answers_in_html(visitor: Visitor, status: int) -> None:
    broken(visitor, {str(status): 1})

    answer = visitor.fetch()

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert str(status) in answer.text


def test_a_used_up_quota_ends_prompt_fetches_and_nothing_else(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    broken(visitor, {"quota": 1})

    refused, taken = visitor.fetch(), visitor.send(trace_id)

    assert (refused.status_code, taken.status_code) == (429, 200)
    assert "Retry-After" not in refused.headers
    detail = refused.json()["detail"]
    assert (detail["current_usage"], detail["max_requests_per_day"]) == (100, 100)
    assert detail["reset_time"] == "2027-01-16T00:00:00+00:00"
    assert detail["error"]
    assert detail["message"]


def test_a_revoked_key_is_refused_everywhere(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    broken(visitor, {"revoked": 1})

    answers = [visitor.fetch(), visitor.send(trace_id), visitor.http.get("/api/v1/check-api-key")]

    assert [each.status_code for each in answers] == [401] * 3
    assert all("API key" in each.json()["detail"] for each in answers)


def test_only_the_endpoints_of_xr2_break(visitor: Visitor) -> None:
    broken(visitor, {"503": 1})

    assert [visitor.http.get(path).status_code for path in ("/", "/health", "/api/local/traces", CHAOS)] == [200] * 4


def test_faults_are_given_to_the_application_too(tmp_path: Path, store: Store) -> None:
    draws = iter([0.1, 0.9])
    visitor = Visitor(tmp_path, store, chaos=Chaos(parse("503:0.5"), chance=lambda: next(draws)))
    visitor.write(welcome="Hi")

    assert [visitor.fetch().status_code, visitor.fetch().status_code] == [503, 200]


def test_a_slow_answer_is_the_right_one_and_late(visitor: Visitor) -> None:
    broken(visitor, {"slow": {"rate": 1, "seconds": "200ms"}})

    began = time.monotonic()
    answer = visitor.fetch()

    assert time.monotonic() - began >= 0.2
    assert answer.status_code == 200


def test_a_reset_without_a_server_that_can_is_an_error_of_the_application(visitor: Visitor) -> None:
    broken(visitor, {"reset": 1})

    with pytest.raises(ConnectionResetError, match="chaos"):
        visitor.fetch()


@contextmanager
def served(
    tmp_path: Path, store: Store, spec: str, *, chance: Callable[[], float] = random
) -> Iterator[tuple[str, int]]:
    """Serve ``welcome`` with faults from a thread; yields host and port."""
    (tmp_path / "welcome.prompt").write_text("Hi")
    app = create_app(Library(tmp_path), store=store, chaos=Chaos(parse(spec), chance=chance), clock=lambda: NOW)
    server = serving.make_server(app)
    with serving.listen("127.0.0.1", 0) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()


def ask(address: tuple[str, int]) -> socket.socket:
    """Send a fetch over a raw socket."""
    head = f"POST /api/v1/get-prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(FETCH)}\r\n"
    connection = socket.create_connection(address, timeout=5)
    connection.sendall(f"{head}Authorization: Bearer xr2_dev_1\r\n\r\n".encode() + FETCH)
    return connection


def test_a_reset_is_a_reset_of_the_connection_and_nothing_is_processed(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        served(tmp_path, store, "reset:1") as address,
        closing(ask(address)) as connection,
        pytest.raises(ConnectionResetError),
    ):
        connection.recv(1)

    assert store.history()[0] == []
    assert capsys.readouterr().err == ""


def test_silence_is_processed_and_never_answered(tmp_path: Path, store: Store) -> None:
    with served(tmp_path, store, "silent:1") as address, closing(ask(address)) as connection:
        while not store.history()[0]:
            time.sleep(0.01)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.mark.parametrize("spec", ["silent:1", "slow:1:1h"])
def test_the_server_ends_at_once_while_somebody_waits(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str], spec: str
) -> None:
    arrived = Event()
    with served(tmp_path, store, spec, chance=lambda: float(arrived.set() or 0)) as address:
        connection = ask(address)
        assert arrived.wait(5)

    with closing(connection):
        assert connection.recv(1) == b""
    assert capsys.readouterr().err == ""


def test_who_leaves_during_the_silence_leaves_no_trace_in_the_log(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(tmp_path, store, "silent:1") as address:
        connection = ask(address)
        while not store.history()[0]:
            time.sleep(0.01)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    assert capsys.readouterr().err == ""


def test_a_connection_goes_on_after_a_bad_answer(tmp_path: Path, store: Store) -> None:
    with served(tmp_path, store, "503:1") as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as client:
        first = client.get("/api/v1/check-api-key")
        client.delete(CHAOS)
        second = client.get("/api/v1/check-api-key", headers={"Authorization": "Bearer xr2_dev_1"})

    assert (first.status_code, second.status_code) == (503, 200)
    assert first.extensions["network_stream"] is second.extensions["network_stream"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("reset:1", 0), ("429:1", 429), ("quota:1", 429), ("revoked:1", 401), ("502:1", 502), ("500:1", 500)],
)
def test_the_client_of_this_library_tells_each_fault(tmp_path: Path, store: Store, spec: str, expected: int) -> None:
    with (
        served(tmp_path, store, spec) as (host, port),
        xR2Client(api_key="xr2_dev_1", base_url=f"http://{host}:{port}", total_retries=0) as client,
    ):
        response = client.get_prompt(slug="welcome")

    assert (response.ok, response.status_code) == (False, expected)
    assert (response.reset_time == "2027-01-16T00:00:00+00:00") is (spec == "quota:1")
    assert (response.retry_after == 300) is (spec == "429:1")


def test_the_command_takes_faults_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, "--ephemeral", "--chaos", "503:1") as server:
        status = httpx.get(f"{server.base_url}/api/v1/check-api-key").status_code
        code, _, err = server.end(signal.SIGINT)

    assert (status, code) == (503, 0)
    assert "It breaks on purpose: 503:1" in err


def test_without_httptools_it_breaks_alike(tmp_path: Path) -> None:
    options = ["dev", "--port", "0", "--ephemeral", "--chaos", "reset:1"]
    program = f"import sys; sys.modules['httptools'] = None; from xr2_web.cli import main; main({options})"

    with subprocess.Popen([sys.executable, "-c", program], stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            server = DevProcess(process)
            address = ("127.0.0.1", int(server.base_url.rpartition(":")[2]))
            with closing(ask(address)) as cut, pytest.raises(ConnectionResetError):
                cut.recv(1)
            httpx.put(f"{server.base_url}{CHAOS}", json={"silent": 1})
            with closing(ask(address)) as waiting:
                while not httpx.get(f"{server.base_url}/api/local/traces").json()["traces"]:
                    time.sleep(0.01)
                code, _, err = server.end()
                assert waiting.recv(1) == b""
        finally:
            process.kill()

    assert code == 0
    assert [line.split()[0] for line in err.splitlines()] == ["The", "What", "It"]


def test_a_wrong_spec_on_the_command_line_is_one_line_and_exit_code_1() -> None:
    command = [*COMMAND, "--ephemeral", "--chaos", "503:2"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Error: chaos: 503: the rate is a number from 0 to 1, not 2.0\n"
