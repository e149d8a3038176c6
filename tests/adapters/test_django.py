"""What only Django has: transactions, lazy users, sessions in a database, class-based views, and lifespan."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("pytest_django")

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django import forms
from django.conf import settings as django_settings
from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, connections, transaction
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.urls import include
from django.urls import path as url
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_page, never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST
from django.views.decorators.vary import vary_on_headers
from django.views.generic import FormView

import xr2_web
from xr2_web import current, get_prompt, redirected, track, track_event
from xr2_web.django import Xr2Middleware
from xr2_web.django.installation import at_commit
from xr2_web.models import Trace
from xr2_web.scope import bound

from . import asgi
from .django_sites import OURS
from .modes import DJANGO, DJANGO_ASYNC, DJANGO_SYNC


def site_with(open_site: Callable[..., Any], *views: Any, **options: Any) -> Any:
    """Open a site that also has ``views``, each at the path of its name."""
    routes = [url(getattr(view, "view_class", view).__name__, view) for view in views]
    return open_site(extend=lambda patterns: patterns.extend(routes), **options)


def visitor_of(site: Any) -> Any:
    visitor = site.visitor()
    visitor.get("/product/welcome")
    return visitor


@contextmanager
def counted_queries():
    """Count the queries of this thread, in which the test clients run all that is synchronous."""
    queries: list[str] = []

    def count(execute, sql, params, many, context):
        queries.append(sql)
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for each in connections.all():
            stack.enter_context(each.execute_wrapper(count))
        yield queries


def session_of(answer: Any) -> Any:
    native = answer.native
    return getattr(native, "wsgi_request", None) or native.asgi_request


@pytest.mark.parametrize("mode", DJANGO)
def test_an_idle_page_of_a_member_costs_no_query_and_no_session(open_site):
    """Trap 10."""
    visitor = open_site().visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")

    with counted_queries() as queries:
        answer = visitor.get("/")

    assert queries == []
    assert session_of(answer).session.accessed is False
    assert not hasattr(session_of(answer), "_cached_user")
    assert answer.header("vary") is None


@pytest.mark.parametrize("mode", DJANGO)
def test_the_user_of_an_event_costs_one_query_and_leaves_the_session_unaccessed(open_site):
    """Trap 10: the session is read once, the user never."""
    visitor = open_site().visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")

    with counted_queries() as queries:
        answer = visitor.post("/event/paid")

    assert answer.text == "accepted"
    assert len(queries) == 1
    assert "django_session" in queries[0]
    assert session_of(answer).session.accessed is False
    assert answer.header("vary") is None


@pytest.mark.parametrize("mode", DJANGO)
def test_a_session_that_carries_is_read_without_marking_it_as_accessed(open_site):
    site = open_site(carry="session")
    visitor = visitor_of(site)

    answer = visitor.post("/event/paid")

    assert answer.text == "accepted"
    assert answer.header("vary") is None


@pytest.mark.parametrize("mode", DJANGO_ASYNC)
def test_a_sync_call_in_an_async_view_leaves_the_user_to_the_middleware(open_site):
    """Trap 11: it can neither query nor wait, and says so."""

    async def pay(request):
        return HttpResponse(track_event("paid").reason)

    site = site_with(open_site, pay)
    visitor = site.visitor()
    user = visitor.post("/login/ada")
    visitor.get("/product/welcome")

    receipt = visitor.post("/pay")

    assert receipt.text == "pending"
    assert [(event["event_name"], event["user_id"]) for event in site.events()] == [("paid", user.text)]


@pytest.mark.parametrize("mode", DJANGO_ASYNC)
@pytest.mark.parametrize("carry", ["cookie", "session"])
def test_a_sync_call_in_an_async_view_knows_what_the_visitor_carries(open_site, carry):
    async def pay(request):
        return HttpResponse(track_event("paid").reason)

    site = site_with(open_site, pay, carry=carry)
    visitor = site.visitor()
    fetched = visitor.get("/product/welcome")

    visitor.post("/pay")

    assert [event["trace_id"] for event in site.events()] == [fetched.text]


@pytest.mark.parametrize("mode", DJANGO_ASYNC)
def test_an_invalid_event_is_told_at_the_call_where_the_user_must_wait(open_site):
    async def pay(request):
        return HttpResponse(track_event("paid", value=float("nan")).reason)

    site = site_with(open_site, pay)
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")

    assert visitor.post("/pay").text == "invalid"


@pytest.mark.parametrize("mode", DJANGO_ASYNC)
def test_a_decorated_coroutine_waits_for_the_user(open_site):
    """Trap 11."""

    @track("paid")
    async def place_order():
        return 1

    async def pay(request):
        await place_order()
        return HttpResponse()

    site = site_with(open_site, pay)
    visitor = site.visitor()
    user = visitor.post("/login/ada")
    visitor.get("/product/welcome")

    visitor.post("/pay")

    assert [event["user_id"] for event in site.events()] == [user.text]


@pytest.mark.parametrize("mode", DJANGO)
def test_a_view_that_loads_the_user_costs_no_query_of_ours(open_site):
    def look(request):
        name = request.user.username
        track_event("looked")
        return HttpResponse(name)

    async def alook(request):
        user = await request.auser()
        await xr2_web.atrack_event("looked")
        return HttpResponse(user.username)

    site = open_site()
    chosen = alook if site.is_async else look
    site.close()
    site = site_with(open_site, chosen)
    visitor = site.visitor()
    user = visitor.post("/login/ada")
    visitor.get("/product/welcome")

    with counted_queries() as queries:
        answer = visitor.get(f"/{chosen.__name__}")

    assert answer.text == "ada"
    assert len(queries) == 2
    assert site.events()[-1]["user_id"] == user.text


@pytest.mark.parametrize("mode", DJANGO_SYNC)
def test_a_lazy_user_among_the_arguments_is_not_loaded(open_site):
    """Trap 10: the one query is for the user id, of the session."""

    @track("charged")
    def charge(user):
        return 1

    def pay(request):
        charge(request.user)
        return HttpResponse()

    site = site_with(open_site, pay)
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")

    with counted_queries() as queries:
        visitor.post("/pay")

    assert len(queries) == 1
    assert "django_session" in queries[0]
    assert site.event_names() == ["charged"]


@pytest.fixture
def atomic_requests():
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.parametrize("mode", DJANGO_SYNC)
@pytest.mark.usefixtures("atomic_requests")
def test_a_request_that_is_rolled_back_makes_no_event(open_site):
    """Trap 13: ATOMIC_REQUESTS, track, raise."""
    site = open_site()
    visitor = visitor_of(site)

    answer = visitor.post("/crash")

    assert answer.status == 500
    assert site.events() == []


@pytest.mark.parametrize("mode", DJANGO_SYNC)
@pytest.mark.usefixtures("atomic_requests")
def test_a_request_that_commits_makes_one_event(open_site):
    """Trap 13, the other way."""
    site = open_site()
    visitor = visitor_of(site)

    receipt = visitor.post("/event/paid")
    visitor.post("/buy")
    visitor.post("/buy-late")

    assert receipt.text == "pending"
    assert site.event_names() == ["paid", "purchase_completed"]


@pytest.mark.parametrize("mode", DJANGO_SYNC)
def test_a_route_event_of_a_request_in_a_transaction_is_made(open_site, atomic_requests):
    site = open_site(events={"order": "ordered"})
    visitor = visitor_of(site)

    visitor.post("/orders/7")

    assert site.event_names() == ["ordered"]


class RolledBack(Exception):
    pass


@track("order_placed")
def place_order():
    return 1


@track("order_shown", after="response")
def show_order():
    return 1


def in_blocks(*, inner_fails: bool, outer_fails: bool) -> None:
    try:
        with transaction.atomic():
            track_event("outer")
            try:
                with transaction.atomic():
                    track_event("inner")
                    place_order()
                    show_order()
                    if inner_fails:
                        raise RolledBack
            except RolledBack:
                pass
            if outer_fails:
                raise RolledBack
    except RolledBack:
        pass


def blocks(request):
    in_blocks(inner_fails="inner" in request.GET, outer_fails="outer" in request.GET)
    return HttpResponse()


async def ablocks(request):
    await sync_to_async(in_blocks)(inner_fails="inner" in request.GET, outer_fails="outer" in request.GET)
    return HttpResponse()


@pytest.mark.parametrize("mode", DJANGO)
@pytest.mark.parametrize(
    ("query", "expected"),
    [({}, ["outer", "inner", "order_placed", "order_shown"]), ({"inner": 1}, ["outer"]), ({"outer": 1}, [])],
    ids=["committed", "savepoint rolled back", "rolled back"],
)
def test_an_event_in_a_block_is_made_when_the_block_commits(open_site, query, expected):
    """Trap 13, for blocks of the application's own, in threads of async views too."""
    site = site_with(open_site, blocks, ablocks)
    visitor = visitor_of(site)

    visitor.post("/ablocks" if site.is_async else "/blocks", **query)

    assert site.event_names() == expected


