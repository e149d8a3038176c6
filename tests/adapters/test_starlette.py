"""What only Starlette has: WebSockets, background tasks, endpoint classes, middleware of all kinds, and lifespan."""

from __future__ import annotations

import asyncio
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

import anyio
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser, requires
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient

from xr2_web import ConfigurationError, aget_prompt, atrack_event, current, get_prompt, propagate, track, track_event
from xr2_web.scope import bound
from xr2_web.starlette import Xr2Middleware

from .asgi import Connection
from .modes import STARLETTE
from .site import KEY


@pytest.fixture
def mode():
    """The routes of these tests are their own, so one mode is enough."""
    return STARLETTE[0].values[0]


@pytest.fixture
def serve(open_site):
    """Open a site that also has these routes, and return a visitor of it who has fetched ``welcome``."""

    def serve(*routes: Any, **options: Any) -> Any:
        site = open_site(extend=lambda app: app.router.routes.extend(routes), **options)
        visitor = site.visitor()
        visitor.trace_id = visitor.get("/product/welcome").text
        return visitor

    return serve


def post(path, endpoint, **options):
    return Route(path, endpoint, methods=["POST"], **options)


def test_a_websocket_has_a_scope_of_its_own(serve):
    async def chat(websocket):
        await websocket.accept()
        before = current.trace_id
        prompt = await aget_prompt("product")
        await atrack_event("asked")
        await websocket.send_json([before, prompt.trace_id, current.trace_id])
        await websocket.close()

    visitor = serve(WebSocketRoute("/chat", chat))

    with visitor.site.client.websocket_connect("/chat", headers=visitor.sent()) as socket:
        before, fetched, after = socket.receive_json()

    assert before == visitor.trace_id
    assert fetched == after != before
    assert [(event["event_name"], event["trace_id"]) for event in visitor.site.events()] == [("asked", fetched)]


def test_an_event_after_the_response_of_a_websocket_is_made_when_it_ends(serve):
    @track("answered", after="response")
    def answer():
        return "yes"

    async def chat(websocket):
        is_early = websocket.url.path == "/early"
        if is_early:
            answer()
        await websocket.accept()
        if not is_early:
            answer()
        await websocket.send_text("yes")
        await websocket.close()

    visitor = serve(WebSocketRoute("/late", chat), WebSocketRoute("/early", chat))

    for path in ("/late", "/early"):
        with visitor.site.client.websocket_connect(path, headers=visitor.sent()) as socket:
            socket.receive_text()
        assert visitor.site.event_names() == ["answered"]
        visitor.site.clear()
        visitor.get("/product/welcome")


def test_a_prompt_fetched_in_a_websocket_is_told_not_to_be_carried(serve, caplog):
    async def chat(websocket):
        await websocket.accept()
        await aget_prompt("product")
        await websocket.send_text("done")
        await websocket.close()

    visitor = serve(WebSocketRoute("/chat", chat))

    with visitor.site.client.websocket_connect("/chat", headers=visitor.sent()) as socket:
        socket.receive_text()

    assert caplog.text.count("prompt_not_carried") == 1
    assert "in a request ahead of the WebSocket" in caplog.text
    assert visitor.get("/whoami").text.startswith(visitor.trace_id)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_background_task_sees_the_scope(serve, is_async):
    async def amail():
        await atrack_event("mailed", metadata={"session": current.session_id})

    def mail():
        track_event("mailed", metadata={"session": current.session_id})

    def buy(request):
        return PlainTextResponse("bought", background=BackgroundTask(amail if is_async else mail))

    visitor = serve(post("/mail", buy))

    visitor.post("/mail")

    (event,) = visitor.site.events()
    assert event["trace_id"] == visitor.trace_id
    assert event["metadata"]["session"] == event["session_id"]


def test_an_event_after_the_response_of_a_background_task_is_made(serve):
    @track("mailed", after="response")
    def mail():
        pass

    visitor = serve(post("/mail", lambda request: PlainTextResponse("bought", background=BackgroundTask(mail))))

    visitor.post("/mail")

    assert visitor.site.event_names() == ["mailed"]


