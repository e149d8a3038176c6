"""What django-ninja adds to Django: operations that return values, and one view for all methods of a path."""

from __future__ import annotations

import functools
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("pytest_django")
pytest.importorskip("ninja", reason="django-ninja is not installed")

from django.http import Http404, HttpResponse
from django.test import Client
from django.urls import path as url
from django.views.decorators.cache import never_cache
from ninja import NinjaAPI, Router, Schema
from ninja.decorators import decorate_view
from ninja.errors import HttpError
from ninja.security import HttpBearer, SessionAuth

from xr2_web import current, track, track_event

from .modes import DJANGO

_numbers = itertools.count()


class Basket(Schema):
    total: float
    note: str = ""


class Refusal(Schema):
    error: str


class Refused(Exception):
    pass


@pytest.fixture(params=DJANGO)
def mode(request):
    return request.param


@pytest.fixture
def operation(mode):
    """Make a function an operation of the kind of this mode, with its signature."""

    def made(function: Any) -> Any:
        @functools.wraps(function)
        async def aoperation(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return aoperation if mode.site_class().is_async else function

    return made


@pytest.fixture
def api():
    # Two APIs of one name cannot live in one process.
    return NinjaAPI(urls_namespace=f"api-{next(_numbers)}", docs_url=None, openapi_url=None)


@pytest.fixture
def serve(api, open_site):
    """Open a site with the API at ``/api/``, and return a visitor of it who has fetched ``welcome``."""

    def serve(**options: Any) -> Any:
        # An API builds its URLs once, so they are asked for when it is complete.
        site = open_site(extend=lambda patterns: patterns.append(url("api/", api.urls)), **options)
        visitor = site.visitor()
        visitor.trace_id = visitor.get("/product/welcome").text
        return visitor

    return serve


def test_an_operation_that_returns_a_value_is_an_event(api, operation, serve):
    @api.post("/order")
    @track("purchase_completed", value=lambda call: call.result["total"])
    @operation
    def order(request, total: float):
        return {"total": total}

    visitor = serve()

    answer = visitor.post("/api/order", total=12)

    assert answer.native.json() == {"total": 12.0}
    assert [(event["event_name"], event["value"]) for event in visitor.site.events()] == [("purchase_completed", 12.0)]


def test_an_operation_that_shows_something_is_no_event(api, operation, serve, caplog):
    @api.api_operation(["GET", "POST"], "/order")
    @track("purchase_completed")
    @operation
    def order(request):
        return {}

    visitor = serve()

    assert visitor.get("/api/order").status == 200
    assert visitor.site.events() == []
    assert "get_skipped" in caplog.text

    visitor.post("/api/order")
    assert visitor.site.event_names() == ["purchase_completed"]


def test_each_method_of_a_path_is_an_operation_of_its_own(api, operation, serve):
    @api.get("/order")
    @track("opened", methods={"GET"})
    @operation
    def show(request):
        return {}

    @api.post("/order")
    @track("purchase_completed")
    @operation
    def order(request):
        return {}

    visitor = serve()

    visitor.get("/api/order")
    visitor.post("/api/order")
    visitor.request("DELETE", "/api/order")

    assert visitor.site.event_names() == ["opened", "purchase_completed"]


@pytest.mark.parametrize("mode", DJANGO[:2])
def test_the_operation_of_another_method_is_no_view_where_it_is_merely_called(api, serve):
    @api.get("/stock")
    @track("counted")
    def count(request):
        return {"left": 0}

    @api.post("/stock")
    def take(request):
        return api.create_response(request, count(request), status=409)

    visitor = serve()

    assert visitor.post("/api/stock").status == 409
    assert visitor.site.event_names() == ["counted"]


@pytest.mark.filterwarnings("ignore:Returning tuple:DeprecationWarning")
@pytest.mark.parametrize(("status", "expected"), [(201, ["purchase_completed"]), (402, [])])
def test_the_status_that_an_operation_returns_decides(api, operation, serve, status, expected):
    @api.post("/order", response={201: Basket, 402: Refusal})
    @track("purchase_completed")
    @operation
    def order(request):
        return status, {"total": 1, "error": "no"}

    visitor = serve()

    assert visitor.post("/api/order").status == status
    assert visitor.site.event_names() == expected


def test_the_status_of_a_response_that_it_returns_decides(api, operation, serve):
    @api.post("/order")
    @track("purchase_completed")
    @operation
    def order(request, status: int):
        return HttpResponse("answered", status=status)

    visitor = serve()

    visitor.post("/api/order", status=409)
    assert visitor.site.events() == []

    visitor.post("/api/order", status=200)
    assert visitor.site.event_names() == ["purchase_completed"]


@pytest.mark.parametrize(("raised", "status"), [(Http404, 404), (HttpError(402, "no"), 402), (Refused, 418)])
def test_what_an_exception_handler_answers_is_no_event(api, operation, serve, raised, status):
    @api.exception_handler(Refused)
    def refused(request, exc):
        return api.create_response(request, {"error": "refused"}, status=418)

    @api.post("/order")
    @track("purchase_completed")
    @operation
    def order(request):
        raise raised

    visitor = serve()

    assert visitor.post("/api/order").status == status
    assert visitor.site.events() == []


def test_a_request_that_does_not_validate_is_no_event(api, operation, serve):
    @api.post("/order")
    @track("purchase_completed")
    @operation
    def order(request, total: float):
        return {}

    visitor = serve()

    assert visitor.post("/api/order", total="much").status == 422
    assert visitor.site.events() == []


def test_a_result_that_does_not_fit_its_schema_is_no_event(api, operation, serve):
    @api.post("/order", response=Basket)
    @track("purchase_completed")
    @operation
    def order(request):
        return {"total": "much"}

    visitor = serve()

    assert visitor.post("/api/order").status == 500
    assert visitor.site.events() == []


@pytest.mark.parametrize("mode", [DJANGO[0], DJANGO[2]])
def test_a_decorated_operation_keeps_its_parameters(api, operation, serve):
    def order(request, basket: Basket, number: int, currency: str = "EUR"):
        return {"total": basket.total, "number": number, "currency": currency}

    decorate = track("purchase_completed", value=lambda call: call.kwargs["basket"].total)
    api.post("/decorated/{number}", operation_id="decorated")(decorate(operation(order)))
    api.post("/plain/{number}", operation_id="plain")(operation(order))
    visitor = serve()

    answers = [
        Client()
        .post(
            f"/api/{path}/7?currency=USD",
            {"total": 12},
            content_type="application/json",
            headers=visitor.sent(),
        )
        .json()
        for path in ("decorated", "plain")
    ]

    assert answers == [{"total": 12.0, "number": 7, "currency": "USD"}] * 2
    assert [event["value"] for event in visitor.site.events()] == [12.0]
    paths = {path: each["post"] for path, each in api.get_openapi_schema(path_prefix="")["paths"].items()}
    decorated, plain = paths["/decorated/{number}"], paths["/plain/{number}"]
    assert decorated["parameters"] == plain["parameters"]
    assert decorated["requestBody"] == plain["requestBody"]


def noted(function):
    """Decorate as libraries do."""

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        return function(*args, **kwargs)

    return decorated


@pytest.mark.parametrize("mode", [DJANGO[0], DJANGO[1]])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.filterwarnings("ignore:Returning tuple:DeprecationWarning")
def test_decorators_stand_in_any_order(api, serve, order):
    def place(request, status: int):
        return status, {"total": 1, "error": "no"}

    for each in [track("purchase_completed"), noted][::order]:
        place = each(place)
    api.api_operation(["GET", "POST"], "/order", response={201: Basket, 402: Refusal})(place)
    visitor = serve()

    visitor.get("/api/order", status=201)
    visitor.post("/api/order", status=402)
    assert visitor.site.events() == []

    visitor.post("/api/order", status=201)
    assert visitor.site.event_names() == ["purchase_completed"]


def test_a_decorator_of_the_view_sees_the_response(api, operation, serve):
    @api.post("/order", response={201: Basket, 402: Refusal})
    @decorate_view(track("purchase_completed", value=lambda call: call.result.status_code), never_cache)
    @operation
    def order(request, status: int):
        if status == 402:
            raise HttpError(402, "no")
        return HttpResponse("bought", status=status)

    visitor = serve()

    visitor.post("/api/order", status=402)
    visitor.post("/api/order", status=201)

    assert [event["value"] for event in visitor.site.events()] == [201]


@pytest.mark.filterwarnings("ignore:Returning tuple:DeprecationWarning")
def test_operations_of_routers_are_found_below_decorated_urls(api, operation, open_site):
    router = Router()

    @router.post("/order", response={402: Refusal})
    @track("purchase_completed")
    @operation
    def order(request, status: int):
        return status, {"error": "no"}

    api.add_router("/shop", router)

    def extend(patterns):
        found = api.urls
        for resolver in found[0]:
            for each in getattr(resolver, "url_patterns", [resolver]):
                each.callback = never_cache(each.callback)
        patterns.append(url("api/", found))

    visitor = open_site(extend=extend).visitor()
    visitor.get("/product/welcome")

    answer = visitor.post("/api/shop/order", status=402)

    assert (answer.status, answer.header("expires") is None) == (402, False)
    assert visitor.site.events() == []


def test_a_rule_names_an_operation_with_its_namespace(api, operation, serve):
    @api.post("/order/{number}", url_name="order")
    @operation
    def order(request, number: int):
        return {}

    name = f"{api.urls_namespace}:order"
    visitor = serve(events={name: {"event": "ordered", "value": lambda call: int(call.kwargs["number"])}})

    visitor.post("/api/order/7")

    assert [(event["event_name"], event["value"]) for event in visitor.site.events()] == [("ordered", 7.0)]


def test_fields_see_the_request_of_the_operation(api, operation, serve):
    @api.post("/order")
    @track(
        "purchase_completed", metadata=lambda call: {"same": call.request is call.args[0], "q": call.request.GET["q"]}
    )
    @operation
    def order(request, q: str):
        return {}

    visitor = serve()

    visitor.post("/api/order", q="tea")

    assert [event["metadata"] for event in visitor.site.events()] == [{"same": True, "q": "tea"}]


class Bearer(HttpBearer):
    def authenticate(self, request, token):
        return SimpleNamespace(pk=f"member-{token}")


def by_auth(request):
    return getattr(request, "auth", None) and request.auth.pk


def test_a_callable_names_the_user_whom_a_token_authenticates(api, operation, serve):
    @api.post("/order", auth=Bearer())
    @track("purchase_completed")
    @operation
    def order(request):
        return {"event": track_event("paid").reason}

    visitor = serve(user_id=by_auth)
    visitor.headers["Authorization"] = "Bearer 7"

    visitor.post("/api/order")

    assert {event["user_id"] for event in visitor.site.events()} == {"member-7"}
    assert sorted(visitor.site.event_names()) == ["paid", "purchase_completed"]


def test_a_request_without_a_token_is_no_event(api, operation, serve):
    @api.post("/order", auth=Bearer())
    @track("purchase_completed")
    @operation
    def order(request):
        return {}

    visitor = serve(user_id=by_auth)

    assert visitor.post("/api/order").status == 401
    assert visitor.site.events() == []


async def asession_auth(request):
    user = await request.auser()
    return user if user.is_authenticated else None


def test_the_user_of_the_session_is_known(mode, api, operation, serve):
    @api.post("/order", auth=asession_auth if mode.site_class().is_async else SessionAuth(csrf=False))
    @track("purchase_completed")
    @operation
    def order(request):
        return {"user": str(current.user_id)}

    visitor = serve()
    user = visitor.post("/login/ada")

    answer = visitor.post("/api/order")

    assert answer.native.json() == {"user": user.text}
    assert [event["user_id"] for event in visitor.site.events()] == [user.text, user.text]