@pytest.fixture
def other_database(tmp_path):
    """A second database, known for one test only."""
    connections.databases["other"] = {**connections.databases["default"], "NAME": str(tmp_path / "other.sqlite3")}
    yield "other"
    connections["other"].close()
    del connections["other"], connections.databases["other"]


@contextmanager
def block_of(using, *, fails):
    with suppress(RolledBack), transaction.atomic(using=using):
        yield
        if fails:
            raise RolledBack


@pytest.mark.parametrize("mode", DJANGO_SYNC)
@pytest.mark.parametrize(
    ("fails", "expected"),
    [((), ["both", "inner"]), (("inner",), ["both"]), (("outer",), []), (("inner", "outer"), [])],
    ids=["committed", "the other fails", "the first fails", "both fail"],
)
def test_an_event_waits_for_every_database_that_is_in_a_block(open_site, other_database, fails, expected):
    """Trap 13: each alias commits or rolls back for itself."""

    def place_both(request):
        with block_of("default", fails="outer" in fails):
            track_event("both")
            with block_of(other_database, fails="inner" in fails):
                track_event("inner")
        return HttpResponse()

    site = site_with(open_site, place_both)
    visitor = visitor_of(site)

    assert visitor.post("/place_both").status == 200
    assert sorted(site.event_names()) == expected