def test_a_background_task_that_raises_costs_the_event_after_the_response(serve):
    """Trap 14: the response was sent, but the application did not end well."""

    def fail():
        raise RuntimeError("the application's own")

    @track("purchase_completed", after="response")
    def buy(request):
        return PlainTextResponse("bought", background=BackgroundTask(fail))

    visitor = serve(post("/buy-and-fail", buy))

    visitor.post("/buy-and-fail")

    assert visitor.site.events() == []


class Order(HTTPEndpoint):
    @track("purchase_completed")
    async def post(self, request):
        return PlainTextResponse("bought")

    async def get(self, request):
        return PlainTextResponse("form")


@track("purchase_completed")
class DecoratedOrder(HTTPEndpoint):
    def post(self, request):
        return PlainTextResponse("bought")

    def get(self, request):
        return PlainTextResponse("form")


@pytest.mark.parametrize("endpoint", [Order, DecoratedOrder])
def test_an_endpoint_class_is_an_event_when_its_handler_answers(serve, endpoint):
    visitor = serve(Route("/order", endpoint))

    visitor.get("/order")
    answer = visitor.post("/order")

    assert answer.text == "bought"
    assert visitor.site.event_names() == ["purchase_completed"]


class Dispatched(HTTPEndpoint):
    @track("purchase_completed")
    async def dispatch(self):
        response = PlainTextResponse("bought", int(self.scope["query_string"] or 200))
        await response(self.scope, self.receive, self.send)


def test_an_endpoint_class_with_one_handler_for_all_is_judged_by_the_status_that_has_left(serve):
    """It sends its response by itself, and is a view all the same."""
    visitor = serve(Route("/order", Dispatched))

    visitor.get("/order")
    visitor.site.client.post("/order?402", headers=visitor.sent())
    assert visitor.site.events() == []

    visitor.post("/order")
    assert visitor.site.event_names() == ["purchase_completed"]


class Till:
    @track("purchase_completed")
    async def pay(self, request):
        return PlainTextResponse("paid", int(request.query_params.get("status", 200)))


@pytest.mark.parametrize("endpoint", [Till().pay, functools.partial(Till().pay)])
def test_methods_and_partials_are_endpoints_too(serve, endpoint):
    visitor = serve(Route("/till", endpoint, methods=["GET", "POST"], name="till"))

    visitor.get("/till")
    visitor.post("/till", status=402)
    assert visitor.site.events() == []

    visitor.post("/till")
    assert visitor.site.event_names() == ["purchase_completed"]


class ByHeader(AuthenticationBackend):
    """Authenticates a user whose id stands in the identity, as most applications write it."""

    class Known(BaseUser):
        def __init__(self, number: str) -> None:
            self.number = number

        @property
        def is_authenticated(self) -> bool:
            return True

        @property
        def display_name(self) -> str:
            return f"user {self.number}"

        @property
        def identity(self) -> str:
            return self.number

    async def authenticate(self, conn):
        number = conn.headers.get("authorization")
        return None if number is None else (AuthCredentials(["authenticated"]), self.Known(number))


@pytest.mark.parametrize("place", ["inner", "outer"])
def test_the_user_of_the_authentication_middleware_is_known_wherever_it_stands(open_site, place):
    @track("purchase_completed")
    def buy(request):
        track_event("paid")
        return PlainTextResponse(str(current.user_id))

    authentication = Middleware(AuthenticationMiddleware, backend=ByHeader())
    options = {"outer": [], "inner": [], place: [authentication]}
    site = open_site(
        extend=lambda app: app.router.routes.append(post("/purchase", requires("authenticated")(buy), name="purchase")),
        events={"purchase": "ordered"},
        **options,
    )
    visitor = site.visitor()
    visitor.get("/product/welcome")

    assert visitor.post("/purchase").status == 403
    assert site.events() == []

    visitor.headers["Authorization"] = "7"
    assert visitor.post("/purchase").text == "7"
    assert {event["event_name"]: event["user_id"] for event in site.events()} == dict.fromkeys(
        ["paid", "purchase_completed", "ordered"], "7"
    )


