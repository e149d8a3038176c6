"""How the files of the dead are taken over: by an heir that has room, or has none, whatever state they are in."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from xr2_web.outbox.adoption import Adoption
from xr2_web.outbox.file import SpoolFile
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.rows import Dead, Row

from .conftest import ORIGIN, Clock, entry

Left = Callable[..., Path]


class Heir:
    """Takes events for as long as it has room, and counts how often it was given each."""

    def __init__(self, room: float = math.inf) -> None:
        self.room = room
        self.events: list[str] = []
        self.letters: list[str] = []

    def take_in(self, rows: Iterable[Row]) -> int:
        kept = 0
        for row in rows:
            if len(self.events) >= self.room:
                break
            self.events.append(row.entry.trace_id)
            kept += 1
        return kept

    def take_in_dead(self, letters: Iterable[Dead]) -> None:
        self.letters += [each.entry.trace_id for each in letters]


@pytest.fixture
def spools(folder: Path) -> Folder:
    spools = Folder(folder)
    spools.prepare()
    return spools


@pytest.fixture
def left(spools: Folder) -> Left:
    """Leaves a file behind, with events of these numbers."""

    def leave(*numbers: int) -> Path:
        path = spools.new_file(ORIGIN.installation)
        with closing(SpoolFile.create(path, synchronous="OFF")) as file:
            for number in numbers:
                file.insert(file.last() + 1, entry(number))
        return path

    return leave


@pytest.fixture
def adopt(spools: Folder, clock: Clock) -> Callable[[Heir], bool]:
    """Has an heir adopt what is left; all at once, and as if it were another process each time."""

    def adopt(heir: Heir) -> bool:
        adoption = Adoption(spools, ORIGIN.installation, heir, clock=clock, connect=sqlite3.connect)
        return adoption.run(math.inf)

    return adopt


def trace_ids(numbers: Iterable[int]) -> list[str]:
    return [f"evt_{number}" for number in numbers]


def test_a_file_that_somebody_else_is_at_keeps_none_behind_it(
    adopt: Callable[[Heir], bool], left: Left, spools: Folder
) -> None:
    numbers = {left(number): number for number in range(3)}
    busy, *others = spools.files()
    heir = Heir()

    with closing(sqlite3.connect(busy, isolation_level=None)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        is_complete = adopt(heir)
    meanwhile = list(heir.events)
    is_complete_then = adopt(heir)

    assert (is_complete, is_complete_then) == (False, True)
    assert meanwhile == trace_ids(numbers[path] for path in others)
    assert heir.events == [*meanwhile, f"evt_{numbers[busy]}"]
