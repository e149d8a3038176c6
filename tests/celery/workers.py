"""Workers in processes of their own, and the broker between them and the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from celery import Celery

import xr2_web

from .project.whole_files import Transport

PROJECT = Path(__file__).parent / "project"
LIBRARY = Path(xr2_web.__file__).parents[1]


def on_disk(folder: Path) -> dict[str, Any]:
    """Return the configuration of Celery for a broker that needs no service."""
    for name in ("messages", "control", "processed"):
        (folder / name).mkdir()
    return {
        "broker_transport": "whole_files:Transport",
        "broker_transport_options": {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "processed_folder": str(folder / "processed"),
            "store_processed": True,
            "polling_interval": 0.02,
        },
    }


class Worker:
    """A worker of the project ``shop`` in a process of its own."""

    def __init__(
        self, configuration: Mapping[str, Any], folder: Path, environ: Mapping[str, str], *options: str
    ) -> None:
        self._log = folder / "worker.log"
        self._is_asked = False
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "shop", "worker", "--loglevel", "INFO", *quiet, *options],
                cwd=folder,
                env={
                    # Without the settings module of Django that other tests name.
                    **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
                    "PYTHONPATH": os.pathsep.join([str(PROJECT), str(LIBRARY)]),
                    "SHOP_CELERY": json.dumps({"broker_connection_retry_on_startup": True, **configuration}),
                    **environ,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def begin_to_stop(self) -> None:
        """Ask for the warm shutdown, once: at the second signal a worker may just die of it."""
        if not self._is_asked:
            self._is_asked = True
            self._process.terminate()

    def stop(self) -> None:
        """Wait for the warm shutdown; the log goes to pytest's report, and nothing of the worker is left."""
        self.begin_to_stop()
        try:
            assert self._process.wait(20) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)
            sys.stdout.write(self._log.read_text())


class Workers:
    """The workers of a test or of many; all are stopped at once, since each takes its seconds."""

    def __init__(self) -> None:
        self._started: list[Worker] = []
        self._stack = ExitStack()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._stack.close()

    def start(
        self, configuration: Mapping[str, Any], folder: Path, environ: Mapping[str, str], *options: str
    ) -> Celery:
        """Start a worker and return the app of a sender to it, which knows the tasks by their names only."""
        results = folder / "results"
        results.mkdir()
        configuration = {**configuration, "result_backend": f"file://{results}"}
        app = Celery("sender", set_as_current=False, fixups=[])
        app.conf.update(configuration)
        if "broker_transport" in configuration:
            app.conf.broker_transport = Transport
        self._stack.callback(app.close)
        self._started.append(Worker(configuration, folder, environ, *options))
        return app

    def stop(self) -> None:
        """Stop all in good order."""
        with ExitStack() as stack:
            for worker in self._started:
                worker.begin_to_stop()
                stack.callback(worker.stop)
        self._started = []