@pytest.mark.parametrize("mode", DJANGO_SYNC)
@pytest.mark.parametrize(("fails", "expected"), [(True, ["default"]), (False, ["default", "other"])])
def test_a_database_that_is_in_no_block_holds_nothing_up(open_site, other_database, fails, expected):
    def place_there(request):
        with block_of(other_database, fails=fails):
            track_event("other")
        with block_of("default", fails=False):
            track_event("default")
        return HttpResponse()

    site = site_with(open_site, place_there)
    visitor = visitor_of(site)

    visitor.post("/place_there")

    assert sorted(site.event_names()) == expected


@pytest.mark.parametrize("mode", DJANGO_SYNC)
def test_savepoints_of_savepoints_decide_each_for_itself(open_site):
    """Trap 13."""

    def nest(request):
        with transaction.atomic(durable=True):
            track_event("durable")
            with block_of("default", fails=True):
                with block_of("default", fails=False):
                    track_event("lost with its parent")
                track_event("lost")
            with transaction.atomic(savepoint=False):
                track_event("without savepoint")
            transaction.on_commit(lambda: track_event("at commit"), robust=True)
        track_event("after")
        return HttpResponse()

    site = site_with(open_site, nest)
    visitor = visitor_of(site)

    visitor.post("/nest")

    assert site.event_names() == ["durable", "without savepoint", "at commit", "after"]


@pytest.mark.parametrize("mode", DJANGO_SYNC)
def test_a_callback_of_the_application_that_fails_costs_no_event_of_ours(open_site):
    def fail():
        raise OSError("the application's own")

    def commit(request):
        with transaction.atomic():
            transaction.on_commit(fail, robust=True)
            track_event("paid")
        return HttpResponse()

    site = site_with(open_site, commit)
    visitor = visitor_of(site)

    assert visitor.post("/commit").status == 200
    assert site.event_names() == ["paid"]


@pytest.mark.parametrize("mode", DJANGO_SYNC[:1])
@pytest.mark.parametrize("is_atomic", [False, True])
def test_an_event_that_cannot_be_kept_does_not_break_the_order(open_site, is_atomic, caplog):
    """Trap 33: an outbox that fails, in a transaction and without one. `Runtime._put` lets nothing through."""

    def order(request):
        with transaction.atomic() if is_atomic else nullcontext():
            track_event("paid")
        return HttpResponse("kept")

    def broken(settings):
        raise OSError("no room")

    site = site_with(open_site, order, outbox=broken)
    visitor = site.visitor()
    traces = [Trace("welcome", "evt_1", 1, int(site.runtime.chance.wall()))]
    visitor.jar["xr2_carry"] = site.runtime.seal.write("session", None, traces)

    assert visitor.post("/order").text == "kept"
    assert "outbox_failed" in caplog.text


