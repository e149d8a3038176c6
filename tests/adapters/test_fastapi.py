"""What only FastAPI has: endpoints that return values, dependency injection, routers with prefixes, and OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from xr2_web import aget_prompt, current, get_prompt, track
from xr2_web.scope import bound

from .modes import FASTAPI


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
