"""What a command makes of files that go while it looks at them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from xr2_web.outbox import Entry
from xr2_web.outbox.file import SpoolFile
from xr2_web.outbox.lease import Lease
from xr2_web.outbox.paths import remove
from xr2_web.outbox.requests import Request
from xr2_web.outbox.store import Changed
from xr2_web.outbox.visit import Visit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a-1-0.sqlite3"
    with closing(SpoolFile.create(path, synchronous="OFF")) as file:
        file.insert(1, Entry("evt_1", "sign_up", b"{}", 1000.0))
    return path


@pytest.fixture(params=["of a living process", "of a dead process"])
def owned(request: pytest.FixtureRequest, path: Path) -> Iterator[Path]:
    lease = Lease.take(path) if request.param == "of a living process" else None
    yield path
    if lease is not None:
        lease.release(remove=True)


def failing(file: SpoolFile) -> Request:
    """Plan nothing: fail as SQLite does where the file has gone that it is reading."""
    raise sqlite3.OperationalError("disk I/O error")


def test_a_file_that_goes_while_it_is_read_is_looked_for_again(owned: Path) -> None:
    def plan(file: SpoolFile) -> Request:
        remove(owned)
        return failing(file)

    visit = Visit(plan, patience=0.0)

    visit.go([owned])

    assert visit.is_unsettled
    assert visit.changed == Changed()


def test_a_file_that_is_there_and_cannot_be_read_is_named(owned: Path) -> None:
    visit = Visit(failing, patience=0.0)

    visit.go([owned])

    assert not visit.is_unsettled
    assert visit.changed == Changed(undone=("a-1-0.sqlite3 cannot be read: disk I/O error",))
