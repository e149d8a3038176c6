"""Real applications over real databases: an order and its event commit together, and the event arrives."""

# No future annotations here: FastAPI could not find the names in them that are local to a function.
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

import xr2_web
from xr2_web.runtime import Runtime
from xr2_web.sqlalchemy import events, keep_events
from xr2_web.starlette import Xr2Middleware

from ..local_xr2 import LocalXr2
from .conftest import Kept
from .databases import Database
from .orders import Base, Order

Seen = list[tuple[list[str], list[int]]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What a transaction that is about to commit has in the table, and among the orders."""
    seen: Seen = []

    def look(session: Session, _: Any) -> None:
        connection = session.connection()
        seen.append((list(connection.scalars(select(events.c.event_name))), list(connection.scalars(select(Order.id)))))

    event.listen(Session, "after_flush", look)
    yield seen
    event.remove(Session, "after_flush", look)


@pytest.mark.parametrize("place", ["sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql"], indirect=True)
class TestFlask:
    """With Flask-SQLAlchemy, whose session is made for each request and whose engine is known to the application."""

    @pytest.fixture
    def app(self, place: Database, local_xr2: LocalXr2) -> Iterator[Flask]:
        extension = pytest.importorskip("flask_sqlalchemy")
        from xr2_web.flask import Xr2

        app = Flask(__name__)
        app.config.update(
            SQLALCHEMY_DATABASE_URI=place.url,
            XR2_API_KEY=local_xr2.api_key,
            XR2_BASE_URL=local_xr2.base_url,
            XR2_OUTBOX="database",
        )
        db = extension.SQLAlchemy(app, model_class=Base)
        with app.app_context():
            keep_events(db.engine, db.session)
        Xr2(app)

        @app.get("/")
        def landing() -> str:
            return xr2_web.get_prompt("welcome").trace_id or ""

        @app.post("/orders/<int:number>")
        def order(number: int) -> str:
            db.session.add(Order(id=number))
            xr2_web.track_event("ordered")
            db.session.commit()
            return ""

        yield app
        app.extensions["xr2_web"].runtime.close()
        with app.app_context():
            db.engine.dispose()

    def test_an_order_and_its_event_commit_together(
        self, app: Flask, plain: Any, seen: Seen, local_xr2: LocalXr2
    ) -> None:
        client = app.test_client()
        client.get("/")

        answer = client.post("/orders/1")

        assert answer.status_code == 200
        assert seen == [(["ordered"], [1])]
        assert app.extensions["xr2_web"].runtime.flush(10)
        assert [each["event_name"] for each in local_xr2.events()] == ["ordered"]

    def test_an_order_that_is_refused_takes_its_event_along(self, app: Flask, kept: Kept, local_xr2: LocalXr2) -> None:
        client = app.test_client()
        client.get("/")
        client.post("/orders/1")
        client.get("/")

        answer = client.post("/orders/1")

        assert answer.status_code == 500
        assert app.extensions["xr2_web"].runtime.flush(10)
        assert len(local_xr2.events()) == 1
        assert (kept.in_table(), kept.in_spool()) == ([], [])


@pytest.mark.parametrize("place", ["sqlite+aiosqlite", "postgresql+asyncpg"], indirect=True)
class TestFastApi:
    """With an AsyncSession of a dependency, and an AsyncEngine for it and for the couriers."""

    @pytest.fixture
    def app(self, place: Database, plain: Any, local_xr2: LocalXr2) -> FastAPI:
        engine = create_async_engine(place.url)
        sessions = async_sessionmaker(engine)
        keep_events(engine, sessions)

        async def session() -> AsyncIterator[AsyncSession]:
            async with sessions.begin() as begun:
                yield begun

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            yield
            await engine.dispose()

        app = FastAPI(lifespan=lifespan)
        app.add_middleware(Xr2Middleware, api_key=local_xr2.api_key, base_url=local_xr2.base_url, outbox="database")

        @app.get("/")
        async def landing() -> str:
            return (await xr2_web.aget_prompt("welcome")).trace_id or ""

        @app.post("/orders/{number}")
        async def order(number: int, session: Annotated[AsyncSession, Depends(session)], is_wrong: bool = False) -> int:
            session.add(Order(id=number))
            await xr2_web.atrack_event("ordered")
            if is_wrong:
                raise HTTPException(409)
            return number

        return app

    def test_an_order_and_its_event_commit_together(self, app: FastAPI, seen: Seen, local_xr2: LocalXr2) -> None:
        with TestClient(app) as client:
            client.get("/")
            answer = client.post("/orders/1")

        assert answer.status_code == 200
        assert seen == [(["ordered"], [1])]
        assert [each["event_name"] for each in local_xr2.events()] == ["ordered"]

    @pytest.mark.parametrize("is_there_before", [False, True])
    def test_an_order_that_is_refused_takes_its_event_along(
        self, app: FastAPI, kept: Kept, local_xr2: LocalXr2, is_there_before: bool
    ) -> None:
        with TestClient(app, raise_server_exceptions=False) as client:
            if is_there_before:
                client.post("/orders/1")
            client.get("/")
            client.post("/orders/1", params={} if is_there_before else {"is_wrong": True})

        assert (local_xr2.events(), kept.in_table(), kept.in_spool()) == ([], [], [])


KILLED = """
import os, signal, sys
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
import xr2_web
from xr2_web.sqlalchemy import keep_events

class Base(DeclarativeBase): ...

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)

