"""Wrong use is told, once, with the fix: installed twice, called outside of ours, ``@track`` above the route."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import xr2_web
from xr2_web import aget_prompt, configure, get_prompt, track, track_event

from ..local_xr2 import LocalXr2
from .modes import DJANGO, DJANGO_SYNC, FASTAPI, FLASK, LITESTAR, QUART, STARLETTE


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """Return the messages of one kind."""
    messages = [record.getMessage() for record in caplog.records if record.name == "xr2_web"]
    return [message for message in messages if message.startswith(f"xr2_web.{name}:")]


class TestInstalledTwice:
    """Trap 18: `Exchange.tell_twice` says so, once."""

    @pytest.mark.parametrize("mode", DJANGO)
    def test_in_django(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from django.conf import settings

        from .django_sites import OURS

        site = open_site(django={"MIDDLEWARE": [*settings.MIDDLEWARE, OURS]})

        self.visit(site)

        assert len(told(caplog, "installed_twice")) == 1

    @pytest.mark.parametrize("mode", FLASK)
    def test_in_flask(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from xr2_web.flask import Xr2

        site = open_site()

        Xr2(site.app)
        Xr2(site.app)

        assert len(told(caplog, "installed_twice")) == 1

    @pytest.mark.parametrize("mode", FLASK)
    def test_in_a_mounted_flask_application(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from flask import Flask
        from werkzeug.middleware.dispatcher import DispatcherMiddleware

        from xr2_web.flask import Xr2

        inner = Flask("inner")
        Xr2(inner, enabled=False)
        inner.add_url_rule("/", "inside", lambda: "inside")

        def mount(app: Flask) -> None:
            app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/shop": inner})  # type: ignore[method-assign]

        self.visit(open_site(extend=mount), "/shop/")

        assert len(told(caplog, "installed_twice")) == 1

    @pytest.mark.parametrize("mode", [*STARLETTE, *FASTAPI])
    def test_in_an_asgi_application(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from starlette.middleware import Middleware

        from xr2_web.starlette import Xr2Middleware

        site = open_site(inner=[Middleware(Xr2Middleware, enabled=False)])

        self.visit(site)

        assert len(told(caplog, "installed_twice")) == 1

    def test_once_installed_nothing_is_told(self, site: Any, caplog: pytest.LogCaptureFixture) -> None:
        self.visit(site)

        assert told(caplog, "installed_twice") == []

    def visit(self, site: Any, path: str = "/") -> None:
        visitor = site.visitor()
        visitor.get(path)
        visitor.get(path)


class TestOutsideOfOurs:
    """No scope is bound there, so what is fetched is tied to nobody."""

    @pytest.mark.parametrize("mode", STARLETTE)
    def test_a_base_http_middleware(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware

        async def dispatch(request: Any, call_next: Any) -> Any:
            await aget_prompt("welcome")
            track_event("visited")
            return await call_next(request)

        visitor = open_site(outer=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)]).visitor()

        visitor.get("/")
        visitor.get("/")

        assert sorted(message.split()[1] for message in told(caplog, "outside")) == ["get_prompt", "track"]
        assert told(caplog, "no_scope") == []

    @pytest.mark.parametrize("mode", STARLETTE)
    def test_the_same_inside_of_ours_is_fine(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware

        async def dispatch(request: Any, call_next: Any) -> Any:
            await aget_prompt("welcome")
            return await call_next(request)

        site = open_site(outer=[], inner=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)])

        site.visitor().get("/")

        assert told(caplog, "outside") == []

    @pytest.mark.parametrize("mode", [*STARLETTE[:1], *FASTAPI[:1]])
    def test_an_application_without_our_middleware(
        self, open_site: Any, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
    ) -> None:
        configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)
        site = open_site(is_installed=False)

        site.visitor().get("/product/welcome")

        assert len(told(caplog, "outside")) == 1

    @pytest.mark.parametrize("mode", DJANGO)
    def test_a_middleware_of_django(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from django.conf import settings

        outer = f"{__name__}.fetching_middleware"
        site = open_site(django={"MIDDLEWARE": [outer, *settings.MIDDLEWARE]})

        site.visitor().get("/")

        assert len(told(caplog, "outside")) == 1

    @pytest.mark.parametrize("mode", FLASK[:1])
    def test_a_flask_application_without_the_extension(
        self, open_site: Any, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
    ) -> None:
        configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)
        site = open_site(is_installed=False)

        site.visitor().get("/product/welcome")

        assert len(told(caplog, "outside")) == 1

    @pytest.mark.parametrize("mode", [*STARLETTE[:1], *FASTAPI[:1]])
    def test_what_is_fetched_at_start_is_no_mistake(
        self, local_xr2: LocalXr2, mode: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        from contextlib import asynccontextmanager

        from starlette.testclient import TestClient

        configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)

        @asynccontextmanager
        async def warm_up(app: object) -> Any:
            assert (await aget_prompt("welcome")).trace_id
            yield

        if mode.name.startswith("fastapi"):
            from fastapi import FastAPI as Application
        else:
            from starlette.applications import Starlette as Application

        with TestClient(Application(lifespan=warm_up)):
            pass

        assert told(caplog, "outside") == []

    def test_a_script_is_no_mistake(self, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture) -> None:
        configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)

        get_prompt("welcome")
        track_event("visited")

        assert told(caplog, "outside") == []
        assert len(told(caplog, "no_scope")) == 1


def fetching_middleware(get_response: Any) -> Any:
    """A middleware of Django that stands outside of ours."""

    def middleware(request: Any) -> Any:
        xr2_web.get_prompt("welcome")
        return get_response(request)

    return middleware


class TestTrackAboveTheRoute:
    """The route decorator has registered the bare function, so that nothing would ever be reported."""

    @pytest.mark.parametrize("mode", FLASK)
    def test_in_flask(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        def extend(app: Any) -> None:
            @track("ordered")
            @app.post("/above")
            def above() -> str:
                return "ordered"

            @app.post("/below")
            @track("ordered")
            def below() -> str:
                return "ordered"

        site = open_site(extend=extend)

        site.visitor().get("/")
        site.visitor().get("/")

        self.assert_told(caplog)

    @pytest.mark.parametrize("mode", FASTAPI)
    def test_in_fastapi(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        from fastapi import APIRouter

        router = APIRouter(prefix="/shop")

        @track("ordered")
        @router.post("/above")
        async def above() -> None: ...

        @router.post("/below")
        @track("ordered")
        async def below() -> None: ...

        site = open_site(extend=lambda app: app.include_router(router))

        site.visitor().get("/")
        site.visitor().get("/")

        self.assert_told(caplog)

    @pytest.mark.parametrize("mode", FASTAPI)
    def test_it_is_told_at_the_start_where_the_server_says_that_it_starts(
        self, open_site: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        def extend(app: Any) -> None:
            @track("ordered")
            @app.post("/above")
            async def above() -> None: ...

        open_site(extend=extend)

        self.assert_told(caplog)

    @pytest.mark.parametrize("mode", STARLETTE)
    def test_in_a_mounted_application(self, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        fastapi = pytest.importorskip("fastapi")
        inner = fastapi.FastAPI()

        @track("ordered")
        @inner.post("/above")
        async def above() -> None: ...

        site = open_site(extend=lambda app: app.mount("/shop", inner))

        site.visitor().get("/")

        self.assert_told(caplog)

    @pytest.mark.parametrize("mode", DJANGO[:1])
    def test_in_django_ninja_a_check_reports_it(self, open_site: Any) -> None:
        ninja = pytest.importorskip("ninja")
        from django.core import checks
        from django.urls import path

        api = ninja.NinjaAPI(urls_namespace="above")

        @track("ordered")
        @api.post("/above")
        def above(request: Any) -> str:
            return "ordered"

        @api.post("/below")
        @track("ordered")
        def below(request: Any) -> str:
            return "ordered"

        open_site(extend=lambda patterns: patterns.append(path("api/", api.urls)))

        found = [each for each in checks.run_checks(tags=["xr2_web"]) if each.id == "xr2_web.W002"]

        assert [each.obj.__name__ for each in found] == ["above"]
        assert f"{__name__}." in found[0].msg
        assert '.above is registered without its @track("ordered")' in found[0].msg

    @pytest.mark.parametrize("mode", DJANGO_SYNC)
    @pytest.mark.parametrize("operations", [print, "a text", ["a text"], {"of": "a bank"}])
    def test_a_view_that_holds_operations_of_another_kind(self, open_site: Any, operations: Any) -> None:
        from django.core import checks
        from django.http import HttpResponse
        from django.urls import path
        from django.utils.functional import SimpleLazyObject

        held = SimpleNamespace(operations=operations)
        lazy = SimpleLazyObject(lambda: asked.append("the lazy object"))
        asked: list[str] = []

        @track("ordered")
        def order(request: Any) -> HttpResponse:
            return HttpResponse(str((held, request or lazy)))

        site = open_site(extend=lambda patterns: patterns.append(path("order", order)))
        visitor = site.visitor()
        visitor.get("/product/welcome")

        found = checks.run_checks(tags=["xr2_web"])
        visitor.post("/order")

        assert [each for each in found if each.id == "xr2_web.W002"] == []
        assert [event["event_name"] for event in site.events()] == ["ordered"]
        assert asked == []

    def assert_told(self, caplog: pytest.LogCaptureFixture) -> None:
        (message,) = told(caplog, "track_above_route")
        assert f"{__name__}.{type(self).__qualname__}" in message
        assert "above is registered without its @track('ordered')" in message


class TestUnknownRoutes:
    """A name in EVENTS that no route has would never be an event."""

    EVENTS = {"chekout": "purchase_completed", "buy": "bought", "POST /nowhere": "seen"}  # noqa: RUF012

    @pytest.mark.parametrize("mode", [*FLASK, *STARLETTE, *FASTAPI, *QUART, *LITESTAR])
    def test_one_is_told_with_the_nearest(self, mode: Any, open_site: Any, caplog: pytest.LogCaptureFixture) -> None:
        site = open_site(events=self.EVENTS)

        site.visitor().get("/")
        site.visitor().get("/")

        # Inside of Litestar a middleware does not see the application.
        is_seen = mode.name not in ("litestar-async", "litestar-thread")
        expected = ["xr2_web.route_unknown: EVENTS names no route: 'chekout'; did you mean 'checkout'?"]
        assert told(caplog, "route_unknown") == (expected if is_seen else [])

    @pytest.mark.parametrize("mode", DJANGO[:1])
    def test_in_django_a_check_reports_it(self, open_site: Any) -> None:
        from django.core import checks
        from django.http import HttpResponse
        from django.urls import include, path

        shop = ([path("sale", HttpResponse, name="sale")], "shop")
        events = {**self.EVENTS, "shop:sale": "sold", "sale": "sold"}

        open_site(extend=lambda patterns: patterns.append(path("shop/", include(shop))), events=events)

        found = [each.msg for each in checks.run_checks(tags=["xr2_web"]) if each.id == "xr2_web.W003"]
        assert found == [
            "XR2[\"EVENTS\"] names no view: 'chekout'; did you mean 'checkout'?",
            "XR2[\"EVENTS\"] names no view: 'sale'; did you mean 'shop:sale'?",
        ]

    def test_an_application_that_shows_no_routes_is_believed(
        self, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
    ) -> None:
        testclient = pytest.importorskip("starlette.testclient")
        from starlette.responses import PlainTextResponse

        from xr2_web.starlette import Xr2Middleware

        app = Xr2Middleware(
            PlainTextResponse("plain"), api_key=local_xr2.api_key, base_url=local_xr2.base_url, events={"buy": "bought"}
        )

        testclient.TestClient(app).get("/")

        assert told(caplog, "route_unknown") == []
