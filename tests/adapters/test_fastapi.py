"""What only FastAPI has: endpoints that return values, dependency injection, routers with prefixes, and OpenAPI."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from xr2_web import aget_prompt, current, get_prompt, track, track_event
from xr2_web.scope import bound

from .modes import FASTAPI

if TYPE_CHECKING:
    from xr2_web import Receipt


class Basket(BaseModel):
    total: float
    note: str = ""


def member(name: str = "ada") -> str:
    return name


@pytest.fixture
def mode():
    """The endpoints of these tests are their own, so one mode is enough."""
    return FASTAPI[0].values[0]


@pytest.fixture
def serve(open_site):
    """Open a site and return its application, which takes routes until the first request."""

    def serve(**options: Any) -> Any:
        return open_site(**options)

    return serve


def visitor_of(site: Any) -> Any:
    visitor = site.visitor()
    visitor.trace_id = visitor.get("/product/welcome").text
    return visitor


def send(visitor: Any, path: str, **options: Any) -> Any:
    return visitor.site.client.post(path, headers=visitor.sent(), **options)


def test_an_endpoint_that_returns_a_value_is_an_event(serve):
    site = serve()

    @site.app.post("/order")
    @track("purchase_completed", value=lambda call: call.result["total"])
    async def order():
        return {"total": 12}

    visitor = visitor_of(site)

    assert send(visitor, "/order").json() == {"total": 12}
    assert [event["value"] for event in site.events()] == [12.0]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_decorated_endpoint_keeps_its_parameters(serve, is_async):
    """Trap 21: with annotations that are text, as this module's are."""
    site = serve()

    def order(basket: Basket, user: Annotated[str, Depends(member)], currency: str = "EUR"):
        return {"total": basket.total, "user": user, "currency": currency}

    async def aorder(basket: Basket, user: Annotated[str, Depends(member)], currency: str = "EUR"):
        return order(basket, user, currency)

    chosen = aorder if is_async else order
    decorate = track("purchase_completed", value=lambda call: call.kwargs["basket"].total)
    site.app.post("/decorated")(decorate(chosen))
    site.app.post("/plain")(chosen)
    visitor = visitor_of(site)

    answer = send(visitor, "/decorated", params={"name": "bob", "currency": "USD"}, json={"total": 12})

    assert answer.json() == {"total": 12.0, "user": "bob", "currency": "USD"}
    assert [event["value"] for event in site.events()] == [12.0]
    paths = site.app.openapi()["paths"]
    decorated, plain = paths["/decorated"]["post"], paths["/plain"]["post"]
    assert decorated["parameters"] == plain["parameters"]
    assert decorated["requestBody"] == plain["requestBody"]


def test_a_return_type_for_type_checkers_only_leaves_the_parameters_as_they_are(serve):
    """Trap 21: FastAPI 0.115 would take the body for a parameter of the query."""
    site = serve()

    @site.app.post("/order", response_model=None)
    @track("purchase_completed")
    def order(basket: Basket) -> Receipt:
        return {"total": basket.total}

    visitor = visitor_of(site)

    assert send(visitor, "/order", json={"total": 12}).json() == {"total": 12.0}


def test_a_request_that_does_not_validate_is_no_event(serve):
    site = serve()

    @site.app.post("/order")
    @track("purchase_completed")
    async def order(basket: Basket):
        return basket

    visitor = visitor_of(site)

    assert send(visitor, "/order", json={"total": "much"}).status_code == 422
    assert site.events() == []


def test_an_http_exception_is_no_event(serve):
    site = serve()

    @site.app.post("/order")
    @track("purchase_completed")
    def order():
        raise HTTPException(402)

    visitor = visitor_of(site)

    assert send(visitor, "/order").status_code == 402
    assert site.events() == []


def test_a_status_set_on_the_response_counts(serve):
    site = serve()

    @site.app.post("/order")
    @track("purchase_completed")
    def order(response: Response):
        response.status_code = 409
        return {"error": "sold out"}

    visitor = visitor_of(site)

    assert send(visitor, "/order").status_code == 409
    assert site.events() == []


def test_a_declared_status_counts(serve):
    site = serve()

    @site.app.post("/order", status_code=201)
    @track("purchase_completed")
    def order():
        return {}

    visitor = visitor_of(site)

    assert send(visitor, "/order").status_code == 201
    assert site.event_names() == ["purchase_completed"]


@pytest.mark.parametrize("rule", ["POST /api/orders/{number}", "place_order"])
def test_a_rule_matches_below_the_prefix_of_a_router(serve, rule):
    """Trap 15: whether the path of the route holds the prefix differs by version."""
    router = APIRouter(prefix="/orders")

    @router.post("/{number}")
    def place_order(number: int):
        return number

    options = {"event": "ordered", "value": lambda call: int(call.kwargs["number"])}
    site = serve(events={rule: options}, extend=lambda app: app.include_router(router, prefix="/api"))
    visitor = visitor_of(site)

    assert send(visitor, "/api/orders/7").json() == 7
    assert [(event["event_name"], event["value"]) for event in site.events()] == [("ordered", 7.0)]