url, when, trace_id = sys.argv[1:]
engine = create_engine(url)
sessions = sessionmaker(engine)
keep_events(engine, sessions)
runtime = xr2_web.configure(outbox="database")
with xr2_web.scope(runtime=runtime, trace_id=trace_id), sessions.begin() as session:
    event.listen(session, when, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    session.add(Order(id=1))
    xr2_web.track_event("ordered")
"""
"""Tracks an event in a transaction, and is killed at some point."""


@pytest.mark.parametrize("place", ["sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql"], indirect=True)
@pytest.mark.parametrize(("when", "left"), [("after_flush", []), ("after_commit", ["ordered"])])
def test_a_process_that_is_killed_leaves_an_order_with_its_event_or_neither(
    place: Database, plain: Any, kept: Kept, runtime: Runtime, local_xr2: LocalXr2, when: str, left: list[str]
) -> None:
    """Fault: a crash between commit and callback."""
    with xr2_web.scope(runtime=runtime):
        trace_id = xr2_web.get_prompt("welcome").trace_id or ""
    address = {"XR2_API_KEY": local_xr2.api_key, "XR2_BASE_URL": local_xr2.base_url}
    url = place.url.render_as_string(hide_password=False)

    killed = subprocess.run([sys.executable, "-c", KILLED, url, when, trace_id], env=os.environ | address, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert (kept.in_table(), kept.orders()) == (left, [1] if left else [])
    assert inherited(plain, local_xr2) == left


def inherited(engine: Any, local_xr2: LocalXr2) -> list[str]:
    """Deliver as a process does that lives, and return what has arrived."""
    keep_events(engine, sessionmaker(engine))
    heir = xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url, outbox="database")
    heir.inherit()
    assert heir.flush(10)
    return [each["event_name"] for each in local_xr2.events()]


FORKED = """
import json, os, sys
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker
import xr2_web
from xr2_web.sqlalchemy import keep_events

engine = create_engine(sys.argv[1])
keep_events(engine, sessionmaker(engine))
runtime = xr2_web.configure(outbox="database", api_key="xr2_dev_key", base_url="http://127.0.0.1:9")

def track(name):
    with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
        receipt = xr2_web.track_event(name)
    assert receipt.accepted, receipt

track("before")
if not (child := os.fork()):
    track("in_child")
    runtime.close(0)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
track("after")
runtime.close(0)
"""


@pytest.mark.parametrize("place", ["sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql"], indirect=True)
def test_a_forked_process_has_connections_of_its_own(place: Database, plain: Any, kept: Kept) -> None:
    url = place.url.render_as_string(hide_password=False)

    forked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, url], capture_output=True, text=True, check=False
    )

    assert forked.returncode == 0
    assert {line.partition(":")[0] for line in forked.stderr.splitlines()} == {"xr2_web.events_left"}
    assert kept.in_table() == ["before", "in_child", "after"]
    assert kept.in_spool() == []
