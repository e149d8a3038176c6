"""How the files of the dead are taken over: by an heir that has room, or has none, whatever state they are in."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from xr2_web.outbox.adoption import CHUNK, Adoption
from xr2_web.outbox.file import SpoolFile
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.rows import Dead, Row

from .conftest import ORIGIN, Clock, entry

Left = Callable[..., Path]


class Heir:
    """Takes events for as long as it has room, each once."""

    def __init__(self, room: float = math.inf) -> None:
        self.room = room
        self.events: list[str] = []
        self.letters: list[str] = []

    def take_in(self, rows: Iterable[Row]) -> int:
        kept = 0
        for row in rows:
            if len(self.events) >= self.room:
                break
            if row.entry.trace_id not in self.events:
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


def damage(path: Path) -> None:
    """Break the index by which events are found by their keys: each can be read, and none deleted."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_events_1'"
        page = connection.execute(query).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def test_a_damaged_file_that_holds_more_than_there_is_room_for_is_taken_over_bit_by_bit(
    adopt: Callable[[Heir], bool], left: Left, spools: Folder
) -> None:
    """What the first has taken before it met the damage is taken once more, and never again."""
    path = left(*range(250))
    damage(path)

    heirs = [Heir(room=100) for _ in range(4)]
    are_complete = [adopt(heir) for heir in heirs]

    assert [heir.events for heir in heirs] == [
        trace_ids(numbers) for numbers in (range(100), range(100), range(100, 200), range(200, 250))
    ]
    assert are_complete == [False, False, False, True]
    assert spools.files() == []
    assert spools.damaged() == [f"{path.name}.damaged"]


def test_the_events_of_a_damaged_file_are_taken_over_in_parts(adopt: Callable[[Heir], bool], left: Left) -> None:
    """A request waits for one part at most: the heir is locked meanwhile."""
    sizes: list[int] = []

    class Counting(Heir):
        def take_in(self, rows: Iterable[Row]) -> int:
            sizes.append(kept := super().take_in(rows))
            return kept

    damage(left(*range(250)))

    adopt(Counting())

    assert max(sizes) == CHUNK
    assert sum(sizes) >= 250


def test_the_dead_letters_and_the_origin_of_a_damaged_file_are_kept(
    adopt: Callable[[Heir], bool], left: Left, spools: Folder
) -> None:
    path = left(1, 2)
    file = SpoolFile.open(path)
    assert file is not None
    with closing(file):
        file.set_facts(base_url=ORIGIN.base_url)
        file.bury(Dead(entry(3), 1, "400: no", 1000.0))
    damage(path)
    heir = Heir(room=1)

    adopt(heir)
    (fresh,) = spools.files(ORIGIN.installation)
    with closing(sqlite3.connect(fresh)) as connection:
        facts = dict(connection.execute("SELECT name, value FROM facts"))
    heir.room = 2
    adopt(heir)

    assert fresh != path
    assert facts["base_url"] == ORIGIN.base_url
    assert (heir.events, heir.letters) == (["evt_1", "evt_2"], ["evt_3"])


def test_a_damaged_file_is_left_as_it_is_where_what_it_holds_cannot_be_written(
    left: Left, spools: Folder, clock: Clock
) -> None:
    class Full(sqlite3.Connection):
        def execute(self, statement: str, *arguments: object) -> sqlite3.Cursor:
            if statement.startswith("INSERT INTO events"):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *arguments)  # type: ignore[arg-type]

    path = left(1)
    damage(path)
    heir = Heir()

    Adoption(spools, ORIGIN.installation, heir, clock=clock, connect=partial(sqlite3.connect, factory=Full)).run(
        math.inf
    )

    assert spools.files() == [path]
    assert spools.damaged() == []