@pytest.mark.usefixtures("_django_database")
def test_a_callback_that_fails_at_the_commit_does_not_break_it(caplog):
    """Trap 33: ``robust=True`` in `_defer`, and a function that Django can name in its log."""

    def fail():
        raise OSError("no room")

    with transaction.atomic():
        assert at_commit(fail)

    assert "no room" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("mode", DJANGO_SYNC[:1])
def test_captured_callbacks_carry_the_trace(open_site, django_capture_on_commit_callbacks):
    """Trap 12: in Django's TestCase nothing commits, and the callbacks run after the request."""
    site = open_site()
    visitor = site.visitor()
    fetched = visitor.get("/product/welcome")

    with django_capture_on_commit_callbacks(execute=True):
        receipt = visitor.post("/event/paid")
        assert site.events() == []

    assert receipt.text == "pending"
    assert [event["trace_id"] for event in site.events()] == [fetched.text]


class DecoratedMethod(View):
    @track("purchase_completed", value=lambda call: len(call.args))
    def post(self, request):
        return HttpResponse("bought")

    def get(self, request):
        return HttpResponse("form")


@track("purchase_completed")
class DecoratedClass(View):
    def post(self, request):
        return HttpResponse("bought", status=int(request.GET.get("status", 200)))

    def get(self, request):
        return HttpResponse("form")


@method_decorator(track("purchase_completed"), name="post")
class MethodDecorated(View):
    def post(self, request):
        return HttpResponse("bought")


@track("purchase_completed")
class AsyncClass(View):
    async def post(self, request):
        return HttpResponse("bought")


@track("seen", methods={"GET"})
class SeenClass(View):
    def get(self, request):
        return HttpResponse("seen")


@pytest.mark.parametrize("mode", DJANGO)
@pytest.mark.parametrize("view", [DecoratedMethod, DecoratedClass, MethodDecorated, AsyncClass])
def test_a_class_based_view_is_an_event_when_its_handler_answers(open_site, view):
    site = site_with(open_site, view.as_view())
    visitor = visitor_of(site)

    visitor.get(f"/{view.__name__}")
    answer = visitor.post(f"/{view.__name__}")

    assert answer.text == "bought"
    assert site.event_names() == ["purchase_completed"]


@method_decorator(track("purchase_completed"), name="dispatch")
class DispatchDecorated(View):
    def post(self, request):
        return HttpResponse("bought", status=int(request.GET.get("status", 200)))

    def get(self, request):
        return HttpResponse("form")


@method_decorator(track("purchase_completed"), name="dispatch")
class AsyncDispatchDecorated(View):
    async def post(self, request):
        return HttpResponse("bought", status=int(request.GET.get("status", 200)))

    async def get(self, request):
        return HttpResponse("form")


class TrackedDispatch(View):
    @track("purchase_completed")
    def dispatch(self, request, *args, **kwargs):
        return super().dispatch(request, *args, **kwargs)

    async def post(self, request):
        return HttpResponse("bought", status=int(request.GET.get("status", 200)))

    async def get(self, request):
        return HttpResponse("form")


class Registration(FormView):
    form_class = type("NameForm", (forms.Form,), {"name": forms.CharField()})
    success_url = "/welcome"
    http_method_names = ("post", "get")

    @track("purchase_completed", when=redirected)
    def post(self, request, *args, **kwargs):
        self.data = request.GET
        return super().post(request, *args, **kwargs)

    def get_form_kwargs(self):
        return {"data": self.data}

    def render_to_response(self, context):
        return HttpResponse("form")


@pytest.mark.parametrize("mode", DJANGO)
@pytest.mark.parametrize("view", [DispatchDecorated, AsyncDispatchDecorated, TrackedDispatch])
def test_what_a_class_has_for_every_method_observes_status_and_method(open_site, view):
    site = site_with(open_site, view.as_view())
    visitor = visitor_of(site)

    visitor.get(f"/{view.__name__}")
    visitor.post(f"/{view.__name__}", status=409)
    visitor.request("PUT", f"/{view.__name__}")
    assert site.events() == []

    assert visitor.post(f"/{view.__name__}").text == "bought"
    assert site.event_names() == ["purchase_completed"]


