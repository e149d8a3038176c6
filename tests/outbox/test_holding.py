"""The file of a process over time: nothing that was accepted goes with it, and no room stays taken."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xr2_web.outbox import Put
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.household import WEIGHED_EVERY
from xr2_web.outbox.spool import Spool
from xr2_web.outbox.spool_store import SpoolStore

from .conftest import ORIGIN, Clock, emptied, entry, taken

MakeSpool = Callable[..., Spool]


class Interrupted(BaseException):
    """What a time limit raises by a signal."""


class Interrupting:
    """A disk whose next insert is followed by an exception, as a signal's handler may raise it anywhere."""

    is_armed = False

    def connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        interrupting = self

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
                cursor = super().execute(statement, *arguments)
                if interrupting.is_armed and statement.startswith("INSERT INTO events"):
                    interrupting.is_armed = False
                    raise Interrupted
                return cursor

        return sqlite3.connect(path, **options, factory=Connection)


@pytest.fixture
def interrupting() -> Interrupting:
    return Interrupting()


@pytest.fixture
def interrupted(make_spool: MakeSpool, interrupting: Interrupting) -> Spool:
    """A spool in which a put was interrupted when its event was in the file."""
    spool = make_spool(connect=interrupting.connect)
    interrupting.is_armed = True
    with pytest.raises(Interrupted):
        spool.put(entry(1))
    return spool


class TestInterruptions:
    def test_what_was_written_then_is_delivered_and_counted(self, interrupted: Spool) -> None:
        """Fault: an exception of a signal's handler, as of the time limits of RQ and Celery."""
        interrupted.tend(None)

        assert interrupted.counts() == (1, 0)
        assert emptied(interrupted) == [entry(1)]
        assert interrupted.counts() == (0, 0)

    def test_it_costs_no_later_event_its_file(self, interrupted: Spool, make_spool: MakeSpool) -> None:
        assert emptied(interrupted) == [entry(1)]
        interrupted.put(entry(2))

        interrupted.close()

        heir = make_spool()
        heir.tend(None)
        assert emptied(heir) == [entry(2)]

    def test_what_was_not_written_then_is_not_counted(self, make_spool: MakeSpool, interrupting: Interrupting) -> None:
        spool = make_spool(connect=interrupting.connect)
        spool.put(entry(1))
        interrupting.is_armed = True
        with pytest.raises(Interrupted):
            spool.put(entry(1))

        spool.tend(None)

        assert spool.counts() == (1, 0)


class TestRemoval:
    def test_what_was_put_into_a_removed_file_is_saved_at_the_end(self, make_spool: MakeSpool, folder: Path) -> None:
        """Fault: file or folder removed while open."""
        spool = make_spool()
        spool.put(entry(1))
        shutil.rmtree(folder)
        spool.put(entry(2))

        spool.close()

        heir = make_spool()
        heir.tend(None)
        assert emptied(heir) == [entry(1), entry(2)]
        assert spool.at_risk() == (0, 0)

    def test_what_cannot_be_saved_is_told_as_lost(
        self, make_spool: MakeSpool, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        spool = make_spool()
        spool.put(entry(1))
        shutil.rmtree(folder)
        folder.write_text("in the way")

        spool.close()

        assert spool.at_risk() == (1, 0)
        assert "xr2_web.outbox_failed: what was in " in caplog.text

    def test_a_folder_is_not_made_again_for_nothing(self, make_spool: MakeSpool, folder: Path) -> None:
        spool = make_spool()
        spool.put(entry(1))
        emptied(spool)
        shutil.rmtree(folder)

        spool.close()

        assert not folder.exists()


class TestRoom:
    @pytest.fixture(autouse=True)
    def _little(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("xr2_web.outbox.file.LOG_BYTES", 0)
        monkeypatch.setattr("xr2_web.outbox.holding.HEAVY", 200_000)

    def test_a_folder_that_was_full_takes_events_when_they_have_left(
        self, make_spool: MakeSpool, folder: Path, clock: Clock
    ) -> None:
        spool = make_spool(most_bytes=300_000)
        while spool.put(entry(number := int(clock.now))._replace(body=bytes(10_000))) is Put.ACCEPTED:
            clock.now += WEIGHED_EVERY
            spool.tend(None)
        assert number > 1000
        full = Folder(folder).size()
        emptied(spool)

        for _ in range(2):
            clock.now += WEIGHED_EVERY
            spool.tend(None)

        assert spool.put(entry(1)) is Put.ACCEPTED
        assert Folder(folder).size() < 100_000 < full
        assert emptied(spool) == [entry(1)]

    def test_dead_letters_go_along(self, make_spool: MakeSpool, folder: Path, clock: Clock) -> None:
        spool = make_spool()
        for number in range(50):
            spool.put(entry(number)._replace(body=bytes(10_000)))
        spool.bury(taken(spool), "refused")
        emptied(spool)
        before = list(folder.glob("*.sqlite3"))

        for _ in range(2):
            spool.tend(None)

        assert list(folder.glob("*.sqlite3")) != before
        assert spool.counts() == (0, 1)
        [letter] = SpoolStore(Folder(folder), ORIGIN.installation, others=False).letters()
        assert (letter.entry.trace_id, letter.reason) == ("evt_0", "refused")

    def test_a_file_stays_while_an_event_is_in_it(self, make_spool: MakeSpool, folder: Path) -> None:
        spool = make_spool()
        for number in range(50):
            spool.put(entry(number)._replace(body=bytes(10_000)))
        under_way = [taken(spool) for _ in range(50)]
        for claim in under_way[1:]:
            spool.done(claim)
        before = list(folder.glob("*.sqlite3"))

        for _ in range(2):
            spool.tend(None)
        spool.retry(under_way[0], 0.0)

        assert list(folder.glob("*.sqlite3")) == before
        assert [each.trace_id for each in emptied(spool)] == ["evt_0"]


def test_a_clock_that_is_ahead_for_a_moment_deletes_no_dead_letter(make_spool: MakeSpool) -> None:
    """Fault: a year forward."""
    wall = Clock()
    spool = make_spool(wall=wall)
    spool.put(entry(1))
    spool.bury(taken(spool), "refused")
    wall.now += 365 * 24 * 3600

    spool.tend(None)

    assert spool.counts() == (0, 1)


def test_what_is_put_after_the_end_is_left_to_the_next_at_once(make_spool: MakeSpool) -> None:
    spool = make_spool()
    spool.put(entry(1))
    spool.close()

    spool.put(entry(2))

    heir = make_spool()
    heir.tend(None)
    assert sorted(emptied(heir)) == [entry(1), entry(2)]
