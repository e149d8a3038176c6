"""Whatever happens, nothing that the demo started outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from xr2_web.demo.failure import Failure
from xr2_web.demo.processes import Processes

from .left_running import soon_none, with_mark

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
print("ready=1", flush=True)
time.sleep(600)
"""
KILLED = f"""
import os, signal, sys
from pathlib import Path
from xr2_web.demo.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    stubborn = processes.start("stubborn", ["-c", {STUBBORN!r}], environ=os.environ, cwd=Path.cwd())
    stubborn.wait_for("ready=(.)")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def mark() -> str:
    return f"DEMO_TEST_MARK={uuid4().hex}"


@pytest.fixture
def environ(mark: str) -> dict[str, str]:
    name, value = mark.split("=")
    return {**os.environ, name: value}


def test_all_end_when_the_body_raises_even_those_that_ignore_it(tmp_path: Path, mark: str, environ) -> None:
    with pytest.raises(RuntimeError, match="in the body"), Processes(tmp_path, grace=0.2) as processes:  # noqa: PT012
        processes.start("calm", ["-c", "import time; time.sleep(600)"], environ=environ, cwd=tmp_path)
        stubborn = processes.start("stubborn", ["-c", STUBBORN], environ=environ, cwd=tmp_path)
        stubborn.wait_for("ready=(.)")
        assert len(with_mark(mark)) == 3
        raise RuntimeError("in the body")

    assert soon_none(mark)


def test_all_end_soon_when_the_demo_is_killed(tmp_path: Path, mark: str, environ) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environ, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert soon_none(mark)


def test_one_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        program = "import sys; print('no such table'); sys.exit(3)"
        process = processes.start("the app", ["-c", program], environ=os.environ, cwd=tmp_path)

        with pytest.raises(Failure, match="the app ended with code 3") as caught:
            process.wait_for("XR2_BASE_URL=(.*)")

    assert caught.value.log == ("no such table",)


def test_work_that_fails_is_told(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.start("migrate", ["-c", "raise SystemExit(2)"], environ=os.environ, cwd=tmp_path)

        with pytest.raises(Failure, match="migrate failed with code 2"):
            process.wait()


def test_nothing_is_started_any_more_once_the_end_has_begun(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        pass

    with pytest.raises(Failure, match="the demo ends"):
        processes.start("late", ["-c", ""], environ=os.environ, cwd=tmp_path)