@pytest.mark.parametrize("mode", DJANGO_SYNC)
def test_a_form_view_is_an_event_when_its_form_is_valid(open_site):
    site = site_with(open_site, Registration.as_view())
    visitor = visitor_of(site)

    assert visitor.post("/Registration").status == 200
    assert site.events() == []

    assert visitor.post("/Registration", name="ada").status == 302
    assert site.event_names() == ["purchase_completed"]


def careful(function):
    """Decorate as libraries do: a plain function in front of whatever it is."""

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        return function(*args, **kwargs)

    return markcoroutinefunction(decorated) if iscoroutinefunction(function) else decorated


def careless(function):
    """Decorate without a word about what it is."""

    def decorated(*args, **kwargs):
        return function(*args, **kwargs)

    return markcoroutinefunction(decorated) if iscoroutinefunction(function) else decorated


DECORATORS = {
    "require_POST": require_POST,
    "csrf_exempt": csrf_exempt,
    "cache_page": cache_page(60),
    "never_cache": never_cache,
    "vary_on_headers": vary_on_headers("X-Mine"),
    "xframe_options_exempt": xframe_options_exempt,
    "atomic": transaction.atomic,
    "non_atomic_requests": transaction.non_atomic_requests,
    "gzip_page": gzip_page,
    "login_not_required": login_not_required,
    "careful": careful,
    "careless": careless,
}
SYNC_ONLY = {"atomic"}


@pytest.mark.parametrize("mode", [DJANGO_SYNC[0], DJANGO_ASYNC[1]])
@pytest.mark.parametrize("order", [1, -1], ids=["track below", "track above"])
@pytest.mark.parametrize("name", DECORATORS)
def test_the_decorators_of_django_stand_in_any_order(mode, open_site, name, order):
    def buy_it(request):
        return HttpResponse("bought", status=int(request.GET.get("status", 200)))

    async def abuy_it(request):
        return buy_it(request)

    view = abuy_it if mode.site_class().is_async and name not in SYNC_ONLY else buy_it
    for each in [track("purchase_completed"), DECORATORS[name]][::order]:
        view = each(view)
    site = open_site(extend=lambda patterns: patterns.append(url("buy-it", view)))
    visitor = visitor_of(site)

    opened = visitor.get("/buy-it")
    visitor.post("/buy-it", status=409)
    assert opened.status == (405 if name == "require_POST" else 200)
    assert site.events() == []

    assert visitor.post("/buy-it").status == 200
    assert site.event_names() == ["purchase_completed"]


@pytest.mark.parametrize("mode", DJANGO)
def test_what_decorators_say_of_a_view_stays_said_above_and_below(open_site):
    """Middleware reads these marks from the view that the route names."""

    def place(request):
        return HttpResponse()

    below = csrf_exempt(login_not_required(transaction.non_atomic_requests(track("a")(place))))
    above = track("a")(csrf_exempt(login_not_required(transaction.non_atomic_requests(place))))

    marks = [(view.csrf_exempt, view.login_required, view._non_atomic_requests) for view in (below, above)]
    assert marks == [(True, False, {"default"})] * 2


@pytest.mark.parametrize("mode", DJANGO)
def test_a_view_for_members_is_an_event_of_members(mode, open_site):
    """Below the decorator that sends everybody else to the login."""

    @login_required
    @track("purchase_completed")
    def members(request):
        return HttpResponse("bought")

    @login_required
    @track("purchase_completed")
    async def amembers(request):
        return HttpResponse("bought")

    view = amembers if mode.site_class().is_async else members
    site = open_site(extend=lambda patterns: patterns.append(url("members", view)))
    visitor = visitor_of(site)

    assert visitor.post("/members").status == 302
    assert site.events() == []

    user = visitor.post("/login/ada")
    visitor.post("/members")
    assert [event["user_id"] for event in site.events()] == [user.text, user.text]


@pytest.mark.parametrize("mode", DJANGO_SYNC[:1])
def test_a_decorated_class_observes_status_and_methods(open_site):
    site = site_with(open_site, DecoratedClass.as_view(), SeenClass.as_view())
    visitor = visitor_of(site)

    visitor.post("/DecoratedClass", status=422)
    visitor.get("/SeenClass")

    assert site.event_names() == ["seen"]