def test_a_rule_names_a_route_by_its_name_wherever_it_is_mounted(serve):
    def buy(request):
        return PlainTextResponse("bought")

    def buy_inside(request):
        return PlainTextResponse("bought")

    shop = Mount("/shop", routes=[post("/buy", buy_inside, name="inside")], name="shop")
    visitor = serve(
        post("/buy-here", buy, name="here"), shop, events={"here": "bought_here", "inside": "bought_inside"}
    )

    visitor.post("/buy-here")
    visitor.post("/shop/buy")

    assert visitor.site.event_names() == ["bought_here", "bought_inside"]


def test_an_http_exception_is_no_event_and_keeps_what_was_fetched(serve):
    @track("purchase_completed")
    async def refuse(request):
        await aget_prompt("product")
        raise HTTPException(402)

    visitor = serve(post("/refuse", refuse))

    answer = visitor.post("/refuse")

    assert answer.status == 402
    assert answer.cookies
    assert visitor.site.events() == []


class Noting(BaseHTTPMiddleware):
    """Middleware of the kind that loses contexts, and that fetches a prompt of its own."""

    async def dispatch(self, request, call_next):
        before = bound() is not None
        response = await call_next(request)
        response.headers["X-Bound"] = f"{before} {bound() is not None}"
        return response


def test_a_view_is_known_though_something_was_tracked_before_the_routing(open_site):
    """What routing says of a request is not taken for known too early: a GET of the view would be an event then."""

    @track("arrived")
    def arrive() -> None: ...

    class Arriving:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                arrive()
            await self.app(scope, receive, send)

    class Thanks:
        """An answer that does not look like a response."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("thanks")(scope, receive, send)

    @track("ordered")
    async def order(request: Any) -> Any:
        return Thanks()

    routes = [
        Mount("/shop", routes=[Route("/order", order, methods=["GET", "POST"])], middleware=[Middleware(Arriving)])
    ]
    site = open_site(inner=[Middleware(Arriving)], extend=lambda app: app.router.routes.extend(routes))
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.get("/shop/order")
    after_get = {event["event_name"] for event in site.events()}
    visitor.post("/shop/order")

    assert "ordered" not in after_get
    assert "ordered" in {event["event_name"] for event in site.events()}


@pytest.mark.parametrize("place", ["inner", "outer"])
def test_a_base_http_middleware_does_not_lose_the_scope(open_site, place):
    site = open_site(**{place: [Middleware(Noting), Middleware(GZipMiddleware)]})
    visitor = site.visitor()

    fetched = visitor.get("/product/welcome")
    visitor.post("/event/paid")

    assert fetched.header("x-bound") == ("True True" if place == "inner" else "False False")
    assert [event["trace_id"] for event in site.events()] == [fetched.text]


def test_work_that_outlives_its_request_reports_under_its_trace(serve):
    """Trap 6."""
    detached: list[Any] = []
    gate = asyncio.Event()

    async def work():
        await gate.wait()
        await atrack_event("worked")

    async def start(request):
        detached.append(asyncio.get_running_loop().create_task(work()))
        return PlainTextResponse("started")

    async def end(request):
        gate.set()
        await detached[0]
        return PlainTextResponse("ended")

    visitor = serve(post("/start", start), post("/end", end))
    visitor.post("/start")
    assert visitor.site.events() == []

    visitor.site.visitor().post("/end")

    assert [event["trace_id"] for event in visitor.site.events()] == [visitor.trace_id]


def test_an_executor_sees_the_scope_where_it_is_propagated(serve):
    """Trap 27: threads of one's own copy no context."""

    async def ask(request):
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            without = await loop.run_in_executor(pool, lambda: current.trace_id)
            prompt = await loop.run_in_executor(pool, propagate(lambda: get_prompt("product")))
            after = await loop.run_in_executor(pool, bound)
        return JSONResponse([without, prompt.trace_id, after])

    visitor = serve(Route("/ask", ask))

    answer = visitor.get("/ask")
    visitor.post("/event/paid")

    without, fetched, after = answer.native.json()
    assert (without, after) == (None, None)
    assert [event["trace_id"] for event in visitor.site.events()] == [fetched]


