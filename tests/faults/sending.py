"""What sends events without threads of its own, by a clock that stands still until it is moved."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import xr2_web
from xr2_web import settings, wire
from xr2_web.courier import SEND_TIMEOUT
from xr2_web.engines import spool_path
from xr2_web.outbox import Entry, Outbox
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.own_file import Origin
from xr2_web.outbox.spool import Spool
from xr2_web.pacing import Chance
from xr2_web.process import Process
from xr2_web.runtime import Runtime
from xr2_web.settings import Settings

from ..scripted_server import Received
from .programs import TAKEN

KEY = "xr2_dev_SECRET"
EVENTS = "POST /api/v1/events HTTP/1.1"
PROBE = "GET /api/v1/check-api-key HTTP/1.1"
DAY = 24 * 60 * 60.0
YEAR = 365 * DAY

__all__ = [
    "DAY",
    "EVENTS",
    "KEY",
    "PROBE",
    "TAKEN",
    "YEAR",
    "Clock",
    "Sender",
    "hurried",
    "spool_by",
    "traces_of",
    "track",
]


class Clock:
    """Time that stands still, and luck that is always the same."""

    def __init__(self, *, luck: float = 0.5) -> None:
        self.now = float(math.ceil(time.monotonic()))  # whole, so that sums are exact
        self.wall = 1_800_000_000.0
        self.luck = luck

    @property
    def chance(self) -> Chance:
        """What tells this time."""
        return Chance(lambda: self.now, lambda: self.wall, lambda: self.luck)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.wall += seconds


def hurried(seconds: float) -> Chance:
    """Return a clock so far behind that of the sockets that a request has ``seconds``, and not ten."""
    return Chance(monotonic=lambda: time.monotonic() - SEND_TIMEOUT + seconds, random=lambda: 0.02)


class Sender:
    """The working parts of one process, over the default outbox, which send when they are told to."""

    def __init__(self, base_url: str, chance: Chance, **given: Any) -> None:
        self.settings = settings.load(settings.keywords({"api_key": KEY, "base_url": base_url, **given}))
        self.counts: Counter[str] = Counter()
        self._chance = chance
        self._process = Process(self.settings, count=lambda outcome: self.counts.update([outcome]), chance=chance)

    def track(self, *trace_ids: str, **about: Any) -> None:
        """Accept an event under each of these traces."""
        for each in trace_ids:
            request = wire.event(trace_id=each, event_name="sign_up", source_name="xr2_web", **about)
            assert request.body is not None
            put = self._process.outbox.put(Entry(each, "sign_up", request.body, self._chance.wall()))
            assert put.value is None

    def run(self) -> float | None:
        """Deliver one event that is due; return the seconds after which to come back."""
        return self._process.courier.run_once()

    def run_out(self) -> float | None:
        """Deliver all that is due; return the seconds after which to come back."""
        while (wait := self.run()) == 0.0:
            pass
        return wait

    def fetch(self) -> wire.Verdict:
        """Ask for a prompt, as a request of the application does."""
        return self._process.fetch(wire.get_prompt(slug="welcome", source_name="xr2_web")).verdict

    @property
    def pending(self) -> int:
        """How many events wait."""
        return self._process.outbox.counts().pending

    @property
    def dead(self) -> int:
        """How many events were refused."""
        return self._process.outbox.counts().dead

    def reasons(self) -> list[str]:
        """Return why each of the dead letters on the disk is one."""
        reasons: list[str] = []
        for path in Folder(spool_path(self.settings)).files():
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                reasons += (reason for (reason,) in database.execute("SELECT reason FROM dead"))
        return reasons

    def close(self) -> None:
        """Release everything, without a last try."""
        self._process.close(0)


def spool_by(chance: Chance) -> Any:
    """Return an OUTBOX that is the default one, but for its clocks."""

    def new_outbox(chosen: Settings) -> Outbox:
        return Spool(
            Folder(spool_path(chosen)),
            Origin.of(chosen.base_url, chosen.api_key),
            most_events=chosen.outbox_max_events,
            clock=chance.monotonic,
            wall=chance.wall,
        )

    return new_outbox


def traces_of(requests: Iterable[Received]) -> list[str]:
    """Return the trace of each event that was received."""
    return [json.loads(each.body)["trace_id"] for each in requests if each.line == EVENTS]


def track(runtime: Runtime, *trace_ids: str) -> None:
    """Have the application track an event under each of these traces."""
    for each in trace_ids:
        with xr2_web.scope(runtime=runtime, trace_id=each):
            receipt = xr2_web.track_event("sign_up")
        assert receipt.accepted, receipt