def test_a_rule_matches_in_an_application_mounted_in_another(serve):
    inner = FastAPI()

    @inner.post("/orders/{number}")
    def place_order(number: int):
        return number

    site = serve(events={"POST /shop/orders/{id}": "ordered"}, extend=lambda app: app.mount("/shop", inner))
    visitor = visitor_of(site)

    send(visitor, "/shop/orders/7")

    assert site.event_names() == ["ordered"]


def test_a_rule_matches_behind_a_root_path(serve):
    """The path that a proxy strips, or does not, is no part of a rule."""
    site = serve(events={"POST /orders/{id}": "ordered"}, extend=lambda app: setattr(app, "root_path", "/api"))
    visitor = visitor_of(site)

    send(visitor, "/orders/7")

    assert site.event_names() == ["ordered"]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_prompt_fetched_in_a_dependency_is_carried(serve, is_async):
    """Trap 1: a sync dependency runs in a thread of its own."""
    site = serve()

    def fetch():
        return get_prompt("product")

    async def afetch():
        return await aget_prompt("product")

    dependency = Depends(afetch if is_async else fetch)

    @site.app.get("/ask")
    def ask(prompt=dependency):
        return [prompt.trace_id, current.trace_id]

    visitor = visitor_of(site)

    fetched, seen = visitor.get("/ask").native.json()
    visitor.post("/event/paid")

    assert fetched == seen
    assert [event["trace_id"] for event in site.events()] == [fetched]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_tracked_dependency_with_an_exit_sees_the_exception_of_its_endpoint(serve, is_async):
    """Trap 22: the except block must run, and a dependency that failed is no event."""
    site = serve()
    seen = []

    @track("unit_of_work")
    def unit():
        try:
            yield "unit"
        except LookupError:
            seen.append("rolled back")
            raise

    @track("unit_of_work")
    async def aunit():
        try:
            yield "unit"
        except LookupError:
            seen.append("rolled back")
            raise

    dependency = Depends(aunit if is_async else unit)

    @site.app.post("/work")
    def work(fails: bool = False, unit=dependency):
        if fails:
            raise LookupError("the application's own")
        return unit

    visitor = visitor_of(site)

    send(visitor, "/work", params={"fails": True})
    assert seen == ["rolled back"]
    assert site.events() == []

    assert send(visitor, "/work").json() == "unit"
    assert site.event_names() == ["unit_of_work"]


def test_a_dependency_that_fails_to_commit_costs_the_event_after_the_response(serve):
    """Trap 14: its exit runs when the 200 has left."""
    site = serve(events={"order": "ordered"})

    def transaction():
        yield
        raise OSError("commit failed")

    @site.app.post("/order", dependencies=[Depends(transaction)])
    @track("purchase_completed", after="response")
    def order():
        return {}

    visitor = visitor_of(site)

    send(visitor, "/order")

    assert site.events() == []


def test_a_streamed_answer_of_a_sync_generator_sees_the_scope(serve):
    site = serve()

    @site.app.get("/story")
    def story():
        prompt = get_prompt("product")

        def parts():
            yield prompt.trace_id
            yield f" {current.trace_id}"

        return StreamingResponse(parts())

    visitor = visitor_of(site)

    first, second = visitor.get("/story").text.split()

    assert first == second
    assert bound() is None


def test_a_body_parameter_of_plain_json_stays_one(serve):
    site = serve()

    @site.app.post("/order")
    @track("purchase_completed", value=lambda call: call.kwargs["total"])
    async def order(total: Annotated[float, Body(embed=True)]):
        return total

    visitor = visitor_of(site)

    assert send(visitor, "/order", json={"total": 3}).json() == 3
    assert [event["value"] for event in site.events()] == [3.0]


def careful(function: Any) -> Any:
    """Decorate as libraries do: a plain function in front of whatever it is."""

    @functools.wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return decorated


