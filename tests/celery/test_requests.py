"""From a request of each framework, through its own test client, by way of a task, to the event at xR2."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import django
import pytest
from celery import Celery
from django.conf.global_settings import SESSION_COOKIE_NAME
from django.contrib.auth import SESSION_KEY
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from flask import Flask
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from xr2_web import aget_prompt, get_prompt, track
from xr2_web.default import default, started
from xr2_web.django.installation import installation
from xr2_web.flask import Xr2
from xr2_web.runtime import Runtime
from xr2_web.starlette import Xr2Middleware

from ..local_xr2 import LocalXr2
from .seeing import header_of, value

Seen = tuple[str | None, str | None, str | None]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.adapters.django_project.settings")
django.setup()


@pytest.fixture
def buy(task: Callable[..., Any]) -> Any:
    @task
    @track("bought", value=20)
    def buy() -> None: ...

    return buy


@pytest.fixture
def settings(local_xr2: LocalXr2) -> dict[str, Any]:
    return {"api_key": local_xr2.api_key, "base_url": local_xr2.base_url}


def arrived(runtime: Runtime, local_xr2: LocalXr2) -> list[Seen]:
    """Return whose the events are that have arrived."""
    assert runtime.flush().left == 0
    return [(event["trace_id"], event["user_id"], event["session_id"]) for event in local_xr2.events()]


class TestFlask:
    @pytest.fixture
    def client(self, settings: dict[str, Any], buy: Any) -> Any:
        app = Flask(__name__)
        Xr2(app, user_id=lambda request: request.headers.get("X-User"), **settings)

        @app.get("/")
        def landing() -> str:
            return get_prompt("welcome").trace_id or ""

        @app.post("/buy")
        def order() -> str:
            result: str = buy.delay().id
            return result

        return app.test_client()

    def test_what_the_task_of_a_later_request_reports_is_the_visitors(
        self, app: Celery, client: Any, local_xr2: LocalXr2
    ) -> None:
        trace_id = client.get("/").text

        value(app.AsyncResult(client.post("/buy", headers={"X-User": "7"}).text))

        ((seen, user_id, session_id),) = arrived(default(), local_xr2)
        assert (seen, user_id) == (trace_id, "7")
        assert session_id


class TestStarlette:
    @pytest.fixture
    def client(self, settings: dict[str, Any], app: Celery, buy: Any) -> Any:
        class Named(SimpleUser):
            """As newer releases of Starlette have it: its identity is the name that was typed in."""

            identity = property(lambda self: self.username)

        class Everyone(AuthenticationBackend):
            async def authenticate(self, conn: HTTPConnection) -> Any:
                return AuthCredentials(), Named("wendolyn")

        async def landing(request: Request) -> Response:
            return PlainTextResponse((await aget_prompt("welcome")).trace_id)

        async def order(request: Request) -> Response:
            return PlainTextResponse(buy.delay().id)

        def order_in_a_thread(request: Request) -> Response:
            return PlainTextResponse(buy.delay().id)

        site = Starlette(
            routes=[
                Route("/", landing),
                Route("/buy", order, methods=["POST"]),
                Route("/buy-in-a-thread", order_in_a_thread, methods=["POST"]),
            ],
            middleware=[
                Middleware(Xr2Middleware, **settings),
                Middleware(AuthenticationMiddleware, backend=Everyone()),
            ],
        )
        return TestClient(site)

    @pytest.mark.parametrize("page", ["/buy", "/buy-in-a-thread"])
    def test_what_the_task_of_a_later_request_reports_is_the_visitors(
        self, app: Celery, client: Any, local_xr2: LocalXr2, page: str
    ) -> None:
        trace_id = client.get("/").text

        value(app.AsyncResult(client.post(page).text))

        ((seen, user_id, session_id),) = arrived(default(), local_xr2)
        assert (seen, user_id) == (trace_id, default().seal.pseudonym("wendolyn"))
        assert session_id


class TestDjango:
    @pytest.fixture
    def _site(self, settings: dict[str, Any], app: Celery, buy: Any) -> Any:
        def landing(request: HttpRequest) -> HttpResponse:
            return HttpResponse(get_prompt("welcome").trace_id)

        def order(request: HttpRequest) -> HttpResponse:
            return HttpResponse(buy.delay().id)

        def order_at_commit(request: HttpRequest) -> HttpResponse:
            sent: list[str] = []
            with transaction.atomic():
                transaction.on_commit(lambda: sent.append(buy.delay().id))
            return HttpResponse(sent[0])

        async def message(request: HttpRequest) -> HttpResponse:
            traces, *ids = header_of(app, buy)
            return HttpResponse(repr(([trace[1] for trace in traces], *ids)))

        with override_settings(
            ROOT_URLCONF=(
                path("", landing),
                path("buy", order),
                path("buy-at-commit", order_at_commit),
                path("message", message),
            ),
            XR2={name.upper(): each for name, each in settings.items()},
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        ):
            # The project's one runtime: made by an earlier test, it is no longer the process default.
            started(installation().runtime)
            yield
            installation().runtime.close(0)

    @pytest.fixture
    def client(self, _site: None) -> Client:
        client = Client()
        session = client.session
        session[SESSION_KEY] = "7"
        session.save()
        client.cookies[SESSION_COOKIE_NAME] = session.session_key
        return client

    @pytest.mark.parametrize("page", ["/buy", "/buy-at-commit"])
    def test_what_the_task_of_a_later_request_reports_is_the_visitors(
        self, app: Celery, client: Client, local_xr2: LocalXr2, django_db_blocker: Any, page: str
    ) -> None:
        trace_id = client.get("/").content.decode()

        with django_db_blocker.unblock():
            response = client.post(page)
        value(app.AsyncResult(response.content.decode()))

        ((seen, user_id, session_id),) = arrived(default(), local_xr2)
        assert (seen, user_id) == (trace_id, "7")
        assert session_id

    def test_a_page_that_only_sends_a_task_stays_as_it_was(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Trap 10: no cookie, no ``Vary``, and nothing is begun that would have to be carried on.

        Protects that sending asks without marking the session as accessed, and that `_passenger` claims no scope that
        has no session.
        """
        response = client.post("/buy")

        assert response.cookies == {}
        assert "Vary" not in response.headers
        assert [record for record in caplog.records if record.name == "xr2_web"] == []

    async def test_in_an_async_view_a_user_that_is_not_loaded_does_not_go_along(
        self, client: Client, local_xr2: LocalXr2
    ) -> None:
        """Trap 11, for tasks: nothing is looked up on the loop, and nothing raises."""
        trace_id = client.get("/").content.decode()
        asynchronous = AsyncClient()
        asynchronous.cookies = client.cookies

        response = await asynchronous.post("/message")

        traces, session_id, user_id, has_consent = eval(response.content.decode())
        assert (traces, user_id, has_consent) == ([trace_id], None, True)
        assert session_id
