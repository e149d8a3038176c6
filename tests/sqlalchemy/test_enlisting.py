"""Events that are made inside of a transaction stand and fall with it, and nothing of ours can break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, event, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

import xr2_web
from xr2_web.runtime import Runtime
from xr2_web.sqlalchemy import create_tables, keep_events

from ..conftest import RuntimeMaker
from .conftest import Kept
from .databases import Database
from .orders import Order
from .shop import Shop

SYNCHRONOUS = ("sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql")
WITH_SEVERAL_WRITERS = SYNCHRONOUS[1:]

NOBODY = "http://127.0.0.1:9"
"""Where nothing is delivered, so that the events stay where they are."""


class Undone(Exception):
    pass


@pytest.fixture
def runtime(shop: Shop, make_runtime: RuntimeMaker) -> Runtime:
    keep_events(shop.engine, shop.sessions)
    return make_runtime(outbox="database", base_url=NOBODY)


@pytest.fixture
def visit(runtime: Runtime) -> Iterator[None]:
    """A visitor."""
    with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
        yield


@pytest.fixture
def hide_table(plain: Engine) -> Iterator[Callable[[], None]]:
    """Make it look as if nobody had migrated."""

    def rename(former: str, name: str) -> None:
        with plain.begin() as connection:
            connection.execute(text(f"ALTER TABLE {former} RENAME TO {name}"))

    yield lambda: rename("xr2_web_event", "hidden")
    rename("hidden", "xr2_web_event")


def order(number: int, *names: str) -> Callable[[Session], None]:
    """Return what orders something, and tracks events."""

    def body(session: Session) -> None:
        session.add(Order(id=number))
        for name in names:
            xr2_web.track_event(name)

    return body


@pytest.mark.usefixtures("visit")
class TestATransaction:
    def test_writes_the_event_with_its_order(self, shop: Shop, kept: Kept) -> None:
        """What is there at the commit, before anything of ours is called again, survives a crash at that point."""
        seen: list[Any] = []

        def body(session: Session) -> None:
            event.listen(session, "after_commit", lambda _: seen.append((kept.in_table(), kept.orders())))
            order(1, "paid")(session)
            seen.append((kept.in_table(), kept.orders()))

        shop.transact(body)

        assert seen == [([], []), (["paid"], [1])]
        assert kept.in_table() == ["paid"]
        assert kept.in_spool() == []

    def test_that_is_rolled_back_takes_the_event_along(self, shop: Shop, kept: Kept) -> None:
        def body(session: Session) -> None:
            order(1, "paid")(session)
            session.flush()
            raise Undone

        with pytest.raises(Undone):
            shop.transact(body)

        assert (kept.in_table(), kept.in_spool(), kept.orders()) == ([], [], [])

    def test_whose_commit_fails_takes_the_event_along(self, shop: Shop, kept: Kept) -> None:
        """The order is refused after the event was written, before which nothing was."""
        shop.transact(order(1))

        with pytest.raises(IntegrityError):
            shop.transact(order(1, "paid"))

        assert (kept.in_table(), kept.in_spool(), kept.orders()) == ([], [], [1])

    def test_with_a_savepoint_that_is_rolled_back_keeps_the_events_outside_of_it(self, shop: Shop, kept: Kept) -> None:
        def body(session: Session) -> None:
            order(1, "kept")(session)
            with session.begin_nested() as savepoint:
                order(2, "dropped", "made_again")(session)
                savepoint.rollback()
            with session.begin_nested():
                order(3, "made_again")(session)

        shop.transact(body)

        assert kept.in_table() == ["kept", "made_again"]
        assert kept.orders() == [1, 3]

    @pytest.mark.parametrize("is_there_before", [False, True])
    def test_that_makes_an_event_twice_writes_it_once(self, shop: Shop, kept: Kept, is_there_before: bool) -> None:
        if is_there_before:
            shop.transact(order(1, "paid"))

        shop.transact(order(2, "paid", "paid"))

        assert kept.in_table() == ["paid"]
        assert kept.in_spool() == []

    def test_that_somebody_kept_from_its_commit_writes_the_event_once(self, shop: Shop, kept: Kept) -> None:
        refusals = [Undone()]

        def refuse(_: Session) -> None:
            if refusals:
                raise refusals.pop()

        def body(session: Session) -> None:
            order(1, "paid")(session)
            event.listen(session, "before_commit", refuse)
            with pytest.raises(Undone):
                session.commit()

        shop.transact(body)

        assert kept.in_table() == ["paid"]
        assert kept.orders() == [1]

    def test_that_only_makes_an_event_need_not_connect(self, shop: Shop, kept: Kept) -> None:
        shop.transact(lambda session: xr2_web.track_event("paid"))

        # From the spool it goes to the table.
        assert {*kept.in_spool(), *kept.in_table()} == {"paid"}

    def test_goes_on_without_our_table(self, shop: Shop, kept: Kept, hide_table: Callable[[], None]) -> None:
        """Fault: database down at the insert (spool takes it), or never migrated."""
        hide_table()

        shop.transact(order(1, "paid"))

        assert kept.orders() == [1]
        assert kept.in_spool() == ["paid"]

    def test_is_known_by_its_database_and_not_by_its_engine(
        self, shop: Shop, kept: Kept, plain: Engine, make_runtime: RuntimeMaker
    ) -> None:
        """The couriers' engine may have another driver than the sessions have."""
        keep_events(plain, shop.sessions)
        seen: list[Any] = []

        def body(session: Session) -> None:
            event.listen(session, "after_commit", lambda _: seen.append(kept.in_table()))
            order(1, "paid")(session)

        with xr2_web.scope(runtime=make_runtime(outbox="database", base_url=NOBODY), trace_id="evt_1"):
            shop.transact(body)

        assert seen == [["paid"]]