def test_a_task_group_reports_under_one_trace(serve):
    """Trap 1: child tasks and threads mutate the same scope."""

    async def gather(request):
        async with anyio.create_task_group() as group:
            group.start_soon(aget_prompt, "product")
        trace_id = current.trace_id
        await asyncio.to_thread(track_event, "gathered")
        return PlainTextResponse(trace_id)

    visitor = serve(post("/gather", gather))

    fetched = visitor.post("/gather")

    assert fetched.text != visitor.trace_id
    assert [event["trace_id"] for event in visitor.site.events()] == [fetched.text]


@pytest.mark.parametrize("path", ["/product/welcome", "/stream", "/crash"])
async def test_requests_in_one_task_share_nothing(open_site, path):
    """Trap 23: no server copies the context here, so what unbinds is the ``finally`` of `Xr2Middleware.__call__`."""
    site = open_site()

    with suppress(RuntimeError):
        await Connection(path, {}).run(site.app)
    after = bound()
    later = Connection("/whoami", {})
    await later.run(site.app)

    assert after is None
    assert later.sent[1]["body"] == b"None None"
    assert bound() is None


def test_tracking_in_the_handler_for_500_does_not_crash(open_site):
    """Trap 19: it runs outside of all middleware of the application."""

    async def apologise(request, exc):
        return PlainTextResponse((await atrack_event("apologised")).reason, 500)

    site = open_site(extend=lambda app: app.add_exception_handler(Exception, apologise))

    answer = site.visitor().get("/crash")

    assert (answer.status, answer.text) == (500, "no_trace")


def test_a_session_middleware_inside_of_ours_is_named(open_site, caplog):
    """Trap 8: the session is sent before ours writes into it."""
    site = open_site(carry="session", outer=[], inner=[Middleware(SessionMiddleware, secret_key=KEY)])
    visitor = site.visitor()

    answers = [visitor.get("/product/welcome"), visitor.get("/product/welcome")]

    assert [answer.status for answer in answers] == [200, 200]
    assert caplog.text.count("add SessionMiddleware outside") == 1
    assert not answers[0].cookies
    assert answers[0].header("vary") is None


def test_a_name_as_identity_leaves_as_its_keyed_hash(serve):
    """Starlette's own user knows no id but the name as it was typed in."""

    async def pay(request):
        request.scope["user"] = SimpleUser("ada")
        await atrack_event("paid")
        return PlainTextResponse("paid")

    visitor = serve(post("/pay", pay))

    visitor.post("/pay")

    (event,) = visitor.site.events()
    if SimpleUser.identity is not BaseUser.identity:
        assert len(event["user_id"]) == 32
    else:
        assert event["user_id"] is None


def test_the_end_of_the_lifespan_delivers_what_waits(local_xr2):
    """Trap 25: `lifespan.closing`. An event may arrive without it, but then the courier's threads go on."""

    async def both(request):
        await aget_prompt("welcome")
        await atrack_event("tried")
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/both", both)])
    app.add_middleware(Xr2Middleware, api_key=local_xr2.api_key, base_url=local_xr2.base_url, outbox="memory")
    before = set(threading.enumerate())

    with TestClient(app) as client:
        client.get("/both")
    left = [each.name for each in set(threading.enumerate()) - before if each.name.startswith("xr2-courier")]

    assert [event["event_name"] for event in local_xr2.events()] == ["tried"]
    assert left == []


def test_settings_that_cannot_work_are_told_at_start_though_servers_swallow_what_is_raised_there(caplog):
    app = Starlette()
    app.add_middleware(Xr2Middleware, evnets={})

    with pytest.raises(ConfigurationError), TestClient(app):
        pass

    assert "xr2_web.misconfigured: evnets= is not a setting; did you mean events=?" in caplog.text


def test_a_framework_that_is_not_starlette_is_served_too(local_xr2):
    """Any ASGI application; and one that knows no lifespan."""

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        prompt = await aget_prompt("welcome")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": prompt.trace_id.encode()})

    wrapped = Xr2Middleware(app, api_key=local_xr2.api_key, base_url=local_xr2.base_url, outbox="memory")

    answer = TestClient(wrapped).get("/anything")

    assert answer.text.startswith("evt_")
    assert answer.headers["set-cookie"].startswith("xr2_carry=")