def acareful(function: Any) -> Any:
    @functools.wraps(function)
    async def decorated(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return decorated


def careless(function: Any) -> Any:
    """Decorate without a word about what it is."""

    def decorated(*args: Any, **kwargs: Any) -> Any:
        return function()

    decorated.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
    return decorated


class Till:
    """Endpoints that are methods and objects."""

    @track("purchase_completed")
    def pay(self, response: Response, status: int = 200) -> dict[str, int]:
        response.status_code = status
        return {"status": status}

    __call__ = pay


def till(response: Response, status: int = 200) -> dict[str, int]:
    return Till.pay.__wrapped__(Till(), response, status)


async def atill(response: Response, status: int = 200) -> dict[str, int]:
    return till(response, status)


tracked = track("purchase_completed")

ENDPOINTS = {
    "method": Till().pay,
    "object": Till(),
    "partial": functools.partial(tracked(till)),
    "tracked partial": tracked(functools.partial(till)),
    "below": careful(tracked(till)),
    "above": tracked(careful(till)),
    "async below": acareful(tracked(atill)),
    "async above": tracked(acareful(atill)),
    "between": careful(tracked(careful(till))),
}


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_every_kind_of_endpoint_observes_status_and_method(serve, kind):
    site = serve()
    site.app.add_api_route("/pay", ENDPOINTS[kind], methods=["GET", "POST"])
    visitor = visitor_of(site)

    visitor.get("/pay")
    refused = send(visitor, "/pay", params={"status": 409})
    assert (refused.status_code, site.events()) == (409, [])

    assert send(visitor, "/pay").json() == {"status": 200}
    assert site.event_names() == ["purchase_completed"]


def test_a_decorator_that_says_nothing_does_not_make_a_function_of_an_endpoint(serve):
    def pay():
        return {}

    site = serve()
    site.app.add_api_route("/pay", careless(tracked(pay)), methods=["POST"], status_code=409)
    visitor = visitor_of(site)

    assert send(visitor, "/pay").status_code == 409
    assert site.events() == []


class Paging:
    """A dependency that is a class."""

    def __init__(self, size: int = 10) -> None:
        self.size = size


class Checked:
    """A dependency that is an object, and does something that is reported."""

    @track("checked", value=lambda call: call.kwargs["size"])
    def __call__(self, size: int = 10) -> int:
        return size


@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_dependencies_of_every_kind_reach_a_tracked_endpoint(serve, prefix):
    router = APIRouter(dependencies=[Depends(member)])
    checked = Checked()

    @router.post("/orders/{number}")
    @track("purchase_completed", value=lambda call: call.kwargs["paging"].size)
    async def order(
        number: int,
        paging: Annotated[Paging, Depends()],
        basket: Basket,
        size: int = Depends(checked),
        x_mine: Annotated[str, Header()] = "none",
    ):
        return {"number": number, "size": paging.size, "checked": size, "total": basket.total, "mine": x_mine}

    def extend(app):
        inner = FastAPI()
        inner.include_router(router, prefix="/v1")
        app.mount("/shop", inner)
        app.include_router(router, prefix="/v1")

    site = serve(extend=extend)
    visitor = visitor_of(site)
    visitor.headers["X-Mine"] = "kept"

    answer = send(visitor, f"{prefix}/v1/orders/7", params={"size": 3}, json={"total": 12})

    assert answer.json() == {"number": 7, "size": 3, "checked": 3, "total": 12.0, "mine": "kept"}
    assert {event["event_name"]: event["value"] for event in site.events()} == {
        "checked": 3.0,
        "purchase_completed": 3.0,
    }


def test_a_response_model_filters_what_leaves_and_not_what_fields_see(serve):
    site = serve()

    @site.app.post("/order", response_model=Basket, response_model_exclude={"note"})
    @track("purchase_completed", value=lambda call: call.result["cost"])
    def order():
        return {"total": 12, "cost": 3, "note": "kept inside"}

    visitor = visitor_of(site)

    assert send(visitor, "/order").json() == {"total": 12.0}
    assert [event["value"] for event in site.events()] == [3.0]


def test_an_answer_that_does_not_fit_its_model_is_no_event(serve):
    site = serve()

    @site.app.post("/order", response_model=Basket)
    @track("purchase_completed")
    def order():
        return {"total": "much"}

    visitor = visitor_of(site)

    assert send(visitor, "/order").status_code == 500
    assert site.events() == []


def test_what_an_exception_handler_answers_is_no_event(serve):
    class Refused(Exception):
        pass

    def refuse(request, exc):
        return JSONResponse({"error": "refused"}, 418)

    site = serve(extend=lambda app: app.add_exception_handler(Refused, refuse))

    @site.app.post("/order")
    @track("purchase_completed")
    def order():
        raise Refused

    visitor = visitor_of(site)

    assert send(visitor, "/order").status_code == 418
    assert "purchase_completed" not in site.event_names()


def state_user(request: Request) -> str | None:
    return getattr(request.state, "user", None)


async def astate_user(request: Request) -> str | None:
    return state_user(request)


@pytest.mark.parametrize("user_id", [state_user, astate_user])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_user_whom_a_dependency_has_found_is_named(serve, is_async, user_id):
    """Also on the route that only a rule names, and whatever header the client sends."""
    site = serve(user_id=user_id, events={"POST /order": "ordered"})

    def authenticate(request: Request):
        request.state.user = "member-7"

    async def aauthenticate(request: Request):
        authenticate(request)

    @track("packed")
    async def pack():
        return 1

    @site.app.post("/order", dependencies=[Depends(aauthenticate if is_async else authenticate)])
    @track("purchase_completed")
    async def order():
        track_event("paid")
        await pack()
        return {"user": current.user_id}

    visitor = visitor_of(site)
    visitor.headers["X-User"] = visitor.headers["X-User-Id"] = "impostor"

    answer = send(visitor, "/order")

    assert answer.json() == {"user": "member-7" if user_id is state_user else None}
    assert {event["event_name"]: event["user_id"] for event in site.events()} == dict.fromkeys(
        ["paid", "packed", "purchase_completed", "ordered"], "member-7"
    )