@pytest.mark.parametrize("mode", DJANGO)
@pytest.mark.parametrize(("raised", "status"), [(Http404, 404), (PermissionDenied, 403)])
def test_a_view_that_raises_what_becomes_an_error_page_is_no_event(open_site, raised, status):
    @track("purchase_completed")
    def reject(request):
        raise raised

    site = site_with(open_site, reject)
    visitor = visitor_of(site)

    assert visitor.post("/reject").status == status
    assert "purchase_completed" not in site.event_names()


@pytest.mark.parametrize("mode", DJANGO)
def test_a_rule_names_a_view_with_its_namespaces(open_site):
    def checkout(request, order):
        return HttpResponse()

    shop = ([url("checkout/<int:order>", checkout, name="checkout")], "shop")
    site = open_site(
        extend=lambda patterns: patterns.append(url("shop/", include(shop))),
        events={"shop:checkout": {"event": "ordered", "value": lambda call: call.kwargs["order"]}},
    )
    visitor = visitor_of(site)

    visitor.post("/shop/checkout/7")

    assert [(event["event_name"], event["value"]) for event in site.events()] == [("ordered", 7.0)]


def left_early():
    try:
        yield "one"
        yield "two"
    finally:
        track_event("left")


class Rows:
    """A body that is more than an iterator, as database cursors are."""

    def __iter__(self):
        return iter(["row"])

    def close(self):
        track_event("closed")


def unfold(request):
    return StreamingHttpResponse({"rows": Rows, "parts": left_early}[request.GET["what"]]())


@pytest.mark.parametrize("mode", DJANGO_SYNC[:1])
@pytest.mark.parametrize(("what", "steps", "expected"), [("parts", 1, "left"), ("rows", 0, "closed")])
def test_a_body_that_is_closed_early_cleans_up_within_its_scope(open_site, what, steps, expected):
    """Trap 2: it may be closed without being iterated; Django itself closes what a view gave it."""
    site = site_with(open_site, unfold)
    visitor = site.visitor()
    fetched = visitor.get("/product/welcome")

    response = Client().post(f"/unfold?what={what}", headers=visitor.sent())
    for _ in range(steps):
        next(iter(response))
    response.close()

    assert [(event["event_name"], event["trace_id"]) for event in site.events()] == [(expected, fetched.text)]
    assert bound() is None


@pytest.mark.parametrize("mode", DJANGO)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_a_file_response_is_left_to_the_server_and_makes_its_event(open_site, tmp_path):
    file = tmp_path / "ticket.txt"
    file.write_text("ticket")

    def ticket(request):
        get_prompt("welcome")
        response = FileResponse(file.open("rb"))
        assert response.file_to_stream is not None
        return response

    site = site_with(open_site, ticket, events={"POST /ticket": "fetched"})

    answer = site.visitor().post("/ticket")

    assert answer.text == "ticket"
    assert site.event_names() == ["fetched"]


@pytest.mark.parametrize("mode", DJANGO[:1])
def test_a_worker_that_is_told_to_end_in_a_view_leaves_nothing_bound(site):
    """Trap 23: gunicorn raises it in a worker that takes too long, and Django lets it pass through all middleware.

    It protects the ``finally`` of `Xr2Middleware.__call__`: of any other exception Django makes a response.
    """

    def slow(request):
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        Xr2Middleware(slow)(RequestFactory().post("/slow"))

    assert bound() is None


@pytest.mark.parametrize("mode", DJANGO[:1])
async def test_an_async_view_that_is_cancelled_leaves_nothing_bound(site):
    """Trap 23: a client has gone. It protects the ``finally`` of `Xr2Middleware._acall`."""

    async def slow(request):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Xr2Middleware(slow)(RequestFactory().post("/slow"))

    assert bound() is None


@pytest.mark.parametrize("mode", DJANGO)
def test_a_session_middleware_inside_of_ours_is_named(open_site, caplog):
    """Trap 8: the session is saved before ours writes into it."""
    order = [OURS, *(each for each in django_settings.MIDDLEWARE if each != OURS)]
    site = open_site(carry="session", django={"MIDDLEWARE": order})
    visitor = site.visitor()

    answers = [visitor.get("/product/welcome"), visitor.get("/product/welcome")]

    assert [answer.status for answer in answers] == [200, 200]
    assert caplog.text.count("below SessionMiddleware") == 1
    assert not answers[0].cookies


