"""What only Litestar has: handlers that return values, controllers, mounts, and middleware for each route."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("litestar")
pytest.importorskip("cryptography")
pytest.importorskip("httpx2")

import httpx
from litestar import Controller, Litestar, Request, Response, WebSocket, asgi, get, post, websocket
from litestar.exceptions import ClientException
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from xr2_web import aget_prompt, atrack_event, current, flush, get_prompt, track
from xr2_web.default import default
from xr2_web.starlette import Xr2Middleware

from .modes import LITESTAR


@pytest.fixture(params=[LITESTAR[0], LITESTAR[2]])
def mode(request):
    """The routes of these tests are their own; the middleware stands inside or outside."""
    return request.param


@pytest.fixture
def serve(open_site):
    """Open a site that also has these handlers, and return a visitor of it who has fetched ``welcome``."""

    def serve(*handlers: Any, **options: Any) -> Any:
        site = open_site(extend=lambda app: [app.register(each) for each in handlers], **options)
        visitor = site.visitor()
        visitor.trace_id = visitor.get("/product/welcome").text
        return visitor

    return serve


@get("/show", sync_to_thread=True)
@track("shown")
def show() -> str:
    return "shown"


@post("/buy-in-thread", sync_to_thread=True)
@track("purchase_completed", value=lambda call: call.result["price"])
def buy_in_thread() -> dict[str, int]:
    return {"price": 7}


@post("/buy-on-the-loop", status_code=202)
@track("purchase_completed", value=lambda call: call.result["price"])
async def buy_on_the_loop() -> dict[str, int]:
    return {"price": 7}


@pytest.mark.parametrize("handler", [buy_in_thread, buy_on_the_loop], ids=["thread", "loop"])
def test_a_handler_that_returns_a_value_is_an_event_when_it_answers(serve, handler):
    visitor = serve(handler, show)

    visitor.get("/show")
    answer = visitor.post(next(iter(handler.paths)))

    assert answer.status in (201, 202)
    assert [(event["event_name"], event["value"]) for event in visitor.site.events()] == [("purchase_completed", 7.0)]


def test_a_value_that_cannot_be_sent_is_no_event(serve):
    @post("/unserialisable", sync_to_thread=True)
    @track("purchase_completed")
    def unserialisable() -> Any:
        return {"price": object()}

    visitor = serve(unserialisable)

    assert visitor.post("/unserialisable").status == 500
    assert visitor.site.events() == []


def test_an_http_exception_is_no_event_and_keeps_what_was_fetched(serve):
    @post("/refuse")
    @track("purchase_completed")
    async def refuse() -> str:
        await aget_prompt("product")
        raise ClientException

    visitor = serve(refuse)

    answer = visitor.post("/refuse")

    assert answer.status == 400
    assert answer.cookies
    assert visitor.site.events() == []


class Orders(Controller):
    path = "/orders-of"

    @post("/{shop:int}/{id:int}", sync_to_thread=True)
    @track("purchase_completed")
    def order(self, request: Request[Any, Any, Any]) -> str:
        return f"ordered {request.path_params['id']}"

    @post("/named", name="named", sync_to_thread=True)
    def other(self) -> str:
        return "other"


def test_a_controller_is_known_by_its_methods_and_their_names(serve):
    visitor = serve(
        Orders,
        events={
            "order": {"event": "ordered", "value": lambda call: call.kwargs["shop"]},
            "named": "named",
            "POST /orders-of/{shop}/{id}": {"event": "paid", "value": lambda call: int(call.kwargs["id"])},
        },
    )

    visitor.post("/orders-of/3/7")
    visitor.post("/orders-of/named")

    assert [(event["event_name"], event["value"]) for event in visitor.site.events()] == [
        ("purchase_completed", None),
        ("ordered", 3.0),
        ("paid", 7.0),
        ("named", None),
    ]


def test_a_rule_matches_in_an_application_mounted_in_it(serve):
    @track("purchase_completed")
    async def buy_inside(request: Any) -> Any:
        return PlainTextResponse((await aget_prompt("product")).trace_id)

    # Litestar hands mounted applications a path of its own making.
    inner = Starlette(routes=[Route("/buy/{id}/", buy_inside, methods=["POST"])])
    mounted = asgi("/shop", is_mount=True, copy_scope=True)(inner)
    visitor = serve(mounted, events={"POST /shop/buy/{id}": "ordered"})

    fetched = visitor.post("/shop/buy/7%20a")

    assert {(event["event_name"], event["trace_id"]) for event in visitor.site.events()} == {
        (name, fetched.text) for name in ("purchase_completed", "ordered")
    }


def test_an_answer_from_elsewhere_is_not_the_views_response(serve):
    @track("charged")
    def charge() -> httpx.Response:
        return httpx.Response(200)

    @get("/charge", sync_to_thread=True)
    def page() -> str:
        charge()
        return "charged"

    visitor = serve(page)

    visitor.get("/charge")

    assert visitor.site.event_names() == ["charged"]


def test_a_websocket_has_a_scope_of_its_own(serve):
    @websocket("/chat")
    async def chat(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        prompt = await aget_prompt("product")
        await atrack_event("asked")
        await socket.send_json([prompt.trace_id, current.trace_id])
        await socket.close()

    visitor = serve(chat)

    with visitor.site.client.websocket_connect("/chat", headers=visitor.sent()) as socket:
        fetched, bound = socket.receive_json()

    assert fetched == bound != visitor.trace_id
    assert [(event["event_name"], event["trace_id"]) for event in visitor.site.events()] == [("asked", fetched)]


def test_the_middleware_of_all_routes_is_one_installation(open_site):
    site = open_site()

    runtimes = {middleware.runtime for middleware in site.made}

    assert len(runtimes) == 1
    assert default() in runtimes


@pytest.mark.parametrize("mode", LITESTAR[:1])
def test_a_session_that_is_cleared_in_a_request_carries_what_it_fetches(serve):
    @post("/start-again", sync_to_thread=True)
    def start_again(request: Request[Any, Any, Any]) -> Response[str]:
        request.clear_session()
        return Response(get_prompt("product").trace_id or "", media_type="text/plain")

    visitor = serve(start_again, carry="session")

    fetched = visitor.post("/start-again")
    visitor.post("/event/paid")

    assert fetched.status == 201
    assert [event["trace_id"] for event in visitor.site.events()] == [fetched.text]


@post("/track", sync_to_thread=True)
def fetch_and_track() -> str:
    return get_prompt("welcome").trace_id or ""


@pytest.mark.parametrize("mode", LITESTAR[:1])
@pytest.mark.parametrize("is_outside", [True, False], ids=["outside", "on_shutdown"])
def test_the_end_of_the_application_delivers_what_waits(mode, local_xr2, is_outside):
    options = {"api_key": local_xr2.api_key, "base_url": local_xr2.base_url, "events": {"fetch_and_track": "seen"}}
    if is_outside:
        app: Any = Xr2Middleware(Litestar([fetch_and_track], openapi_config=None), **options)
    else:
        middleware = [DefineMiddleware(Xr2Middleware, **options)]
        app = Litestar([fetch_and_track], middleware=middleware, on_shutdown=[lambda: flush(2)], openapi_config=None)

    with TestClient(app) as client:
        client.post("/track")

    assert [event["event_name"] for event in local_xr2.events()] == ["seen"]
