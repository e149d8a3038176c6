"""Events in transactions of SQLAlchemy (trap 13): made at the commit, and never after a rollback."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import xr2_web
from xr2_web import Receipt
from xr2_web.runtime import Runtime
from xr2_web.scope import bound
from xr2_web.sqlalchemy import follow_transactions

from ..local_xr2 import LocalXr2
from .orders import Order

PENDING = Receipt(accepted=False, reason="pending")
ACCEPTED = Receipt(accepted=True)

Names = Callable[[], list[str]]


@pytest.fixture
def visit(runtime: Runtime) -> Iterator[None]:
    """A visitor who has seen a prompt."""
    with xr2_web.scope(runtime=runtime):
        xr2_web.get_prompt("welcome")
        yield


@pytest.fixture
def names(runtime: Runtime, local_xr2: LocalXr2) -> Names:
    """Return the names of the events that have arrived."""

    def arrived() -> list[str]:
        assert runtime.flush(5)
        return [event["event_name"] for event in local_xr2.events()]

    return arrived


@pytest.mark.usefixtures("visit")
class TestABlock:
    """A transaction begun explicitly, with ``begin()``."""

    def test_an_event_is_made_at_the_commit(self, maker: sessionmaker[Session], names: Names) -> None:
        with maker.begin() as session:
            session.add(Order(id=1))
            receipt = xr2_web.track_event("paid")
            before = names()

        assert receipt == PENDING
        assert before == []
        assert names() == ["paid"]

    def test_an_event_before_the_first_statement_waits_too(self, maker: sessionmaker[Session], names: Names) -> None:
        with maker.begin():
            receipt = xr2_web.track_event("paid")

        assert receipt == PENDING
        assert names() == ["paid"]

    def test_a_rollback_makes_none(self, maker: sessionmaker[Session], names: Names) -> None:
        def order() -> None:
            with maker.begin() as session:
                session.add(Order(id=1))
                xr2_web.track_event("paid")
                raise LookupError

        with pytest.raises(LookupError):
            order()

        assert names() == []

    def test_a_commit_that_fails_makes_none(self, maker: sessionmaker[Session], names: Names) -> None:
        def order(event: str) -> None:
            with maker.begin() as session:
                xr2_web.track_event(event)
                session.add(Order(id=1))

        order("paid")
        with pytest.raises(IntegrityError):
            order("paid_twice")

        assert names() == ["paid"]

    def test_a_tracked_function_waits_as_well(self, maker: sessionmaker[Session], names: Names) -> None:
        @xr2_web.track("paid")
        def pay() -> None: ...

        with maker.begin() as session:
            pay()
            session.rollback()
        rolled_back = names()
        with maker.begin():
            pay()
            before = names()

        assert rolled_back == before == []
        assert names() == ["paid"]

    def test_what_comes_after_the_block_does_not_wait(self, maker: sessionmaker[Session], names: Names) -> None:
        with maker.begin() as session:
            session.add(Order(id=1))

        receipt = xr2_web.track_event("paid")

        assert receipt == ACCEPTED

    def test_two_sessions_must_both_commit(self, maker: sessionmaker[Session], names: Names) -> None:
        with maker.begin():
            with maker.begin():
                xr2_web.track_event("paid")
            between = names()

        assert between == []
        assert names() == ["paid"]


@pytest.mark.usefixtures("visit")
class TestSavepoints:
    def test_an_event_in_one_waits_for_the_outermost_commit(self, maker: sessionmaker[Session], names: Names) -> None:
        with maker.begin() as session:
            with session.begin_nested():
                with session.begin_nested():
                    xr2_web.track_event("paid")
                xr2_web.track_event("wrapped")
            before = names()

        assert before == []
        assert sorted(names()) == ["paid", "wrapped"]

    def test_one_that_is_rolled_back_takes_its_own_events_along(
        self, maker: sessionmaker[Session], names: Names
    ) -> None:
        with maker.begin() as session:
            xr2_web.track_event("ordered")
            savepoint = session.begin_nested()
            with session.begin_nested():
                xr2_web.track_event("wrapped")
            xr2_web.track_event("paid")
            savepoint.rollback()

        assert names() == ["ordered"]


@pytest.mark.usefixtures("visit")
class TestWithoutABlock:
    """A transaction that a session began by itself."""

    def test_reading_alone_keeps_no_event_waiting(self, maker: sessionmaker[Session], names: Names) -> None:
        """Such a session is closed and never committed."""
        with maker() as session:
            session.execute(select(Order)).all()
            receipt = xr2_web.track_event("looked")

        assert receipt == ACCEPTED
        assert names() == ["looked"]

    @pytest.mark.parametrize(
        "write",
        [
            pytest.param(lambda session: session.add(Order(id=1)), id="added"),
            pytest.param(lambda session: (session.add(Order(id=1)), session.flush()), id="flushed"),
            pytest.param(lambda session: session.execute(insert(Order).values(id=1)), id="inserted"),
        ],
    )
    def test_a_session_that_writes_keeps_events_until_its_commit(
        self, maker: sessionmaker[Session], names: Names, write: Callable[[Session], Any]
    ) -> None:
        with maker() as session:
            write(session)
            receipt = xr2_web.track_event("paid")
            before = names()
            session.commit()

        assert receipt == PENDING
        assert before == []
        assert names() == ["paid"]

    @pytest.mark.parametrize("end", [Session.rollback, Session.close, Session.reset])
    def test_a_session_that_ends_without_a_commit_drops_them(
        self, maker: sessionmaker[Session], names: Names, end: Callable[[Session], None]
    ) -> None:
        with maker() as session:
            session.add(Order(id=1))
            session.flush()
            xr2_web.track_event("paid")
            end(session)

        assert names() == []

    def test_the_next_transaction_of_a_session_is_followed_anew(
        self, maker: sessionmaker[Session], names: Names
    ) -> None:
        with maker() as session:
            session.add(Order(id=1))
            xr2_web.track_event("dropped")
            session.rollback()
            session.execute(select(Order)).all()
            looked = xr2_web.track_event("looked")
            session.add(Order(id=1))
            xr2_web.track_event("paid")
            session.commit()

        assert looked == ACCEPTED
        assert sorted(names()) == ["looked", "paid"]

    def test_text_counts_as_reading(self, maker: sessionmaker[Session], names: Names) -> None:
        with maker() as session:
            session.execute(text("SELECT 1"))
            receipt = xr2_web.track_event("looked")

        assert receipt == ACCEPTED


class TestScopes:
    def test_a_scope_lets_go_of_its_transactions(self, maker: sessionmaker[Session], runtime: Runtime) -> None:
        """A WebSocket's scope lives for hours, and its sessions do not."""
        with xr2_web.scope(runtime=runtime):
            for _ in range(3):
                with maker.begin():
                    during = len(bound().transactions)
            after = bound().transactions

        assert during == 1
        assert after == ()

    @pytest.mark.usefixtures("visit")
    def test_a_scope_keeps_no_session_that_nobody_closed(self, maker: sessionmaker[Session]) -> None:
        """Its connection goes back to the pool when it is collected, and not at the end of a WebSocket."""
        session = maker()
        session.add(Order(id=1))
        session.flush()
        abandoned = weakref.ref(session)
        del session
        gc.collect()
        receipt = xr2_web.track_event("paid")

        assert abandoned() is None
        assert receipt == ACCEPTED

    def test_another_visitors_transaction_keeps_nothing_waiting(
        self, maker: sessionmaker[Session], runtime: Runtime
    ) -> None:
        with xr2_web.scope(runtime=runtime), maker.begin(), xr2_web.scope(runtime=runtime):
            xr2_web.get_prompt("welcome")
            receipt = xr2_web.track_event("paid")

        assert receipt == ACCEPTED

    def test_what_fails_at_the_commit_does_not_break_it(
        self, maker: sessionmaker[Session], runtime: Runtime, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        with xr2_web.scope(runtime=runtime), maker.begin() as session:
            session.add(Order(id=1))
            (transaction,) = bound().transactions
            transaction(fail)

        with maker() as session:
            assert len(session.scalars(select(Order)).all()) == 1
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith("xr2_web.commit_failed: ZeroDivisionError")

    def test_sessions_outside_of_any_scope_work(self, maker: sessionmaker[Session]) -> None:
        with maker.begin() as session:
            session.add(Order(id=1))
            with session.begin_nested():
                session.add(Order(id=2))

        with maker() as session:
            assert len(session.scalars(select(Order)).all()) == 2


class TestWhatCanBeFollowed:
    @pytest.mark.usefixtures("visit")
    def test_a_scoped_session(self, maker: sessionmaker[Session], names: Names) -> None:
        plain = sessionmaker(maker.kw["bind"])
        registry = scoped_session(plain)
        follow_transactions(registry)

        registry.add(Order(id=1))
        receipt = xr2_web.track_event("paid")
        registry.commit()
        registry.remove()

        assert receipt == PENDING
        assert names() == ["paid"]

    @pytest.mark.usefixtures("visit")
    def test_one_session(self, maker: sessionmaker[Session], names: Names) -> None:
        plain = sessionmaker(maker.kw["bind"])
        with plain() as followed, plain() as other:
            follow_transactions(followed)
            other.add(Order(id=1))
            of_the_other = xr2_web.track_event("ordered")
            followed.add(Order(id=2))
            of_the_followed = xr2_web.track_event("paid")

        assert [of_the_other, of_the_followed] == [ACCEPTED, PENDING]

    @pytest.mark.usefixtures("visit")
    def test_a_class_and_a_maker_and_a_session_of_it(self, maker: sessionmaker[Session], names: Names) -> None:
        class Followed(Session): ...

        follow_transactions(Followed)
        made = sessionmaker(maker.kw["bind"], class_=Followed)
        follow_transactions(made)
        with made() as session:
            follow_transactions(session)
            with session.begin(), session.begin_nested():
                receipt = xr2_web.track_event("paid")
            left = bound().transactions

        assert receipt == PENDING
        assert left == ()
        assert names() == ["paid"]

    @pytest.mark.usefixtures("visit")
    def test_sessions_of_another_maker_are_left_alone(self, maker: sessionmaker[Session]) -> None:
        plain = sessionmaker(maker.kw["bind"])

        with plain.begin():
            receipt = xr2_web.track_event("paid")

        assert receipt == ACCEPTED

    def test_sync_sessions_take_no_greenlet(self) -> None:
        """SQLAlchemy's asyncio needs it, and who uses sync sessions may not have it."""
        code = "import sys; sys.modules['greenlet'] = None; import xr2_web.sqlalchemy"

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

        assert done.stderr == ""