@pytest.mark.parametrize("mode", DJANGO)
def test_without_any_session_middleware_events_go_without_a_user(open_site):
    site = open_site(django={"MIDDLEWARE": [OURS]})
    visitor = visitor_of(site)

    visitor.post("/event/paid")

    assert [event["user_id"] for event in site.events()] == [None]


@pytest.mark.parametrize("mode", DJANGO)
def test_it_works_below_a_middleware_of_the_old_kind(open_site):
    """Without the mark of a coroutine function ours would break there under ASGI."""
    order = ["django.middleware.common.CommonMiddleware", *django_settings.MIDDLEWARE]
    order += ["django.middleware.clickjacking.XFrameOptionsMiddleware"]
    site = open_site(django={"MIDDLEWARE": order})
    visitor = visitor_of(site)

    assert visitor.post("/event/paid").text == "accepted"


@pytest.mark.parametrize("mode", DJANGO)
def test_a_middleware_inside_of_ours_may_answer_itself(open_site):
    site = open_site(django={"MIDDLEWARE": [*django_settings.MIDDLEWARE, f"{__name__}.maintenance"]})

    answer = site.visitor().get("/product/welcome")

    assert (answer.status, answer.text) == (503, "None")
    assert not answer.cookies


def maintenance(get_response):
    def answer(request):
        return HttpResponse(str(current.trace_id), status=503)

    return answer


@pytest.mark.parametrize("mode", [*DJANGO_SYNC[1:], *DJANGO_ASYNC[1:]])
def test_events_are_delivered_when_the_server_ends_the_lifespan(open_site, local_xr2):
    """Trap 25: Django has no lifespan of its own, and `lifespan.answer` closes the runtime.

    An event may arrive without that, but then the courier's threads go on.
    """
    from xr2_web.django import asgi as with_lifespan

    site = open_site()
    visitor = visitor_of(site)
    application = with_lifespan(ASGIHandler())
    sent: list[Any] = []

    async def serve():
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive():
            kind = next(messages)
            if kind == "lifespan.shutdown":
                await asgi.Connection("/event/paid", visitor.sent()).run(application)
            return {"type": kind}

        async def send(message):
            sent.append(message["type"])

        await application({"type": "lifespan"}, receive, send)

    before = set(threading.enumerate())
    async_to_sync(serve)()
    left = [each.name for each in set(threading.enumerate()) - before if each.name.startswith("xr2-courier")]

    assert left == []
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert [event["event_name"] for event in local_xr2.events()] == ["paid"]


WITHOUT_A_DATABASE = """
import asyncio, sys
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from xr2_web import aget_prompt, get_prompt, track, track_event, atrack_event

@track("signed_up")
def sync_view(request):
    get_prompt("welcome")
    return HttpResponse(str(track_event("paid").accepted))

@track("signed_up")
async def async_view(request):
    await aget_prompt("welcome")
    return HttpResponse(f"{(await atrack_event('paid')).accepted} {track_event('tried').accepted}")

settings.configure(
    SECRET_KEY="a key that is long enough for everyone",
    ROOT_URLCONF=(path("sync", sync_view), path("async", async_view)),
    MIDDLEWARE=["xr2_web.django.Xr2Middleware"],
    ALLOWED_HOSTS=["*"],
    XR2={"API_KEY": sys.argv[1], "BASE_URL": sys.argv[2], "OUTBOX": "memory"},
)
django.setup()

from django.test import AsyncClient, Client
from xr2_web.django.installation import installation

for name in ("sync", "async"):
    print(Client().post(f"/{name}").content.decode())
    print(asyncio.run(AsyncClient().post(f"/{name}")).content.decode())
assert installation().runtime.flush(5)
"""


def test_it_works_in_a_project_without_a_database(local_xr2):
    """Trap 12: no table, no connection, sync and async views under both kinds of handler."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_A_DATABASE, local_xr2.api_key, local_xr2.base_url],
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stderr == ""
    assert done.stdout.split() == ["True", "True", "True", "True", "True", "True"]
    names = sorted(event["event_name"] for event in local_xr2.events())
    assert names == ["paid"] * 4 + ["signed_up"] * 4 + ["tried"] * 2
