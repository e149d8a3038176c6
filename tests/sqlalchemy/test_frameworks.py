"""SQLAlchemy as it is used: async sessions, a FastAPI dependency that commits at its exit, Flask-SQLAlchemy."""

# No future annotations here: FastAPI could not find the names in them that are local to a function.
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from flask import Flask
from httpx import ASGITransport, AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

import xr2_web
from xr2_web import Receipt
from xr2_web.runtime import Runtime
from xr2_web.sqlalchemy import follow_transactions
from xr2_web.starlette import Xr2Middleware

from ..local_xr2 import LocalXr2
from .orders import Base, Order

PENDING = Receipt(accepted=False, reason="pending")


def names(runtime: Runtime, local_xr2: LocalXr2) -> list[str]:
    assert runtime.flush(5)
    return [event["event_name"] for event in local_xr2.events()]


class TestAsyncSessions:
    @pytest.fixture
    async def maker(self) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
        pytest.importorskip("aiosqlite")
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        made = async_sessionmaker(engine)
        follow_transactions(made)
        yield made
        await engine.dispose()

    async def test_an_event_is_made_at_the_commit(
        self, maker: async_sessionmaker[AsyncSession], runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        with xr2_web.scope(runtime=runtime):
            await xr2_web.aget_prompt("welcome")
            async with maker.begin() as session:
                session.add(Order(id=1))
                await session.flush()
                receipt = await xr2_web.atrack_event("paid")
                before = names(runtime, local_xr2)

        assert receipt == PENDING
        assert before == []
        assert names(runtime, local_xr2) == ["paid"]

    async def test_a_rollback_makes_none(
        self, maker: async_sessionmaker[AsyncSession], runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        with xr2_web.scope(runtime=runtime):
            await xr2_web.aget_prompt("welcome")
            async with maker.begin() as session:
                session.add(Order(id=1))
                await xr2_web.atrack_event("paid")
                await session.rollback()

        assert names(runtime, local_xr2) == []

    async def test_a_tracked_coroutine_that_waits_for_the_response_is_rolled_back_too(
        self, maker: async_sessionmaker[AsyncSession], local_xr2: LocalXr2
    ) -> None:
        @xr2_web.track("paid", after="response")
        async def pay() -> None: ...

        async def order(request: Request) -> Response:
            await xr2_web.aget_prompt("welcome")
            async with maker.begin() as session:
                session.add(Order(id=1))
                await pay()
                if "is_wrong" in request.query_params:
                    await session.rollback()
            return Response()

        installed = Xr2Middleware(
            Starlette(routes=[Route("/", order, methods=["POST"])]),
            api_key=local_xr2.api_key,
            base_url=local_xr2.base_url,
        )
        async with AsyncClient(transport=ASGITransport(installed), base_url="http://localhost") as client:
            await client.post("/?is_wrong")
            rolled_back = names(installed.runtime, local_xr2)
            await client.post("/")
        committed = names(installed.runtime, local_xr2)
        installed.runtime.close()

        assert rolled_back == []
        assert committed == ["paid"]

    async def test_one_session_and_a_class_of_its_own(
        self, maker: async_sessionmaker[AsyncSession], runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        plain = async_sessionmaker(maker.kw["bind"])
        with xr2_web.scope(runtime=runtime):
            await xr2_web.aget_prompt("welcome")
            async with plain() as session, plain() as other:
                follow_transactions(session)
                other.add(Order(id=1))
                of_the_other = await xr2_web.atrack_event("ordered")
                session.add(Order(id=2))
                of_the_followed = await xr2_web.atrack_event("paid")

        assert of_the_other.accepted
        assert of_the_followed == PENDING


class TestFastApi:
    """A dependency that begins a transaction, and commits it when the response is done."""

    @pytest.fixture
    def app(self, maker: sessionmaker[Session], local_xr2: LocalXr2) -> FastAPI:
        def session() -> Iterator[Session]:
            with maker.begin() as begun:
                yield begun

        app = FastAPI()
        app.add_middleware(
            Xr2Middleware,
            api_key=local_xr2.api_key,
            base_url=local_xr2.base_url,
            events={"POST /orders/{number}": "ordered"},
        )

        @app.get("/")
        async def landing() -> str:
            return (await xr2_web.aget_prompt("welcome")).trace_id or ""

        @app.post("/orders/{number}")
        @xr2_web.track("purchase_completed")
        def order(number: int, session: Annotated[Session, Depends(session)], is_wrong: bool = False) -> int:
            session.add(Order(id=number))
            xr2_web.track_event("attempted")
            if is_wrong:
                raise HTTPException(409)
            return number

        return app

    def test_an_order_that_is_committed_makes_its_events(self, app: FastAPI, local_xr2: LocalXr2) -> None:
        with TestClient(app) as client:
            client.get("/")
            answer = client.post("/orders/1")

        assert answer.status_code == 200
        assert {event["event_name"] for event in local_xr2.events()} == {
            "attempted",
            "purchase_completed",
            "ordered",
        }

    def test_an_order_that_is_rolled_back_makes_none(self, app: FastAPI, local_xr2: LocalXr2) -> None:
        with TestClient(app) as client:
            client.get("/")
            answer = client.post("/orders/1?is_wrong=true")

        assert answer.status_code == 409
        assert local_xr2.events() == []

    def test_an_order_that_cannot_be_committed_makes_none(
        self, app: FastAPI, maker: sessionmaker[Session], local_xr2: LocalXr2
    ) -> None:
        """Trap 14: the commit may fail when the 200 has left."""
        with maker.begin() as session:
            session.add(Order(id=1))

        with TestClient(app, raise_server_exceptions=False) as client:
            client.get("/")
            client.post("/orders/1")

        assert local_xr2.events() == []


class TestFlaskSqlalchemy:
    @pytest.fixture
    def serve(self, local_xr2: LocalXr2) -> Iterator[Callable[..., Any]]:
        """Build an application whose orders are committed, or not, as ``finish`` says."""
        extension = pytest.importorskip("flask_sqlalchemy")
        from xr2_web.flask import Xr2

        opened: list[Flask] = []

        def serve(finish: Callable[[Any], object]) -> Flask:
            app = Flask(__name__)
            app.config.update(
                SQLALCHEMY_DATABASE_URI="sqlite://",
                XR2_API_KEY=local_xr2.api_key,
                XR2_BASE_URL=local_xr2.base_url,
                XR2_USER_ID=lambda request: db.session.scalars(select(Order.id)).first(),
            )
            db = extension.SQLAlchemy(app, model_class=Base)
            follow_transactions(db.session)
            Xr2(app)

            @app.get("/")
            def landing() -> str:
                return xr2_web.get_prompt("welcome").trace_id or ""

            @app.post("/buy")
            def buy() -> str:
                db.session.add(Order(id=7))
                pay()
                receipt = xr2_web.track_event("ordered")
                finish(db.session)
                return receipt.reason or ""

            with app.app_context():
                db.create_all()
            opened.append(app)
            return app

        @xr2_web.track("paid")
        def pay() -> None: ...

        yield serve
        for app in opened:
            app.extensions["xr2_web"].runtime.close()
            with app.app_context():
                for engine in app.extensions["sqlalchemy"].engines.values():
                    engine.dispose()

    def test_an_order_that_is_committed_makes_its_events(
        self, serve: Callable[..., Flask], local_xr2: LocalXr2
    ) -> None:
        """The user of a tracked function is found when the transaction is over: in it a query would be an error."""
        app = serve(lambda session: session.commit())
        client = app.test_client()

        client.get("/")
        answer = client.post("/buy")

        assert answer.text == "pending"
        assert app.extensions["xr2_web"].runtime.flush(5)
        assert {event["event_name"]: event["user_id"] for event in local_xr2.events()} == {"paid": "7", "ordered": "7"}

    def test_an_order_that_is_not_makes_none(self, serve: Callable[..., Flask], local_xr2: LocalXr2) -> None:
        app = serve(lambda session: None)
        client = app.test_client()

        client.get("/")
        client.post("/buy")

        assert app.extensions["xr2_web"].runtime.flush(5)
        assert local_xr2.events() == []
