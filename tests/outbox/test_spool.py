"""The outbox on disk: whose file is whose, what becomes of the dead one's, and what the disk can do to it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from xr2_web.outbox import Entry, Paused, Put
from xr2_web.outbox.backed import HANDED_BACK, LOOK_AGAIN, Backed
from xr2_web.outbox.folder import Folder, UnusableFolder
from xr2_web.outbox.household import ADOPTED_EVERY
from xr2_web.outbox.lease import Lease
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.outbox.own_file import Origin
from xr2_web.outbox.schema import VERSION
from xr2_web.outbox.spool import TENDED_EVERY, Spool
from xr2_web.values import TRACE_LIFE

from .conftest import ORIGIN, Clock, emptied, entry, taken

# Other tests may have left threads of theirs; the children here start none and end at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

MakeSpool = Callable[..., Spool]

OTHER_KEY = Origin.of("https://xr2.uk", "xr2_prod_other")


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sqlite3"))


def in_a_process_that_is_killed(folder: Path, work: Callable[[Spool], None], origin: Origin = ORIGIN) -> None:
    """Do ``work`` on a spool in a process that ends by SIGKILL right after."""

    def run() -> None:
        work(Spool(Folder(folder), origin, most_events=1000))
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL


def left_by_a_dead_process(folder: Path, *numbers: int, origin: Origin = ORIGIN) -> Path:
    def work(spool: Spool) -> None:
        for number in numbers:
            assert spool.put(entry(number)) is Put.ACCEPTED

    before = set(files(folder))
    in_a_process_that_is_killed(folder, work, origin)
    (made,) = set(files(folder)) - before
    return made


def opened(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


class TestFile:
    def test_there_is_none_before_the_first_event(self, make_spool: MakeSpool, folder: Path) -> None:
        spool = make_spool()

        spool.tend(None)
        spool.claim()

        assert not folder.exists()

    def test_only_its_user_can_read_anything(self, make_spool: MakeSpool, folder: Path) -> None:
        before = os.umask(0)
        try:
            make_spool().put(entry())
        finally:
            os.umask(before)

        modes = {path.name.split(".", 1)[1]: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {"sqlite3", "sqlite3-wal", "sqlite3-shm", "lock"} <= modes.keys()
        assert set(modes.values()) == {0o600}

    def test_it_says_whose_it_is_and_never_the_key(self, make_spool: MakeSpool, folder: Path) -> None:
        make_spool().put(entry())

        (path,) = files(folder)
        with opened(path) as connection:
            facts: dict[str, Any] = dict(connection.execute("SELECT * FROM facts"))
        assert path.name.startswith(ORIGIN.installation)
        assert facts["base_url"] == "https://xr2.uk"
        assert facts["installation"] == ORIGIN.installation
        assert facts["pid"] == os.getpid()
        assert b"xr2_dev_key" not in b"".join(each.read_bytes() for each in folder.iterdir())

    def test_one_that_cannot_be_made_leaves_nothing_open(self, make_spool: MakeSpool, folder: Path) -> None:
        class Full(sqlite3.Connection):
            def executescript(self, statements: str) -> sqlite3.Cursor:
                raise sqlite3.OperationalError("database or disk is full")

        spool = make_spool(connect=lambda path, **options: Full(path, **options))
        before = os.listdir("/dev/fd")

        for number in range(3):
            with pytest.raises(sqlite3.OperationalError):
                spool.put(entry(number))

        assert len(os.listdir("/dev/fd")) == len(before)
        assert list(folder.iterdir()) == []

    def test_who_looks_at_it_while_it_is_made_keeps_no_event_from_it(self, make_spool: MakeSpool) -> None:
        """Until it has a write-ahead log, a reader locks a writer out."""

        def connect_under_a_reader(path: Path, **options: Any) -> sqlite3.Connection:
            reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM sqlite_master")
            threading.Timer(0.03, reader.close).start()
            return sqlite3.connect(path, **options)

        spool = make_spool(connect=connect_under_a_reader)

        assert spool.put(entry(1)) is Put.ACCEPTED

    def test_no_request_waits_for_who_locks_it_later(self, make_spool: MakeSpool) -> None:
        spool = make_spool()
        spool.put(entry(1))

        assert connection_of(spool).execute("PRAGMA busy_timeout").fetchone() == (0,)

    def test_any_number_of_arrivals_is_noted(self, make_spool: MakeSpool) -> None:
        """SQLite allows 32,766 variables in a statement, where a system has not raised that."""
        spool = make_spool(4000)
        for number in range(3500):
            spool.put(entry(number))
        connection = connection_of(spool)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 1000)
        connection.execute("PRAGMA query_only = ON")
        emptied(spool)
        connection.execute("PRAGMA query_only = OFF")

        spool.tend(None)

        assert connection.execute("SELECT COUNT(*) FROM events").fetchone()[0] == 0

    def test_an_empty_one_goes_with_its_process(self, make_spool: MakeSpool, folder: Path) -> None:
        spool = make_spool()
        spool.put(entry())
        emptied(spool)

        spool.close()

        assert list(folder.iterdir()) == []

    def test_what_waits_is_left_at_the_end(self, make_spool: MakeSpool) -> None:
        spool = make_spool()
        spool.put(entry(1))
        spool.put(entry(2))
        spool.done(taken(spool))

        spool.close()

        heir = make_spool()
        heir.tend(None)
        assert emptied(heir) == [entry(2)]

    def test_the_pause_is_written_down_for_others_to_read(self, make_spool: MakeSpool, folder: Path) -> None:
        spool = make_spool()
        spool.put(entry())

        spool.tend(Paused(2000.0, "xR2 does not accept API_KEY"))

        with opened(files(folder)[0]) as connection:
            facts = dict(connection.execute("SELECT name, value FROM facts WHERE name LIKE 'paused%'"))
        assert facts == {"paused_until": 2000.0, "paused_why": "xR2 does not accept API_KEY"}

    def test_the_write_ahead_log_does_not_grow_for_ever(self, make_spool: MakeSpool, folder: Path) -> None:
        spool = make_spool(10_000)
        body = b"x" * 20_000

        sizes = []
        for turn in range(4):
            for number in range(300):
                spool.put(Entry(f"evt_{turn}_{number}", "sign_up", body, 1000.0))
            emptied(spool)
            spool.tend(None)
            sizes.append(sum(each.stat().st_size for each in folder.iterdir()))

        assert sizes[-1] < 1.5 * sizes[0]

    def test_a_courier_that_keeps_up_does_not_read_what_was_just_written(self, make_spool: MakeSpool) -> None:
        said: list[str] = []

        class Watched(sqlite3.Connection):
            def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
                said.append(statement)
                return super().execute(statement, *arguments)

        spool = make_spool(connect=lambda path, **options: Watched(path, **options))
        found = []
        for number in (1, 2, 2, 3, 4):
            spool.put(entry(number))
            found += emptied(spool)

        assert found == [entry(1), entry(2), entry(2), entry(3), entry(4)]
        assert not [each for each in said if "FROM events WHERE id >" in each]

    @pytest.mark.parametrize("between", [1, 150])
    def test_events_come_in_order_and_once_after_duplicates_and_more_than_are_known(
        self, make_spool: MakeSpool, between: int
    ) -> None:
        spool = make_spool()

        found = []
        for number in range(400):
            spool.put(entry(number))
            spool.put(entry(number))
            if number % between == 0:
                found += emptied(spool)
        found += emptied(spool)

        assert found == [entry(number) for number in range(400)]

    def test_synchronous_full_is_passed_on(self, make_spool: MakeSpool) -> None:
        said: list[str] = []

        class Watched(sqlite3.Connection):
            def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
                said.append(statement)
                return super().execute(statement, *arguments)

        spool = make_spool(synchronous="full", connect=lambda path, **options: Watched(path, **options))
        spool.put(entry())

        assert "PRAGMA synchronous = full" in said

    def test_dead_letters_are_forgotten_when_their_trace_is(self, make_spool: MakeSpool, clock: Clock) -> None:
        spool = make_spool()
        spool.put(entry(1))
        spool.bury(taken(spool), "404: unknown event")
        clock.now += TRACE_LIFE + 1

        spool.tend(None)

        assert spool.counts().dead == 0

    def test_a_folder_that_is_too_heavy_takes_no_more(self, make_spool: MakeSpool, clock: Clock) -> None:
        spool = make_spool(most_bytes=1000)
        spool.put(entry(1))
        spool.tend(None)

        refused = spool.put(entry(2))

        assert refused is Put.FULL
        assert emptied(spool) == [entry(1)]


def connection_of(spool: Spool) -> sqlite3.Connection:
    file = spool._held.file
    assert file is not None
    return file._connection


class TestAdoption:
    def test_what_a_killed_process_left_is_delivered_by_a_living_one(self, make_spool: MakeSpool, folder: Path) -> None:
        left_by_a_dead_process(folder, *range(250))
        spool = make_spool()

        spool.tend(None)

        assert emptied(spool) == [entry(number) for number in range(250)]
        assert [path.stem.split("-")[1] for path in files(folder)] == [str(os.getpid())]
        assert len(list(folder.glob("*.lock"))) == 1

    def test_what_was_adopted_is_no_first_attempt(self, make_spool: MakeSpool, folder: Path) -> None:
        """The dead process may have sent it; xR2 will call it a duplicate, which is nothing to warn of."""
        left_by_a_dead_process(folder, 1)
        spool = make_spool()

        spool.tend(None)

        assert taken(spool).attempts == 1

    def test_dead_letters_move_along(self, make_spool: MakeSpool, folder: Path) -> None:
        def work(spool: Spool) -> None:
            spool.put(entry())
            spool.bury(taken(spool), "404: unknown event")

        in_a_process_that_is_killed(folder, work)
        spool = make_spool()

        spool.tend(None)

        assert spool.counts() == (0, 1)

    def test_the_events_of_another_key_are_left_alone(self, make_spool: MakeSpool, folder: Path) -> None:
        """Trap 35: the line that asks the folder for files of this installation only."""
        theirs = left_by_a_dead_process(folder, 1, origin=OTHER_KEY)
        left_by_a_dead_process(folder, 2)
        spool = make_spool()

        spool.tend(None)

        assert emptied(spool) == [entry(2)]
        assert theirs.exists()

    def test_a_living_process_keeps_its_events(self, make_spool: MakeSpool) -> None:
        living, other = make_spool(), make_spool()
        living.put(entry())

        other.tend(None)

        assert other.claim() is None
        assert emptied(living) == [entry()]

    def test_a_folder_has_one_lease_for_each_file_by_whatever_name_it_is_reached(
        self, make_spool: MakeSpool, folder: Path, tmp_path: Path
    ) -> None:
        living = make_spool()
        living.put(entry(1))
        (tmp_path / "link").symlink_to(folder)
        other = Spool(Folder(tmp_path / "link"), ORIGIN, most_events=10)

        other.tend(None)

        assert other.claim() is None
        assert emptied(living) == [entry(1)]

    def test_a_forked_child_does_not_hold_what_its_dead_parent_left(self, make_spool: MakeSpool, folder: Path) -> None:
        """Fault: a child holding the parent's lock. The lock is a POSIX lock, and no ``flock``."""
        read, write = os.pipe()
        parent = os.fork()
        if parent == 0:
            Spool(Folder(folder), ORIGIN, most_events=10).put(entry())
            child = os.fork()
            if child == 0:
                os.read(read, 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(parent, 0)
        spool = make_spool()

        spool.tend(None)

        os.write(write, b"x")
        assert emptied(spool) == [entry()]

    def test_an_event_that_is_here_already_is_not_doubled(self, make_spool: MakeSpool, folder: Path) -> None:
        left_by_a_dead_process(folder, 1, 2)
        spool = make_spool()
        spool.put(entry(1))

        spool.tend(None)

        assert emptied(spool) == [entry(1), entry(2)]

    def test_a_full_outbox_leaves_the_rest_where_it_is(self, make_spool: MakeSpool, folder: Path, clock: Clock) -> None:
        left_by_a_dead_process(folder, *range(10))
        spool = make_spool(4)
        spool.tend(None)
        first = emptied(spool)

        clock.now += ADOPTED_EVERY
        spool.tend(None)

        assert first == [entry(number) for number in range(4)]
        assert emptied(spool) == [entry(number) for number in range(4, 8)]

    def test_two_heirs_share_what_ten_have_left(self, make_spool: MakeSpool, folder: Path) -> None:
        for number in range(10):
            left_by_a_dead_process(folder, number)
        heirs = [make_spool(), make_spool()]

        for heir in heirs:
            heir.tend(None)

        assert sorted(each for heir in heirs for each in emptied(heir)) == sorted(entry(number) for number in range(10))

    def test_hundreds_of_files_are_adopted_slice_by_slice(
        self, make_spool: MakeSpool, folder: Path, clock: Clock
    ) -> None:
        """Fault: recycled workers that leave many files behind."""
        for number in range(300):
            spool = Spool(Folder(folder), ORIGIN, most_events=10)
            spool.put(entry(number))
            spool.close()
        heir = make_spool()

        heir.tend(None)

        assert len(emptied(heir)) == 300
        assert len(files(folder)) == 1

    def test_a_file_that_somebody_else_is_at_is_taken_over_a_moment_later(
        self, make_spool: MakeSpool, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = left_by_a_dead_process(folder, 1)
        spool = make_spool()

        with opened(path) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("UPDATE events SET attempts = 0")
            connection.commit()
            spool.tend(None)
            meanwhile = spool.counts().pending
        clock.now += TENDED_EVERY
        spool.tend(None)

        assert (meanwhile, emptied(spool)) == (0, [entry(1)])
        assert caplog.records == []

    def test_a_file_of_a_later_release_is_left_alone_and_told_once(
        self, make_spool: MakeSpool, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fault: a newer schema."""
        path = left_by_a_dead_process(folder, 1)
        with opened(path) as connection:
            connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        left_by_a_dead_process(folder, 2)
        spool = make_spool()

        spool.tend(None)
        clock.now += ADOPTED_EVERY
        spool.tend(None)

        assert emptied(spool) == [entry(2)]
        assert path.exists()
        assert [record.getMessage().split(":")[0] for record in caplog.records] == ["xr2_web.spool_left_alone"]

    @pytest.mark.parametrize("kind", ["folder", "link", "dangling link"])
    def test_what_is_no_file_is_left_alone(
        self, make_spool: MakeSpool, folder: Path, tmp_path: Path, kind: str
    ) -> None:
        """Fault: a folder or link in the file's place."""
        target = left_by_a_dead_process(tmp_path / "elsewhere", 1)
        folder.mkdir(mode=0o700)
        path = folder / f"{ORIGIN.installation}-1-0{target.suffix}"
        if kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(target if kind == "link" else tmp_path / "nowhere")
        spool = make_spool()

        spool.tend(None)

        assert spool.claim() is None
        assert target.exists()
        assert path.is_symlink() or path.is_dir()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_left_alone(self, make_spool: MakeSpool, folder: Path) -> None:
        """Fault: another owner."""
        path = left_by_a_dead_process(folder, 1)
        os.chown(path, 12345, 12345)
        spool = make_spool()

        spool.tend(None)

        assert spool.claim() is None
        assert path.exists()

    def test_a_file_that_another_tool_has_locked_is_adopted_later(
        self, make_spool: MakeSpool, folder: Path, clock: Clock
    ) -> None:
        """Fault: locked by another tool."""
        path = left_by_a_dead_process(folder, 1)
        spool = make_spool()
        with opened(path) as tool:
            tool.execute("BEGIN EXCLUSIVE")
            spool.tend(None)
            meanwhile = spool.claim()
        clock.now += ADOPTED_EVERY

        spool.tend(None)

        assert meanwhile is None
        assert emptied(spool) == [entry(1)]


class TestDamage:
    """Storage faults to a file that somebody left, and to the one that is open."""

    @pytest.mark.parametrize("content", [b"", b"garbage, and no database at all" * 200])
    def test_a_file_without_events_does_not_stop_the_adoption_of_others(
        self, make_spool: MakeSpool, folder: Path, content: bytes
    ) -> None:
        """Fault: empty file. Fault: garbage header."""
        left_by_a_dead_process(folder, 1)
        (folder / f"{ORIGIN.installation}-1-0.sqlite3").write_bytes(content)
        spool = make_spool()

        spool.tend(None)

        assert emptied(spool) == [entry(1)]
        assert len(files(folder)) == 1
        assert len(list(folder.glob("*.damaged"))) == bool(content)

    def test_what_a_damaged_page_leaves_readable_is_saved(
        self, make_spool: MakeSpool, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fault: garbage page."""
        path = left_by_a_dead_process(folder, *range(500))
        with opened(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = bytearray(path.read_bytes())
        page = content.index(b'{"n":250}') // 4096 * 4096
        content[page : page + 4096] = b"\xff" * 4096
        path.write_bytes(content)
        spool = make_spool()

        spool.tend(None)

        saved = {each.trace_id for each in emptied(spool)}
        lost = {f"evt_{number}" for number in range(500)} - saved
        assert 0 < len(lost) < 150  # a page of 4 KiB
        assert {"evt_0", "evt_499"} <= saved
        assert list(folder.glob("*.sqlite3.damaged"))
        assert "xr2_web.spool_damaged" in caplog.text

    def test_damage_of_our_own_is_not_taken_for_damage_of_theirs(self, make_spool: MakeSpool, folder: Path) -> None:
        theirs = left_by_a_dead_process(folder, *range(50))
        spool = make_spool()
        spool.put(entry(100))
        break_inserts(spool)

        spool.tend(None)

        assert theirs.exists()
        with opened(theirs) as connection:
            assert connection.execute("SELECT COUNT(*) FROM events").fetchone()[0] == 50

    def test_what_finds_no_room_is_saved_when_there_is_some(
        self, make_spool: MakeSpool, folder: Path, clock: Clock
    ) -> None:
        path = left_by_a_dead_process(folder, *range(300))
        with opened(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            query = "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events'"
            page = connection.execute(query).fetchone()[0]
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
        spool = make_spool(100)

        found: list[str] = []
        for _ in range(10):
            spool.tend(None)
            found += [each.trace_id for each in emptied(spool)]
            clock.now += ADOPTED_EVERY

        assert set(found) == {f"evt_{number}" for number in range(300)}
        assert len(found) <= 400  # of those taken when the damage was met nobody can tell that they were
        assert not path.exists()

    def test_a_truncated_log_loses_no_more_than_its_end(self, make_spool: MakeSpool, folder: Path) -> None:
        """Fault: truncated WAL."""
        path = left_by_a_dead_process(folder, *range(50))
        log = path.with_name(f"{path.name}-wal")
        os.truncate(log, log.stat().st_size // 2)
        spool = make_spool()

        spool.tend(None)

        found = emptied(spool)
        assert 10 < len(found) < 50
        assert found == [entry(number) for number in range(len(found))]

    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_events_go_on_in_a_new_file_when_theirs_is_removed(
        self, make_spool: MakeSpool, folder: Path, what: str
    ) -> None:
        """Fault: file or folder removed while open."""
        spool = make_spool()
        for number in range(150):
            spool.put(entry(number))
        spool.done(taken(spool))
        under_way = taken(spool)
        for path in list(folder.iterdir()):
            path.unlink()
        if what == "folder":
            folder.rmdir()

        spool.tend(None)
        spool.done(under_way)
        spool.put(entry(150))

        assert len(files(folder)) == 1
        assert {each.trace_id for each in emptied(spool)} == {f"evt_{number}" for number in range(1, 151)}
        assert spool.counts() == (0, 0)

    def test_events_go_on_in_a_new_file_when_theirs_is_damaged_while_open(
        self, make_spool: MakeSpool, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        spool = make_spool()
        spool.put(entry(1))
        damaged = sqlite3.DatabaseError("database disk image is malformed")
        damaged.sqlite_errorname = "SQLITE_CORRUPT"  # type: ignore[misc]
        file = spool._held.file
        assert file is not None
        insert = file.insert

        def fail_once(*arguments: Any) -> bool:
            file.insert = insert  # type: ignore[method-assign]
            raise damaged

        file.insert = fail_once  # type: ignore[method-assign]

        put = spool.put(entry(2))

        assert put is Put.ACCEPTED
        assert emptied(spool) == [entry(1), entry(2)]
        assert "xr2_web.spool_renewed" in caplog.text
        assert list(folder.glob("*.sqlite3.damaged"))


def break_inserts(spool: Spool) -> None:
    """Have the file of a spool be damaged for all that comes in."""
    damaged = sqlite3.DatabaseError("database disk image is malformed")
    damaged.sqlite_errorname = "SQLITE_CORRUPT"  # type: ignore[misc]

    def fail(*arguments: Any) -> bool:
        raise damaged

    assert spool._held.file is not None
    spool._held.file.insert = fail  # type: ignore[method-assign]


class TestFolder:
    def test_one_that_others_can_write_is_refused(self, folder: Path) -> None:
        folder.mkdir()
        folder.chmod(0o770)

        with pytest.raises(UnusableFolder, match="chmod 700"):
            Folder(folder).prepare()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    @pytest.mark.parametrize("is_link", [False, True])
    def test_one_of_another_user_is_refused(self, folder: Path, tmp_path: Path, is_link: bool) -> None:
        """Fault: foreign owner. Fault: links in a shared temporary folder."""
        if is_link:
            (tmp_path / "target").mkdir(mode=0o700)
            folder.symlink_to(tmp_path / "target")
            os.chown(folder, 12345, 12345, follow_symlinks=False)
        else:
            folder.mkdir(mode=0o700)
            os.chown(folder, 12345, 12345)

        with pytest.raises(UnusableFolder, match="another user"):
            Folder(folder).prepare()


class TestLease:
    def test_a_lease_is_had_once_in_a_process(self, tmp_path: Path) -> None:
        lease = Lease.take(tmp_path / "a.sqlite3")

        assert lease is not None
        assert Lease.take(tmp_path / "a.sqlite3") is None
        lease.release()
        again = Lease.take(tmp_path / "a.sqlite3")
        assert again is not None
        again.release(remove=True)
        assert list(tmp_path.iterdir()) == []

    def test_a_link_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("")
        (tmp_path / "a.lock").symlink_to(tmp_path / "precious")

        with pytest.raises(OSError, match="symbolic links"):
            Lease.take(tmp_path / "a.sqlite3")


class Disk:
    """A disk that fails: connections whose n-th statement raises, or all of them."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails_at: int | None = None
        self.is_full = False

    def connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        disk = self

        class Failing(sqlite3.Connection):
            def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
                disk.calls += 1
                if disk.is_full or disk.calls == disk.fails_at:
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(statement, *arguments)

        return Failing(path, **options)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def backed(make_spool: MakeSpool, clock: Clock, disk: Disk) -> Backed:
    spool = make_spool(connect=disk.connect)
    return Backed(spool, MemoryOutbox(100, clock=clock), what="the spool", instead="memory takes them", clock=clock)


class TestFailingDisk:
    def test_memory_takes_what_the_disk_does_not(
        self, backed: Backed, disk: Disk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fault: disk full."""
        backed.put(entry(1))
        disk.is_full = True

        puts = [backed.put(entry(number)) for number in range(2, 12)]

        assert puts == [Put.ACCEPTED] * 10
        assert not backed.is_well
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
            "xr2_web.outbox_failed: the spool: database or disk is full; memory takes them"
        ]

    def test_memory_is_bounded(self, backed: Backed, disk: Disk) -> None:
        disk.is_full = True

        puts = [backed.put(entry(number)) for number in range(101)]

        assert puts[-2:] == [Put.ACCEPTED, Put.FULL]

    def test_what_memory_took_goes_to_the_disk_when_it_is_well(
        self, backed: Backed, disk: Disk, clock: Clock, make_spool: MakeSpool, caplog: pytest.LogCaptureFixture
    ) -> None:
        disk.is_full = True
        backed.put(entry(1))
        backed.tend(None)
        disk.is_full = False
        clock.now += LOOK_AGAIN

        backed.tend(None)
        backed.close()

        heir = make_spool()
        heir.tend(None)
        assert emptied(heir) == [entry(1)]
        assert backed.is_well
        assert "xr2_web.outbox_well" in caplog.text

    def test_dead_letters_that_memory_took_go_to_the_disk_when_it_is_well(
        self, backed: Backed, disk: Disk, clock: Clock, make_spool: MakeSpool
    ) -> None:
        disk.is_full = True
        backed.put(entry(1))
        backed.bury(taken(backed), "refused")
        backed.keep_dead(entry(2), 3, "refused elsewhere")
        backed.tend(None)
        assert backed.at_risk() == (0, 2)
        disk.is_full = False
        clock.now += LOOK_AGAIN

        backed.tend(None)

        assert backed.at_risk() == (0, 0)
        [store] = backed.stores(others=False)
        letters = [(each.entry, each.attempts, each.reason) for each in store.letters()]
        assert letters == [(entry(1), 1, "refused"), (entry(2), 3, "refused elsewhere")]

    def test_what_is_in_memory_is_saved_at_the_end_where_the_disk_is_well_by_then(
        self, backed: Backed, disk: Disk, make_spool: MakeSpool
    ) -> None:
        disk.is_full = True
        for number in range(2 * HANDED_BACK):
            backed.put(entry(number))
        backed.keep_dead(entry(1000), 3, "refused")
        disk.is_full = False

        backed.close()

        heir = make_spool()
        heir.tend(None)
        assert heir.counts() == (100, 1)  # memory takes a hundred
        assert backed.at_risk() == (0, 0)

    @pytest.mark.parametrize("state", ["put off", "under way"])
    def test_what_is_not_due_is_saved_too(self, backed: Backed, disk: Disk, make_spool: MakeSpool, state: str) -> None:
        disk.is_full = True
        backed.put(entry(1))
        claim = taken(backed)
        if state == "put off":
            backed.retry(claim, 300.0)
        disk.is_full = False

        backed.close()

        heir = make_spool()
        heir.tend(None)
        assert emptied(heir) == [entry(1)]
        assert backed.at_risk() == (0, 0)

    def test_what_is_put_off_goes_to_the_disk_when_it_is_well(self, backed: Backed, disk: Disk, clock: Clock) -> None:
        disk.is_full = True
        backed.put(entry(1))
        backed.retry(taken(backed), 300.0)
        disk.is_full = False
        clock.now += LOOK_AGAIN

        backed.tend(None)

        assert backed.at_risk() == (0, 0)
        assert backed.counts() == (1, 0)

    def test_what_the_disk_does_not_take_even_then_is_at_risk(self, backed: Backed, disk: Disk) -> None:
        disk.is_full = True
        backed.put(entry(1))

        backed.close()

        assert backed.at_risk() == (1, 0)

    def test_events_are_delivered_from_memory_meanwhile(self, backed: Backed, disk: Disk) -> None:
        disk.is_full = True
        backed.put(entry(1))

        assert backed.next_due() == 0.0
        assert emptied(backed) == [entry(1)]
        assert backed.next_due() is None

    def test_whichever_statement_fails_no_accepted_event_is_lost(
        self, make_spool: MakeSpool, clock: Clock, disk: Disk
    ) -> None:
        """Fault: the Nth SQLite call fails, for every N."""
        total = run_through(make_spool(connect=disk.connect), clock, 0)[1] and disk.calls

        for number in range(1, total + 1):
            disk.calls, disk.fails_at = 0, number
            accepted, ended = run_through(make_spool(connect=disk.connect), clock, number)
            assert accepted == ended, f"statement {number} of {total}"

        assert total > 20

    def test_a_read_only_folder_is_a_counted_receipt_and_no_exception(
        self, make_spool: MakeSpool, folder: Path, clock: Clock
    ) -> None:
        """Fault: read-only folder; for root too, since a file stands in its place."""
        folder.write_text("")
        backed = Backed(make_spool(), MemoryOutbox(1, clock=clock), what="the spool", instead="memory", clock=clock)

        puts = [backed.put(entry(1)), backed.put(entry(2))]

        assert puts == [Put.ACCEPTED, Put.FULL]
        assert backed.tend(None) == LOOK_AGAIN


def run_through(spool: Spool, clock: Clock, base: int) -> tuple[set[str], set[str]]:
    """Put, deliver, retry, bury and hand on; return which events were accepted, and which came to an end."""
    outbox = Backed(spool, MemoryOutbox(100, clock=clock), what="the spool", instead="memory", clock=clock)
    entries = [entry(1000 * base + number) for number in range(8)]
    accepted = {each.trace_id for each in entries if outbox.put(each) is Put.ACCEPTED}
    ended: set[str] = set()
    for step in range(200):
        clock.now += LOOK_AGAIN
        outbox.tend(None)
        claim = outbox.claim()
        if claim is None:
            if outbox.next_due() is None:
                break
            continue
        if step % 3 == 0 and claim.attempts < 2:
            outbox.retry(claim, 5.0)
            continue
        if step % 3 == 1:
            outbox.bury(claim, "404: unknown event")
        else:
            outbox.done(claim)
        ended.add(claim.entry.trace_id)
    outbox.close()
    return accepted, ended
