"""Trap 18: installed twice, or in an application and in what is mounted in it, there is one scope and one event."""

from __future__ import annotations

import pytest

from ..modes import FASTAPI, FLASK, STARLETTE


def test_twice_makes_one_scope_and_one_event(open_site):
    site = open_site(is_twice=True, events={"buy": "bought"})
    visitor = site.visitor()

    fetched = visitor.get("/product/welcome")
    visitor.post("/buy")

    assert [name for name, _ in fetched.headers].count("set-cookie") == 1
    assert site.event_names() == ["purchase_completed", "bought"]
    # A second event of the same name and trace would be dropped by the outbox, or by the server.
    assert {"duplicate", "duplicate_at_server"}.isdisjoint(site.runtime.counts)


@pytest.mark.parametrize("mode", [*STARLETTE, *FASTAPI])
@pytest.mark.parametrize("is_installed_inside", [False, True])
def test_a_mounted_asgi_application_shares_the_scope(open_site, is_installed_inside):
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    import xr2_web
    from xr2_web.starlette import Xr2Middleware

    async def prompt(request):
        return PlainTextResponse((await xr2_web.aget_prompt("welcome")).trace_id)

    @xr2_web.track("purchase_completed")
    def buy(request):
        return PlainTextResponse("bought")

    middleware = [Middleware(Xr2Middleware, enabled=False)] if is_installed_inside else []
    routes = [Route("/prompt", prompt), Route("/buy/{id}", buy, methods=["POST"], name="buy-inside")]
    inner = Starlette(routes=routes, middleware=middleware)
    site = open_site(
        extend=lambda app: app.router.routes.insert(0, Mount("/shop", inner)),
        events={"POST /shop/buy/{id}": {"event": "ordered", "value": lambda call: int(call.kwargs["id"])}},
    )
    visitor = site.visitor()

    fetched = visitor.get("/shop/prompt")
    visitor.post("/shop/buy/7")

    assert [(event["event_name"], event["trace_id"], event["value"]) for event in site.events()] == [
        ("purchase_completed", fetched.text, None),
        ("ordered", fetched.text, 7.0),
    ]


@pytest.mark.parametrize("mode", [*STARLETTE, *FASTAPI])
def test_an_application_for_another_host_shares_the_scope(open_site):
    from starlette.responses import PlainTextResponse
    from starlette.routing import Host, Route, Router

    import xr2_web

    @xr2_web.track("purchase_completed")
    def buy(request):
        return PlainTextResponse(xr2_web.get_prompt("product").trace_id)

    shop = Host("{shop}.example", Router([Route("/buy/{id}", buy, methods=["POST"], name="buy-there")]))
    site = open_site(
        extend=lambda app: app.router.routes.insert(0, shop),
        events={
            "buy-there": {"event": "ordered", "metadata": lambda call: dict(call.kwargs)},
            "POST /buy/{id}": {"event": "paid", "value": lambda call: int(call.kwargs["id"])},
        },
    )
    visitor = site.visitor(headers={"Host": "books.example"})

    fetched = visitor.post("/buy/7")

    events = site.events()
    assert [event["event_name"] for event in events] == ["purchase_completed", "ordered", "paid"]
    assert {event["trace_id"] for event in events} == {fetched.text}
    assert (events[1]["metadata"], events[2]["value"]) == ({"shop": "books", "id": "7"}, 7.0)


@pytest.mark.parametrize("mode", FASTAPI)
def test_a_router_with_a_prefix_in_a_mounted_fastapi_application_shares_the_scope(open_site):
    from fastapi import APIRouter, FastAPI

    import xr2_web

    router = APIRouter(prefix="/v1")

    @router.post("/buy/{id}", name="buy-in-part")
    @xr2_web.track("purchase_completed")
    async def buy(id: int):  # noqa: A002
        return {"trace": (await xr2_web.aget_prompt("product")).trace_id}

    part = FastAPI()
    part.include_router(router)
    site = open_site(
        extend=lambda app: app.mount("/shop", part),
        events={
            "buy-in-part": {"event": "ordered", "value": lambda call: int(call.kwargs["id"])},
            "POST /shop/v1/buy/{id}": "paid",
        },
    )

    fetched = site.visitor().post("/shop/v1/buy/7")

    assert [(event["event_name"], event["value"]) for event in site.events()] == [
        ("purchase_completed", None),
        ("ordered", 7.0),
        ("paid", None),
    ]
    assert {event["trace_id"] for event in site.events()} == {fetched.native.json()["trace"]}


@pytest.mark.parametrize("mode", FLASK)
def test_a_flask_view_that_answers_with_another_application_departs_once(open_site):
    from flask import Flask, Response, request

    import xr2_web
    from xr2_web.flask import Xr2

    inner = Flask("inner")
    Xr2(inner, enabled=False)
    inner.add_url_rule("/inside", "inside", lambda: xr2_web.get_prompt("welcome").trace_id)
    site = open_site(
        extend=lambda app: app.add_url_rule(
            "/inside", "inside", lambda: Response.from_app(inner, request.environ, buffered=True)
        )
    )
    visitor = site.visitor()

    fetched = visitor.get("/inside")
    visitor.post("/event/paid")

    assert [name for name, _ in fetched.headers].count("set-cookie") == 1
    assert [event["trace_id"] for event in site.events()] == [fetched.text]


@pytest.mark.parametrize("mode", FLASK)
def test_a_mounted_flask_application_shares_the_scope(open_site):
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    import xr2_web
    from xr2_web.flask import Xr2

    inner = Flask("inner")
    Xr2(inner, enabled=False)
    inner.add_url_rule("/prompt", "prompt", lambda: xr2_web.get_prompt("welcome").trace_id)

    @inner.post("/buy")
    @xr2_web.track("purchase_completed")
    def buy():
        return "bought"

    def mount(app):
        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/shop": inner})

    site = open_site(extend=mount)
    visitor = site.visitor()

    fetched = visitor.get("/shop/prompt")
    visitor.post("/shop/buy")
    visitor.post("/event/paid")

    assert [(event["event_name"], event["trace_id"]) for event in site.events()] == [
        ("purchase_completed", fetched.text),
        ("paid", fetched.text),
    ]
