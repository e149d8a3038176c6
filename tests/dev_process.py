"""``xr2-web dev`` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-m", "xr2_web", "dev", "--port", "0"]


class DevProcess:
    """The process, once it has said where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.environment = dict(process.stdout.readline().strip().split("=", 1) for _ in range(2))
        self.base_url = self.environment["XR2_BASE_URL"]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """End it by a signal; return its exit code and the rest of what it wrote."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[DevProcess]:
    """Run it for a block, with its state under ``tmp_path``."""
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with subprocess.Popen(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            yield DevProcess(process)
        finally:
            process.kill()
