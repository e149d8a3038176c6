"""How ``keep_events`` is set up: what it takes, refuses, and leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, StaticPool, create_engine, create_mock_engine, event, inspect
from sqlalchemy.orm import sessionmaker

import xr2_web
from xr2_web import ConfigurationError
from xr2_web.outbox import Put
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.runtime import Runtime
from xr2_web.settings import Settings
from xr2_web.sqlalchemy import create_tables, keep_events, metadata
from xr2_web.sqlalchemy.outbox import new_database

from ..conftest import RuntimeMaker
from ..local_xr2 import LocalXr2
from ..outbox.conftest import entry
from .conftest import MakeDatabase
from .orders import Order, database


def test_the_tables_can_be_made_and_made_again(place: Any, engine: Engine) -> None:
    create_tables(engine)
    create_tables(engine)


async def test_on_an_event_loop_the_way_to_make_the_tables_is_named() -> None:
    with pytest.raises(RuntimeError, match="run_sync"):
        create_tables(create_engine("sqlite://"))


def test_the_tables_can_be_part_of_an_applications_own_metadata() -> None:
    own = MetaData()
    engine = create_engine("sqlite://")

    for table in metadata.tables.values():
        table.to_metadata(own)
    own.create_all(engine)

    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["xr2_web_deadletter", "xr2_web_event"]
        indexes = {index["name"] for index in inspect(connection).get_indexes("xr2_web_event")}
    engine.dispose()
    assert indexes == {"xr2_web_event_due", "xr2_web_event_trace"}


def test_a_database_whose_clock_is_not_known_is_refused_at_start() -> None:
    engine: Any = create_mock_engine("oracle://", lambda *_: None)

    with pytest.raises(ConfigurationError, match="events cannot be kept in oracle"):
        keep_events(engine, sessionmaker())


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:here?mode=memory&uri=true"])
def test_beside_a_database_in_memory_events_wait_in_memory(url: str) -> None:
    outbox = new_database(create_engine(url, poolclass=StaticPool), Settings(api_key="xr2_dev_key"))

    assert isinstance(outbox, MemoryOutbox)


def test_an_order_in_memory_and_its_event_stand_and_fall_together_too(
    make_runtime: RuntimeMaker, local_xr2: LocalXr2
) -> None:
    engine = database()
    sessions = sessionmaker(engine)
    keep_events(engine, sessions)
    runtime: Runtime = make_runtime(outbox="database")

    with xr2_web.scope(runtime=runtime):
        xr2_web.get_prompt("welcome")
        with sessions.begin() as session:
            session.add(Order(id=1))
            xr2_web.track_event("dropped")
            session.rollback()
        with sessions.begin() as session:
            session.add(Order(id=2))
            xr2_web.track_event("ordered")
    flushed = runtime.flush(5)
    engine.dispose()

    assert flushed
    assert [each["event_name"] for each in local_xr2.events()] == ["ordered"]


def test_our_connections_are_set_up_as_those_of_the_application(engine: Engine, make_database: MakeDatabase) -> None:
    set_up: list[Any] = []
    event.listen(engine, "connect", lambda connection, _: set_up.append(connection))

    put = make_database().put(entry())

    assert put is Put.ACCEPTED
    assert len(set_up) == 1


def test_our_first_connection_teaches_the_applications_engine_nothing(
    engine: Engine, make_database: MakeDatabase
) -> None:
    """Its own first connection may be under way at the same time, and would find it half taught."""
    put = make_database().put(entry())

    assert put is Put.ACCEPTED
    assert version(engine) == version(create_engine(engine.url))


def version(engine: Engine) -> Any:
    return getattr(engine.dialect, "server_version_info", None)
