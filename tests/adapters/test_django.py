"""What only Django has: transactions, lazy users, sessions in a database, class-based views, and lifespan."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("pytest_django")

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings as django_settings
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, connections, transaction
from django.http import FileResponse, Http404, HttpResponse
from django.urls import include
from django.urls import path as url
from django.utils.decorators import method_decorator
from django.views import View

import xr2_web
from xr2_web import current, get_prompt, track, track_event
from xr2_web.django.installation import at_commit
from xr2_web.models import Trace

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


@pytest.mark.parametrize("mode", DJANGO_SYNC[:1])
@pytest.mark.parametrize("is_atomic", [False, True])
def test_an_event_that_cannot_be_kept_does_not_break_the_order(open_site, is_atomic, caplog):
    """Trap 33: an outbox that fails, in a transaction and without one."""

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
    """``robust=True``, and a function that Django can name in its log."""

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
    def refuse(request):
        raise raised

    site = site_with(open_site, refuse)
    visitor = visitor_of(site)

    assert visitor.post("/refuse").status == status
    assert site.events() == []


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
    """Trap 25: Django has no lifespan of its own; nothing is flushed by hand here."""
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

    async_to_sync(serve)()

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
