"""How the files of the dead are taken over: by an heir that has room, or has none, whatever state they are in."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from xr2_web.outbox.adoption import CHUNK, Adoption
from xr2_web.outbox.file import SpoolFile
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.lease import Lease
from xr2_web.outbox.paths import companions, copy, log, size
from xr2_web.outbox.rows import Dead, Row

from .conftest import ORIGIN, Clock, entry

# Other tests may have left threads of theirs; the children here start none and end at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

Left = Callable[..., Path]

FIRST_TO_LOOK = """
import fcntl, os, sys
with open(sys.argv[1] + "-shm", "r+b") as memory:
    try:
        fcntl.lockf(memory, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
    except BlockingIOError:
        sys.exit()
    os.truncate(memory.fileno(), 3)
"""
"""What SQLite does first where a file is opened that nobody has locked as open."""


class Heir:
    """Takes events for as long as it has room, each once."""

    def __init__(self, room: float = math.inf) -> None:
        self.room = room
        self.before_it_takes: Callable[[], None] = lambda: None
        self.events: list[str] = []
        self.letters: list[str] = []

    def take_in(self, rows: Iterable[Row]) -> int:
        self.before_it_takes()
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


def in_a_child_that_outlives_its_parent(begin: Callable[[], object], go_on: Callable[[], object]) -> str:
    """Begin something in a process, and go on in a child of it when that is dead; return what came of it.

    Nothing comes of it where the child is killed.
    """
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        held = begin()
        parents_end, childs_end = os.pipe()
        if os.fork() == 0:
            os.close(childs_end)
            os.read(parents_end, 1)
            os.write(write, repr(go_on()).encode())
        os._exit(0 if held else 1)
    os.close(write)
    assert os.waitpid(parent, 0)[1] == 0
    with open(read) as said:
        return said.read()


def test_a_forked_child_adopts_what_its_dead_parent_had_open_while_others_look(spools: Folder, clock: Clock) -> None:
    """SQLite has the locks of the parent on its books: the child believes that nobody can cut off the shared memory."""
    heir = Heir()
    path = spools.new_file(ORIGIN.installation)

    def leave() -> object:
        lease = Lease.take(path)
        file = SpoolFile.create(path, synchronous="OFF")
        for number in range(3):
            file.insert(number + 1, entry(number))
        return lease, file

    def look() -> None:
        for each in spools.files():
            subprocess.run([sys.executable, "-c", FIRST_TO_LOOK, str(each)], check=True)

    def adopt() -> list[str]:
        heir.before_it_takes = look
        Adoption(spools, ORIGIN.installation, heir, clock=clock, connect=sqlite3.connect).run(math.inf)
        return heir.events

    said = in_a_child_that_outlives_its_parent(leave, adopt)

    assert said == repr(trace_ids(range(3)))
    assert spools.files() == []


def test_a_copy_of_a_file_is_this_users_alone_and_has_what_is_only_in_the_log(left: Left, tmp_path: Path) -> None:
    path = left(1)
    file = SpoolFile.open(path)
    assert file is not None
    file.insert(2, entry(2))
    is_in_the_log = size(log(path)) > 0

    copy(path, tmp_path / "copy.sqlite3")
    file.close()

    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob("copy*")}
    copied = SpoolFile.open(tmp_path / "copy.sqlite3")
    assert copied is not None
    with closing(copied):
        assert [row.number for row in copied.read(0, 10)] == [1, 2]
    assert is_in_the_log
    assert modes == {0o600}


def test_a_copy_that_cannot_be_made_leaves_nothing(left: Left, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy(tmp_path / "gone.sqlite3", tmp_path / "copy.sqlite3")

    assert list(tmp_path.glob("copy*")) == []


@pytest.fixture
def orphans(spools: Folder) -> list[Path]:
    """What may be left beside a file that is gone."""
    path = spools.new_file(ORIGIN.installation)
    found = [*companions(path), path.with_suffix(".lock"), path.with_suffix(".999999.held")]
    for each in found:
        each.touch()
    return found


def test_what_is_left_of_a_file_that_is_gone_is_removed_at_the_second_sight(
    orphans: list[Path], spools: Folder, clock: Clock
) -> None:
    """At the first it may belong to a file that is being made."""
    adoption = Adoption(spools, ORIGIN.installation, Heir(), clock=clock, connect=sqlite3.connect)

    adoption.run(math.inf)
    at_first = [each.exists() for each in orphans]
    adoption.run(math.inf)

    assert all(at_first)
    assert list(spools.path.iterdir()) == []


def test_what_belongs_to_a_file_that_somebody_is_about_to_make_stays(
    orphans: list[Path], spools: Folder, clock: Clock
) -> None:
    adoption = Adoption(spools, ORIGIN.installation, Heir(), clock=clock, connect=sqlite3.connect)
    lease = Lease.take(orphans[0].with_name(orphans[0].name.removesuffix("-wal")))

    adoption.run(math.inf)
    adoption.run(math.inf)

    assert lease is not None
    assert all(each.exists() for each in orphans)
    lease.release(remove=True)


def test_what_is_no_orphan_stays(left: Left, spools: Folder, clock: Clock) -> None:
    """Papers of commands, damaged files, locks of other kinds, and what belongs to another installation or a file."""
    heir = Heir(room=0)
    path = left(1)
    stay = [
        spools.path / name
        for name in (
            f"{ORIGIN.installation}-1-a.request",
            f"{ORIGIN.installation}-1-a.sqlite3-wal.damaged",
            f"{ORIGIN.installation}.pacing",
            "other-1-a.sqlite3-shm",
            "commands.lock",
            f"{path.name}-shm",
        )
    ]
    for each in stay:
        each.touch()
    adoption = Adoption(spools, ORIGIN.installation, heir, clock=clock, connect=sqlite3.connect)

    for _ in range(3):
        adoption.run(math.inf)

    assert all(each.exists() for each in stay[:-1])
    assert path.exists()


def test_a_leftover_whose_lease_cannot_be_taken_keeps_nothing_from_being_adopted(
    orphans: list[Path], left: Left, spools: Folder, clock: Clock, tmp_path: Path
) -> None:
    lock = orphans[0].with_name(orphans[0].name.partition(".")[0] + ".lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    heir = Heir()
    adoption = Adoption(spools, ORIGIN.installation, heir, clock=clock, connect=sqlite3.connect)

    adoption.run(math.inf)
    left(1)
    adoption.run(math.inf)

    assert heir.events == ["evt_1"]
    assert not (tmp_path / "elsewhere").exists()
