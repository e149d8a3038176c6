"""What only Quart has: views that return values, endpoints that the ASGI scope does not name, class-based views."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("quart")
pytest.importorskip("httpx2")

from quart import Blueprint, Quart, Response, abort, redirect, request, websocket
from quart.views import MethodView
from starlette.testclient import TestClient

from xr2_web import aget_prompt, atrack_event, current, get_prompt, redirected, track
from xr2_web.starlette import Xr2Middleware

from .modes import QUART


@pytest.fixture
def mode():
    """The routes of these tests are their own, so one mode is enough."""
    return QUART[0].values[0]


@pytest.fixture
def serve(open_site):
    """Open a site that is extended, and return a visitor of it who has fetched ``welcome``."""

    def serve(extend: Any, **options: Any) -> Any:
        site = open_site(extend=extend, **options)
        visitor = site.visitor()
        visitor.trace_id = visitor.get("/product/welcome").text
        return visitor

    return serve


def on(path, view):
    return lambda app: app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET", "POST"])


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        pytest.param("bought", 1, id="text"),
        pytest.param({"bought": 1}, 1, id="json"),
        pytest.param(("bought", 201), 1, id="tuple"),
        pytest.param(("refused", 402), 0, id="error tuple"),
    ],
)
@pytest.mark.parametrize("is_async", [True, False], ids=["loop", "thread"])
def test_a_view_may_return_whatever_quart_takes(serve, returned, expected, is_async):
    @track("purchase_completed")
    async def buy_on_the_loop():
        return returned

    @track("purchase_completed")
    def buy_in_thread():
        return returned

    visitor = serve(on("/buy-value", buy_on_the_loop if is_async else buy_in_thread))

    visitor.get("/buy-value")
    assert visitor.site.events() == []
    visitor.post("/buy-value")

    assert len(visitor.site.events()) == expected


def test_a_route_is_looked_for_once_however_much_a_view_tracks(serve, monkeypatch):
    looked_for: list[str] = []

    class Counting(Quart.url_map_class):
        def bind(self, *args: Any, **kwargs: Any) -> Any:
            looked_for.append(kwargs["path_info"])
            return super().bind(*args, **kwargs)

    @track("price_shown")
    def show(price: int) -> None: ...

    async def order():
        for price in range(5):
            show(price)
        return "ordered"

    # Quart itself asks its map by another method.
    monkeypatch.setattr(Quart, "url_map_class", Counting)
    visitor = serve(on("/order", order))

    visitor.post("/order")

    assert looked_for.count("/order") == 1
    assert [event["event_name"] for event in visitor.site.events()] == ["price_shown"]


def test_a_redirect_is_seen_in_what_a_view_returned(serve):
    @track("signed_up", when=redirected)
    async def register():
        return redirect("/thanks")

    visitor = serve(on("/register", register))

    visitor.post("/register")

    assert visitor.site.event_names() == ["signed_up"]


def test_an_aborted_view_is_no_event_and_keeps_what_was_fetched(serve):
    @track("purchase_completed")
    async def refuse():
        await aget_prompt("product")
        abort(403)

    visitor = serve(on("/refuse", refuse))

    answer = visitor.post("/refuse")

    assert answer.status == 403
    assert answer.cookies
    assert visitor.site.events() == []


def test_a_function_that_is_no_view_is_an_event_whatever_the_method(serve):
    @track("charged")
    def charge():
        return "charged"

    async def page():
        return charge()

    visitor = serve(on("/charge", page))

    visitor.get("/charge")

    assert visitor.site.event_names() == ["charged"]


class Order(MethodView):
    @track("purchase_completed")
    async def post(self):
        return "bought"

    async def get(self):
        return "form"


def test_a_class_based_view_is_an_event_when_its_handler_answers(serve):
    visitor = serve(on("/order", Order.as_view("class-order")))

    visitor.get("/order")
    visitor.post("/order")

    assert visitor.site.event_names() == ["purchase_completed"]


async def buy(id: int):  # noqa: A002
    return f"bought {id}"


def blueprint(app: Quart) -> None:
    shop = Blueprint("shop", __name__, url_prefix="/shop")
    shop.add_url_rule("/buy/<int:id>", view_func=buy, methods=["POST"])
    app.register_blueprint(shop)


RULES = {
    "shop.buy": {"event": "bought", "value": lambda call: call.kwargs["id"]},
    "POST /shop/buy/{id}": {"event": "ordered", "value": lambda call: int(call.kwargs["id"])},
}


def test_a_rule_names_an_endpoint_of_a_blueprint(serve):
    visitor = serve(blueprint, events=RULES)

    visitor.post("/shop/buy/7")
    visitor.post("/shop/buy/none")

    assert [(event["event_name"], event["value"]) for event in visitor.site.events()] == [
        ("bought", 7.0),
        ("ordered", 7.0),
    ]


class Passing:
    """A middleware as they usually are."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def hiding(app: Any) -> Any:
    """Put a middleware around an application that does not show what is inside."""

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return middleware


INSTALLATIONS = {
    "around asgi_app": lambda app, ours: ours(app.asgi_app),
    "around the application": lambda app, ours: ours(app),
    "around a middleware": lambda app, ours: ours(Passing(app)),
}


@pytest.mark.parametrize("install", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_endpoints_are_known_wherever_the_middleware_stands(local_xr2, install):
    assert sent(local_xr2, install) == ["bought", "ordered"]


def test_behind_a_middleware_that_hides_the_application_rules_go_by_the_path(local_xr2):
    assert sent(local_xr2, lambda app, ours: ours(hiding(app))) == ["ordered"]


def test_behind_a_middleware_that_hides_the_application_a_view_is_known_by_its_response(local_xr2):
    @track("paid")
    async def pay():
        return Response("paid", status=402 if request.method == "POST" else 200)

    extend = on("/pay", pay)

    assert sent(local_xr2, lambda app, ours: ours(hiding(app)), extend) == ["ordered"]


def sent(local_xr2: Any, install: Any, extend: Any = lambda app: None) -> list[str]:
    """Return the events of one purchase, and of a payment, in an application that is installed like this."""
    app = Quart(__name__)
    blueprint(app)
    extend(app)
    app.add_url_rule("/fetch", "fetch", lambda: get_prompt("welcome").trace_id)
    settings = {"api_key": local_xr2.api_key, "base_url": local_xr2.base_url, "events": RULES, "concurrency": 1}
    with TestClient(install(app, lambda inner: Xr2Middleware(inner, **settings))) as client:
        client.get("/fetch")
        client.post("/shop/buy/7")
        client.get("/pay")
        client.post("/pay")
    return [event["event_name"] for event in local_xr2.events()]


def test_a_websocket_has_a_scope_of_its_own(serve):
    async def chat():
        prompt = await aget_prompt("product")
        await atrack_event("asked")
        await websocket.send(f"{prompt.trace_id} {current.trace_id}")

    visitor = serve(lambda app: app.add_websocket("/chat", view_func=chat))

    with visitor.site.client.websocket_connect("/chat", headers=visitor.sent()) as socket:
        fetched, bound = socket.receive_text().split()

    assert fetched == bound != visitor.trace_id
    assert [(event["event_name"], event["trace_id"]) for event in visitor.site.events()] == [("asked", fetched)]
