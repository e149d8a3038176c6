"""``xr2-web dev`` as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ..dev_process import COMMAND, running

KEY = {"Authorization": "Bearer xr2_dev_local"}


def fetch(base_url: str) -> httpx.Response:
    body = {"slug": "welcome", "source_name": "tests"}
    return httpx.post(f"{base_url}/api/v1/get-prompt", json=body, headers=KEY)


def trace_count(base_url: str) -> int:
    return len(httpx.get(f"{base_url}/api/local/traces").json()["traces"])


def test_it_prints_the_environment_to_use_and_serves_a_sample(tmp_path: Path) -> None:
    with running(tmp_path, "--ephemeral") as server:
        assert server.environment["XR2_API_KEY"] == "xr2_dev_local"
        assert fetch(server.base_url).status_code == 200
        assert httpx.get(f"{server.base_url}/health").json()["ok"] is True


def test_it_serves_the_folder_and_follows_its_changes(tmp_path: Path) -> None:
    (tmp_path / "welcome.prompt").write_text("Hi")

    with running(tmp_path, "--ephemeral", "--prompts", str(tmp_path)) as server:
        before = fetch(server.base_url).json()["user_prompt"]
        (tmp_path / "welcome.prompt").write_text("Hello there")
        after = fetch(server.base_url).json()["user_prompt"]
        (tmp_path / "welcome.prompt").write_text("---\nbroken")
        fetch(server.base_url)
        _, _, err = server.end()

    assert (before, after) == ("Hi", "Hello there")
    assert "welcome.prompt: the front matter has no closing line of ---" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(tmp_path: Path, number: int) -> None:
    with running(tmp_path, "--ephemeral") as server:
        fetch(server.base_url)
        code, out, err = server.end(number)

    assert (code, out) == (0, "")
    assert [line.split()[0] for line in err.splitlines()] == ["The", "What"]


def test_a_signal_right_at_the_start_ends_it_quietly(tmp_path: Path) -> None:
    with running(tmp_path, "--ephemeral") as server:
        code, _, err = server.end()

    assert code == 0
    assert "Traceback" not in err


def test_traces_outlive_it_unless_it_is_ephemeral(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        fetch(server.base_url)
        server.end()
    with running(tmp_path) as kept:
        assert trace_count(kept.base_url) == 1
    with running(tmp_path, "--ephemeral") as ephemeral:
        assert trace_count(ephemeral.base_url) == 0


def test_state_is_kept_for_its_user_only_and_for_each_folder(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        fetch(server.base_url)
        with running(tmp_path, "--prompts", str(tmp_path)) as other:
            assert trace_count(other.base_url) == 0

    folder = tmp_path / "state" / "xr2-web"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.glob("local-*.sqlite3"))) == 2


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run([*COMMAND, "--ephemeral", "--port", port], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"Error: cannot listen on 127.0.0.1, port {port}: Address already in use")
    assert len(ended.stderr.splitlines()) == 1


def test_state_that_cannot_be_kept_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}

    ended = subprocess.run(COMMAND, capture_output=True, text=True, check=False, env=environ)

    assert ended.returncode == 1
    assert "--ephemeral" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_state_that_is_none_is_named(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.end()
    [state] = tmp_path.rglob("local-*.sqlite3")
    state.write_text("no database")
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}

    ended = subprocess.run(COMMAND, capture_output=True, text=True, check=False, env=environ, timeout=30)

    assert ended.returncode == 1
    assert f"the state cannot be kept in {state}: " in ended.stderr


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from xr2_web.cli import main; main(['dev', '--ephemeral'])"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == "Error: uvicorn is missing: pip install 'xr2-web[dev]'\n"


def test_beyond_loopback_it_answers_under_any_name_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, "--ephemeral", "--host", "0.0.0.0") as server:
        _, _, port = server.base_url.rpartition(":")
        foreign = httpx.get(f"{server.base_url}/health", headers={"Host": "build.example"})
        _, _, err = server.end()

    assert server.base_url == f"http://127.0.0.1:{port}"
    assert foreign.status_code == 200
    assert "Whoever reaches this address can read that page and steer this server." in err


def test_ipv6_loopback_is_guarded_too(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    with running(tmp_path, "--ephemeral", "--host", "::1") as server:
        own = httpx.get(f"{server.base_url}/health")
        foreign = httpx.get(f"{server.base_url}/health", headers={"Host": "evil.example"})

    assert server.base_url.startswith("http://[::1]:")
    assert (own.status_code, foreign.status_code) == (200, 400)


def test_importing_the_package_or_the_command_line_loads_no_server() -> None:
    program = "import sys, xr2_web, xr2_web.cli; print({'starlette', 'uvicorn', 'jinja2'} & set(sys.modules))"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout == "set()\n"
