from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Double, Engine, create_engine, delete, event, literal, select
from sqlalchemy.orm import Session, sessionmaker

from xr2_web import engines
from xr2_web.outbox.file import SpoolFile
from xr2_web.outbox.folder import Folder
from xr2_web.sqlalchemy import create_tables, dead_letters, events, follow_transactions
from xr2_web.sqlalchemy.outbox import DatabaseOutbox

from ..outbox.conftest import Clock
from .databases import KINDS, Database, plain_engine
from .orders import Base, Order, database
from .shop import Shop

HURRY = {"sqlite": "PRAGMA synchronous = OFF", "postgresql": "SET synchronous_commit = off"}

MakeDatabase = Callable[..., DatabaseOutbox]


@pytest.fixture
def maker() -> Iterator[sessionmaker[Session]]:
    """Make sessions whose transactions are followed."""
    engine = database()
    made = sessionmaker(engine)
    follow_transactions(made)
    yield made
    engine.dispose()


@pytest.fixture(scope="package", params=KINDS)
def place(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with our tables and the one of these tests, which is gone afterwards."""
    place = Database(request.param)
    if find_spec(place.driver if place.driver != "pysqlite" else "sqlite3") is None:
        pytest.skip(f"{place.driver} is not installed")
    place.create()
    if place.reason:
        pytest.skip(place.reason)
    try:
        create_tables(plain_engine(place))
        Base.metadata.create_all(plain_engine(place))
        yield place
    finally:
        place.drop()


@pytest.fixture
def plain(place: Database) -> Engine:
    """What is in the database; its tables are empty."""
    engine = plain_engine(place)
    with engine.begin() as connection:
        for table in (events, dead_letters, Order.__table__):
            connection.execute(delete(table))
    return engine


@pytest.fixture
def engine(place: Database, plain: Engine) -> Engine:
    """The engine of an application, over the driver under test; for asyncio, the synchronous engine inside."""
    made = create_engine(place.url)
    if place.kind in HURRY:
        event.listen(made, "connect", partial(hurry, HURRY[place.kind]))
    return made


@pytest.fixture
def shop(engine: Engine) -> Iterator[Shop]:
    """An application that uses the database itself."""
    made = Shop(engine)
    yield made
    made.close()


def hurry(statement: str, connection: Any, _: Any) -> None:
    """Configure a connection as an application does: not to wait for the disk."""
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
    connection.commit()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_database(engine: Engine, clock: Clock) -> Iterator[MakeDatabase]:
    """Makes outboxes that share the table, each as the process of another would have it, and closes them."""
    made: list[DatabaseOutbox] = []

    def make(most_events: int = 10_000, *, installation: str = "0123456789ab", **options: object) -> DatabaseOutbox:
        given = {
            "clock": clock,
            "now": lambda: literal(clock(), Double()),
            "between": lambda least, most: least,
            **options,
        }
        made.append(DatabaseOutbox(engine, installation, most_events=most_events, **given))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for outbox in made:
        outbox.close()


@pytest.fixture
def outbox(make_database: MakeDatabase) -> DatabaseOutbox:
    return make_database()


class Tables:
    """What stands in the tables."""

    def __init__(self, plain: Engine) -> None:
        self._plain = plain

    def tokens(self) -> list[str]:
        with self._plain.connect() as connection:
            return list(connection.scalars(select(events.c.token).order_by(events.c.id)))

    def count_dead(self) -> int:
        with self._plain.connect() as connection:
            return len(connection.scalars(select(dead_letters.c.id)).all())


@pytest.fixture
def table(plain: Engine) -> Tables:
    return Tables(plain)


class Kept:
    """What is kept, and where."""

    def __init__(self, plain: Engine, spool: Path) -> None:
        self._plain = plain
        self._spool = spool

    def in_table(self) -> list[str]:
        """Return the names of the events in the table."""
        with self._plain.connect() as connection:
            return list(connection.scalars(select(events.c.event_name).order_by(events.c.id)))

    def in_spool(self) -> list[str]:
        """Return the names of the events in the spool."""
        names: list[str] = []
        for path in Folder(self._spool).files():
            if (file := SpoolFile.look(path)) is not None:
                with closing(file):
                    names += [row.entry.event_name for row in file.read(0, 100)]
        return names

    def orders(self) -> list[int]:
        """Return the orders that stand."""
        with self._plain.connect() as connection:
            return list(connection.scalars(select(Order.id).order_by(Order.id)))


@pytest.fixture
def kept(plain: Engine, state_home: Path) -> Kept:
    return Kept(plain, state_home / "xr2-web" / "outbox")


@pytest.fixture(autouse=True)
def _offers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another has offered."""
    monkeypatch.setattr(engines, "_offered", dict(engines._offered))