def test_a_token_is_not_left_in_a_message_that_everybody_gets(local_xr2):
    """An application may send one and the same message again and again, and its headers may be left out."""
    start = {"type": "http.response.start", "status": 200}

    async def app(scope, receive, send):
        if scope["path"] == "/prompt":
            await aget_prompt("welcome")
        await send(start)
        await send({"type": "http.response.body"})

    wrapped = Xr2Middleware(app, api_key=local_xr2.api_key, base_url=local_xr2.base_url, events={"GET /": "opened"})

    answers = [TestClient(wrapped).get(path) for path in ("/prompt", "/prompt", "/")]

    assert [len(answer.headers.get_list("set-cookie")) for answer in answers] == [1, 1, 0]
    assert start == {"type": "http.response.start", "status": 200}


def test_the_lifespan_of_an_application_ends_under_trio():
    pytest.importorskip("trio")
    app = Starlette()
    app.add_middleware(Xr2Middleware, api_key="xr2_dev_key")

    with TestClient(app, backend="trio") as client:
        answer = client.get("/")

    assert answer.status_code == 404


def test_prompts_and_events_work_under_trio(local_xr2):
    pytest.importorskip("trio")

    async def prompt(request):
        return PlainTextResponse((await aget_prompt("welcome")).trace_id)

    @track("purchase_completed")
    async def buy(request):
        return PlainTextResponse("bought")

    app = Starlette(routes=[Route("/", prompt), Route("/buy", buy, methods=["POST"])])
    app.add_middleware(Xr2Middleware, api_key=local_xr2.api_key, base_url=local_xr2.base_url)

    with TestClient(app, backend="trio") as client:
        fetched = client.get("/").text
        client.post("/buy")

    assert [(event["event_name"], event["trace_id"]) for event in local_xr2.events()] == [
        ("purchase_completed", fetched)
    ]


@pytest.mark.parametrize("version", ["2.3", "2.4"])
@pytest.mark.parametrize("stop_at", [2, 3, 4], ids=["first part", "second part", "last message"])
def test_a_client_that_goes_while_the_body_is_sent_makes_no_event(serve, version, stop_at):
    """Traps 4 and 5: up to version 2.3 of ASGI this looks like a normal end."""

    async def parts():
        yield "one"
        yield "two"

    @track("purchase_completed", after="response")
    async def buy(request):
        return StreamingResponse(parts())

    visitor = serve(post("/buy-slowly", buy, name="slowly"), events={"slowly": "bought"})
    client = Connection("/buy-slowly", visitor.sent(), version=version, stop_at=stop_at)

    with pytest.raises((ClientDisconnect, ExceptionGroup)) if version == "2.4" else nullcontext():
        anyio.run(client.run, visitor.site.app)

    assert visitor.site.events() == []
    assert visitor.site.runtime.counts["aborted"] == 2


def test_a_client_that_stays_gets_the_event(serve):
    async def parts():
        yield "one"
        yield "two"

    @track("purchase_completed", after="response")
    async def buy(request):
        return StreamingResponse(parts())

    visitor = serve(post("/buy-slowly", buy, name="slowly"), events={"slowly": "bought"})

    visitor.post("/buy-slowly")

    assert sorted(visitor.site.event_names()) == ["bought", "purchase_completed"]


def test_a_decorated_function_named_twice_keeps_both_events(serve):
    @track("first")
    @track("second")
    def buy(request):
        return PlainTextResponse("bought")

    visitor = serve(post("/buy-twice", buy))

    visitor.post("/buy-twice")

    assert sorted(visitor.site.event_names()) == ["first", "second"]


def test_a_get_prompt_on_the_loop_is_told_once(serve, caplog):
    async def block(request):
        return PlainTextResponse(get_prompt("product").trace_id)

    visitor = serve(Route("/block", block))

    visitor.get("/block")
    visitor.get("/block")

    assert caplog.text.count("aget_prompt()") == 1
