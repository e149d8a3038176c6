"""``xr2-web demo`` as its users run it: the real command, servers, examples and HTTP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

import xr2_web
from xr2_web.demo.examples import EXAMPLES, find_projects, missing

from .left_running import soon_none, with_mark

MARK = f"DEMO_TEST_MARK={uuid4().hex}"
SHOP_EVENTS = [("sign_up", "welcome"), ("purchase_completed", "product")]
EVENTS = {
    "django": SHOP_EVENTS,
    "flask": SHOP_EVENTS,
    "starlette": SHOP_EVENTS,
    "fastapi": [("answer_liked", "assistant")],
}


def skip_without(framework: str) -> None:
    if lacking := missing([each for each in EXAMPLES if each.framework == framework]):
        pytest.skip(f"{', '.join(lacking)} not installed")


def command(framework: str, *options: str) -> list[str]:
    skip_without(framework)
    return [sys.executable, "-m", "xr2_web", "demo", "--framework", framework, *options]


def environ(folder: Path) -> dict[str, str]:
    name, value = MARK.split("=")
    return {**os.environ, "TMPDIR": str(folder), "XR2_ENABLED": "false", name: value}


def demo(folder: Path, framework: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo from the folder, to its end."""
    return subprocess.run(
        command(framework, *options),
        cwd=folder,
        env=environ(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ended(folder: Path) -> bool:
    """Tell whether nothing is left of the demo, neither processes nor files."""
    return soon_none(MARK) and not list(folder.glob("xr2-web-demo-*"))


@pytest.mark.parametrize("framework", [each.framework for each in EXAMPLES])
def test_each_visitors_events_arrive_under_the_visitors_own_traces(framework: str, tmp_path: Path) -> None:
    shown = demo(tmp_path, framework, "--json")

    assert (shown.returncode, shown.stderr) == (0, ""), shown.stdout
    told = json.loads(shown.stdout)
    assert told["ok"] is True
    [example] = told["examples"]
    arrived = {visitor: events_of(visitor, example) for visitor in ("Ada", "Ben")}
    for events in arrived.values():
        assert [(each["event_name"], each["slug"]) for each in events] == EVENTS[framework]
        assert len({(each["user_id"], each["session_id"]) for each in events}) == 1
    assert len({each["trace_id"] for events in arrived.values() for each in events}) == 2 * len(EVENTS[framework])
    assert ended(tmp_path)


def events_of(visitor: str, example: dict) -> list[dict]:
    return [each["arrived"] for each in example["events"] if each["visitor"] == visitor]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the package with its examples beside it, to spoil; a wheel has them inside of the package."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.sqlite3", "example_projects")
    shutil.copytree(Path(xr2_web.__file__).parent, tmp_path / "xr2_web", ignore=unwanted)
    shutil.copytree(find_projects(), tmp_path / "example_projects", ignore=unwanted)
    return tmp_path


def test_a_shop_that_sends_something_else_is_told_in_words(clone: Path) -> None:
    spoil(clone / "example_projects/flask_shop/shop/__init__.py", '"currency": "EUR"', '"currency": "USD"')

    shown = demo(clone, "flask")

    assert shown.returncode == 1
    assert "✗ Ada    purchase_completed  product v1" in shown.stdout
    assert "✗ Ada's purchase_completed arrived with 48.00 USD; 48.00 EUR was expected." in shown.stdout
    assert "✓ Ben    sign_up" in shown.stdout
    assert "✗ Not as expected: flask." in shown.stdout
    assert ended(clone)


def test_an_app_that_does_not_start_is_told_with_its_last_lines(clone: Path) -> None:
    spoil(clone / "example_projects/flask_shop/shop/__init__.py", "xr2 = Xr2()", 'raise RuntimeError("no tea")')

    shown = demo(clone, "flask")

    assert shown.returncode == 1
    assert "✗ gunicorn of flask ended with code" in shown.stdout
    assert "RuntimeError: no tea" in shown.stdout


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@contextmanager
def running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demo of the Flask shop, and yield it once it has said that it is under way."""
    with subprocess.Popen(
        command("flask", *options), cwd=folder, env=environ(folder), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert "Two visitors" in process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_everything_that_it_started(self, tmp_path: Path, number: int) -> None:
        if signal.getsignal(number) is signal.SIG_IGN:
            pytest.skip("this signal is ignored here, and so it stays for the demo")
        with running(tmp_path) as process:
            wait_for_process("gunicorn")
            process.send_signal(number)
            code = process.wait(20)

        assert code == 128 + number
        assert ended(tmp_path)

    def test_it_can_be_kept_running_until_a_signal(self, tmp_path: Path) -> None:
        with running(tmp_path, "--keep") as process:
            app, xr2 = (next(line for line in process.stdout if "http://" in line) for _ in range(2))
            assert len(with_mark(MARK)) >= 5
            page = httpx.get(xr2.split()[-1], trust_env=False).text
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)

        assert (app.split()[0], xr2.split()[:2]) == ("flask", ["what", "arrived"])
        assert [text for text in ("flask_shop", "sign_up", "48 EUR", "shorter: version_b") if text not in page] == []
        assert code == 0
        assert ended(tmp_path)

    def test_killed_hard_it_is_outlived_by_nobody_for_long(self, tmp_path: Path) -> None:
        with running(tmp_path, "--keep") as process:
            next(line for line in process.stdout if "http://" in line)
            process.kill()
            process.wait(20)

        assert soon_none(MARK)


def wait_for_process(name: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not any(name in each for each in with_mark(MARK)):
        assert time.monotonic() < deadline, f"there is no {name}"


def test_what_is_missing_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name: None if name in ('gunicorn', 'flask') else find(name)\n"
        "from xr2_web.cli import main; main(['demo', '--json'])"
    )

    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Error: gunicorn, flask are missing: pip install 'xr2-web[demo]'\n"
