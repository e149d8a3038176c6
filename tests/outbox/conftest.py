from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xr2_web.outbox import Claim, Entry, Outbox
from xr2_web.outbox.backed import Backed
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.outbox.own_file import Origin
from xr2_web.outbox.spool import Spool

ORIGIN = Origin.of("https://xr2.uk", "xr2_dev_key")


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


MakeOutbox = Callable[[int, Clock], Outbox]


def entry(number: int = 1, event_name: str = "sign_up") -> Entry:
    return Entry(f"evt_{number}", event_name, b'{"n":%d}' % number, 1000.0)


def emptied(outbox: Outbox) -> list[Entry]:
    """Deliver everything that is due, and return it."""
    found = []
    while claim := outbox.claim():
        found.append(claim.entry)
        outbox.done(claim)
    return found


def taken(outbox: Outbox) -> Claim:
    """Take the event that is due."""
    claim = outbox.claim()
    assert claim is not None
    return claim


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def make_spool(folder: Path, clock: Clock) -> Iterator[Callable[..., Spool]]:
    """Makes spools in one folder, each as the process of another, and closes them."""
    made: list[Spool] = []

    def make(most_events: int = 1000, origin: Origin = ORIGIN, **options: object) -> Spool:
        spool = Spool(Folder(folder), origin, most_events=most_events, clock=clock, **{"wall": clock, **options})  # type: ignore[arg-type]
        made.append(spool)
        return spool

    yield make
    for spool in made:
        spool.close()


@pytest.fixture(params=["memory", "spool", "spool backed by memory", "memory standing in"])
def make_outbox(request: pytest.FixtureRequest, make_spool: Callable[..., Spool], tmp_path: Path) -> MakeOutbox:
    def broken(most: int, clock: Clock) -> Outbox:
        (tmp_path / "file").write_text("")
        spool = Spool(Folder(tmp_path / "file"), ORIGIN, most_events=most, clock=clock)
        return Backed(spool, MemoryOutbox(most, clock=clock), what="the spool", instead="memory", clock=clock)

    def backed(most: int, clock: Clock) -> Outbox:
        spare = MemoryOutbox(most, clock=clock)
        return Backed(make_spool(most), spare, what="the spool", instead="memory", clock=clock)

    kinds: dict[str, MakeOutbox] = {
        "memory": lambda most, clock: MemoryOutbox(most, clock=clock),
        "spool": lambda most, clock: make_spool(most),
        "spool backed by memory": backed,
        "memory standing in": broken,
    }
    return kinds[request.param]


@pytest.fixture
def outbox(make_outbox: MakeOutbox, clock: Clock) -> Iterator[Outbox]:
    outbox = make_outbox(1000, clock)
    yield outbox
    outbox.close()