@pytest.mark.usefixtures("visit")
@pytest.mark.parametrize("place", SYNCHRONOUS, indirect=True)
class TestSeveralTransactions:
    """Where not everything commits in one, the event waits for all, and is put."""

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> Iterator[Engine]:
        engine = create_engine(f"sqlite:///{tmp_path / 'elsewhere'}")
        Order.metadata.create_all(engine)
        create_tables(engine)
        yield engine
        engine.dispose()

    def test_in_two_sessions(self, shop: Shop, kept: Kept) -> None:
        with shop.sessions.begin() as session:
            session.add(Order(id=1))
            with shop.sessions.begin():
                xr2_web.track_event("paid")
            between = kept.in_table()

        assert between == []
        assert kept.in_table() == ["paid"]

    def test_in_two_sessions_of_which_one_is_rolled_back(self, shop: Shop, kept: Kept) -> None:
        with shop.sessions.begin() as session:
            session.add(Order(id=1))
            with shop.sessions.begin() as inner:
                xr2_web.track_event("paid")
                inner.rollback()

        assert kept.in_table() == []
        assert kept.orders() == [1]

    def test_of_another_database(self, shop: Shop, kept: Kept, elsewhere: Engine) -> None:
        seen: list[Any] = []
        sessions = sessionmaker(elsewhere)
        keep_events(shop.engine, sessions)

        with sessions.begin() as session:
            event.listen(session, "after_commit", lambda _: seen.append(kept.in_table()))
            order(1, "paid")(session)

        assert seen == [[]]
        assert kept.in_table() == ["paid"]

    def test_of_one_session(self, shop: Shop, kept: Kept, elsewhere: Engine) -> None:
        """The order may fail after the event has committed."""
        seen: list[Any] = []

        with shop.sessions.begin() as session:
            event.listen(session, "after_commit", lambda _: seen.append(kept.in_table()))
            session.execute(select(Order.id))
            session.execute(select(Order.id), bind_arguments={"bind": elsewhere})
            order(1, "paid")(session)

        assert seen == [[]]
        assert kept.in_table() == ["paid"]

    def test_none_at_all(self, shop: Shop, kept: Kept) -> None:
        """In autocommit mode the order may fail after the event stands."""
        sessions = sessionmaker(shop.engine.execution_options(isolation_level="AUTOCOMMIT"))
        keep_events(shop.engine, sessions)
        seen: list[Any] = []

        with sessions.begin() as session:
            event.listen(session, "after_commit", lambda _: seen.append(kept.in_table()))
            order(1, "paid")(session)

        assert seen == [[]]
        assert kept.in_table() == ["paid"]


@pytest.mark.parametrize("place", ["postgresql+psycopg"], indirect=True)
def test_engines_that_do_not_say_where_they_lead_are_known_by_their_pool(
    place: Database, kept: Kept, make_runtime: RuntimeMaker
) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = place.url.set(drivername="postgresql").render_as_string(hide_password=False)
    shop = Shop(create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url)))
    keep_events(shop.engine, shop.sessions)
    seen: list[Any] = []

    def body(session: Session) -> None:
        event.listen(session, "after_commit", lambda _: seen.append(kept.in_table()))
        order(1, "paid")(session)

    with xr2_web.scope(runtime=make_runtime(outbox="database", base_url=NOBODY), trace_id="evt_1"):
        shop.transact(body)
    shop.close()

    assert seen == [["paid"]]


@pytest.mark.usefixtures("visit")
@pytest.mark.parametrize("place", ["sqlite+pysqlite"], indirect=True)
def test_another_writer_of_sqlite_cannot_come_between_our_look_and_our_event(
    shop: Shop, kept: Kept, plain: Engine
) -> None:
    """It would make the transaction fail whose snapshot is older, and with it the order."""
    with plain.connect() as connection:
        connection.execute(text("PRAGMA journal_mode = WAL"))

    def interfere(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO xr2_web_event" in statement:
            hasty = create_engine(plain.url, poolclass=NullPool, connect_args={"timeout": 0})
            with suppress(OperationalError), hasty.begin() as other:
                other.execute(insert(Order).values(id=2))

    event.listen(shop.engine, "before_cursor_execute", interfere)

    shop.transact(order(1, "paid"))

    assert kept.orders() == [1]
    assert kept.in_table() == ["paid"]


@pytest.mark.parametrize("place", WITH_SEVERAL_WRITERS, indirect=True)
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_visitors_neither_wait_for_each_others_events_nor_fail_by_them(
    shop: Shop, kept: Kept, runtime: Runtime, level: str
) -> None:
    """The whole of another transaction, with an event of the same key, comes between our event and our commit."""
    sessions = sessionmaker(shop.engine.execution_options(isolation_level=level))
    keep_events(shop.engine, sessions)
    has_waited: list[bool] = []

    def buy(number: int, between: Callable[..., None] | None = None) -> None:
        with xr2_web.scope(runtime=runtime, trace_id="evt_1"), sessions.begin() as session:
            if between is not None:
                event.listen(session, "before_flush", between, once=True)
            order(number, "paid")(session)

    def visit(*_: Any) -> None:
        other = Thread(target=buy, args=(2,))
        other.start()
        other.join(10)
        has_waited.append(other.is_alive())

    buy(1, between=visit)

    assert has_waited == [False]
    assert kept.orders() == [1, 2]
    assert kept.in_table() == ["paid", "paid"]
