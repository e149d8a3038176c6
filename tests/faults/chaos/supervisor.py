"""Runs the chaos: workers that are killed at random, a server that fails at random, and the books at the end."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import xr2_web

from . import ledger
from .ledger import Ledger, Spools
from .server import REFUSED_NAME

HERE = Path(__file__).parent
LIBRARY = Path(xr2_web.__file__).parents[1]
SECONDS_TO_DRAIN = 120.0


@dataclass(frozen=True)
class Plan:
    """How long and how hard."""

    folder: Path
    outbox: str
    seconds: float
    processes: int
    rate: float
    """Events a second and process."""
    seed: int
    seconds_between_kills: float = 1.0

    @property
    def spools(self) -> Spools:
        """Where the events wait."""
        return Spools(self.folder / "outbox")


def run(plan: Plan) -> Ledger:
    """Have chaos for a while, then none, then one process that drains; return the balanced books."""
    with _serving(plan) as server, _Workers(plan, server.base_url) as workers:
        began = time.monotonic()
        kills = workers.run(until=began + plan.seconds)
        seconds = time.monotonic() - began
        server.recover()
        workers.drain()
    arrived, outcomes = ledger.served(server.journal)
    return Ledger(
        accepted=ledger.accepted(workers.ledgers()),
        arrived=arrived,
        dead=plan.spools.dead(),
        waiting=plan.spools.waiting(),
        outcomes=outcomes,
        complaints=ledger.complaints(workers.log),
        kills=kills,
        seconds=seconds,
        seed=plan.seed,
    )


@dataclass
class _Workers:
    """The processes that track; all are gone after the block."""

    plan: Plan
    base_url: str
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill_all()

    @property
    def log(self) -> Path:
        """Where all of them write what they have to say."""
        return self.plan.folder / "workers.log"

    def ledgers(self) -> list[Path]:
        """Return what each worker writes to, under all its lives."""
        return sorted(self.plan.folder.glob("ledger-*"))

    def run(self, until: float) -> int:
        """Kill one after the other until a moment, each succeeded by another; return how many."""
        chance = random.Random(self.plan.seed)
        self._running = [self._start(number) for number in range(self.plan.processes)]
        kills = 0
        while time.monotonic() < until:
            time.sleep(self.plan.seconds_between_kills)
            victim = chance.randrange(self.plan.processes)
            _kill(self._running[victim])
            kills += 1
            self._running[victim] = self._start(victim)
        self._kill_all()
        return kills + self.plan.processes

    def drain(self) -> None:
        """Have a process adopt and deliver what the others have left. It is killed when nothing seems to wait.

        Rows move from file to file: only when no process runs is it sure that none was overlooked.
        """
        until = time.monotonic() + SECONDS_TO_DRAIN
        while self.plan.spools.waiting() and time.monotonic() < until:
            self._running = [self._start(self.plan.processes, most=1)]
            while self._seems_to_wait() and time.monotonic() < until:
                time.sleep(0.25)
            self._kill_all()

    def _seems_to_wait(self) -> bool:
        try:
            return bool(self.plan.spools.waiting())
        except sqlite3.OperationalError:  # a file went while it was read: its rows were moved
            return True

    def _start(self, number: int, most: int | None = None) -> subprocess.Popen[bytes]:
        given = {
            "settings": self._settings(),
            "ledger": str(self.plan.folder / f"ledger-{number}"),
            "rate": self.plan.rate,
            "refused_name": REFUSED_NAME,
            "most": most,
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), json.dumps(given)],
                env={**os.environ, "PYTHONPATH": str(LIBRARY)},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def _settings(self) -> dict[str, Any]:
        chosen = {"api_key": "xr2_dev_tests", "base_url": self.base_url, "outbox": self.plan.outbox}
        return chosen | ({"outbox_path": str(self.plan.spools.folder)} if self.plan.outbox == "spool" else {})

    def _kill_all(self) -> None:
        for process in self._running:
            _kill(process)
        self._running = []


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[str]
    base_url: str
    journal: Path

    def recover(self) -> None:
        """Have nothing go wrong from now on."""
        _pipe(self.process.stdin).write("recover\n")
        _pipe(self.process.stdin).flush()
        assert _pipe(self.process.stdout).readline() == "well\n"


@contextmanager
def _serving(plan: Plan) -> Iterator[_Server]:
    journal = plan.folder / "journal"
    with subprocess.Popen(
        [sys.executable, str(HERE / "server.py"), str(journal), str(plan.seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield _Server(process, _pipe(process.stdout).readline().strip(), journal)
        finally:
            _pipe(process.stdin).close()
            assert process.wait(10) == 0, "the server did not live through it"


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
