"""Who an event of a Django site belongs to, whatever keeps its sessions and whatever its users are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("pytest_django")

from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY, alogin, alogout, get_user_model, login, logout
from django.contrib.auth.middleware import RemoteUserMiddleware
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.urls import path as url

import xr2_web
from xr2_web import track, track_event

from .django_project.models import Account
from .django_sites import BACKEND, OURS
from .modes import DJANGO, DJANGO_ASYNC
from .test_django import counted_queries, session_of

ENGINES = ["db", "cache", "cached_db", "file", "signed_cookies"]
LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "sessions"}}


@pytest.fixture(params=DJANGO)
def mode(request):
    return request.param


@pytest.fixture(params=ENGINES)
def engine(request, tmp_path):
    """The settings of a session back end."""
    return {
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{request.param}",
        "SESSION_FILE_PATH": str(tmp_path),
        "CACHES": LOCMEM,
    }


@track("tracked")
def work() -> int:
    return 1


@track("tracked")
async def awork() -> int:
    return 1


async def apay(request):
    """Report in every way that async code has; the first does not wait for anything."""
    receipt = track_event("paid")
    work()
    await xr2_web.atrack_event("waited")
    await awork()
    return HttpResponse(receipt.reason or "accepted")


def pay(request):
    receipt = track_event("paid")
    work()
    track_event("waited")
    return HttpResponse(receipt.reason or "accepted")


def open_with(open_site: Callable[..., Any], mode: Any, **options: Any) -> Any:
    """Open a site that also has a view of its kind at ``/pay``."""
    view = apay if mode.site_class().is_async else pay
    return open_site(extend=lambda patterns: patterns.append(url("pay", view)), **options)


@pytest.fixture(params=["cookie", "session"])
def site(request, mode, engine, open_site):
    return open_with(open_site, mode, django=engine, carry=request.param)


def test_every_session_back_end_names_the_user_of_the_moment(site, caplog):
    """Trap 11: the login has the new user, the logout none, and nothing queries on a running loop."""
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.post("/event/tried")
    user = visitor.post("/login/ada")
    visitor.post("/pay")
    visitor.post("/logout")

    events = [(event["event_name"], event["user_id"]) for event in site.events()]
    assert sorted(events[:5]) == [
        ("logged_in", user.text),
        ("paid", user.text),
        ("tracked", user.text),
        ("tried", None),
        ("waited", user.text),
    ]
    # What a session carries is gone with the session, before the status of the logout is known.
    assert events[5:] == ([("logged_out", None)] if site.settings["carry"] == "cookie" else [])
    assert "SynchronousOnlyOperation" not in caplog.text
    assert "user_unknown" not in caplog.text


def test_every_session_back_end_keeps_ids_stable_and_its_keys_to_itself(site):
    """Trap 20: with signed cookies the key is all that the session holds, for everybody to read."""
    visitor = site.visitor()
    fetched = visitor.get("/product/welcome")

    visitor.post("/event/tried")
    visitor.post("/login/ada")
    visitor.post("/pay")

    events = site.events()
    sent = json.dumps(events)
    assert len(events) == 5
    assert {event["trace_id"] for event in events} == {fetched.text}
    assert len({event["session_id"] for event in events}) == 1
    assert visitor.seen_cookies
    assert not [value for value in visitor.seen_cookies if value in sent]


@pytest.mark.parametrize("request_", [("GET", "/"), ("POST", "/orders/7"), ("GET", "/nowhere")])
def test_an_idle_page_of_a_member_leaves_every_session_back_end_alone(site, request_):
    """Trap 10."""
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")

    with counted_queries() as queries:
        answer = visitor.request(*request_)

    assert queries == []
    session = session_of(answer).session
    assert (session.accessed, hasattr(session, "_session_cache")) == (False, False)
    assert (answer.header("vary"), answer.cookies) == (None, {})


def test_an_event_leaves_the_session_unaccessed(site):
    """Trap 10: what is read for the user id and for the trace is read past the mark."""
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")

    answer = visitor.post("/pay")

    assert session_of(answer).session.accessed is False
    assert (answer.header("vary"), answer.cookies) == (None, {})


class ByHeader(RemoteUserMiddleware):
    """The server in front says who it is in a header, as it can in every mode."""

    header = "HTTP_X_REMOTE_USER"


def test_a_user_whom_the_server_in_front_has_authenticated_is_named(mode, open_site):
    middleware = [f"{__name__}.ByHeader" if each == OURS else each for each in django_settings.MIDDLEWARE]
    backends = ["django.contrib.auth.backends.RemoteUserBackend"]
    options = {"MIDDLEWARE": [*middleware, OURS], "AUTHENTICATION_BACKENDS": backends}
    site = open_with(open_site, mode, django=options)
    visitor = site.visitor()
    visitor.get("/product/welcome")
    # In async code Django 5.2 takes the name for that of a header, and not of a variable of WSGI.
    visitor.headers.update({"X-Remote-User": "ada", "Http-X-Remote-User": "ada"})

    visitor.post("/pay")

    user = get_user_model().objects.get(username="ada")
    assert {event["user_id"] for event in site.events()} == {str(user.pk)}


@pytest.fixture
def accounts(_django_database):
    """The project's own users, whose primary key is a UUID."""
    yield Account.objects
    Account.objects.all().delete()


def test_a_user_model_of_the_projects_own_has_one_id_loaded_or_not(mode, open_site, accounts):
    """Before the user is loaded the id is the session's text of it, afterwards the model's primary key."""
    site = open_with(open_site, mode, django={"AUTH_USER_MODEL": "django_project.Account"})
    visitor = site.visitor()
    visitor.get("/product/welcome")

    user = visitor.post("/login/ada")
    visitor.post("/pay")
    visitor.post("/logout")

    account = accounts.get(username="ada")
    assert user.text == str(account.pk)
    assert {event["event_name"]: event["user_id"] for event in site.events()} == {
        "logged_in": str(account.pk),
        **dict.fromkeys(["paid", "tracked", "waited"], str(account.pk)),
        "logged_out": None,
    }


def enter(request):
    """Log in without tracking anything."""
    login(request, get_user_model().objects.get_or_create(username=request.GET["name"])[0], BACKEND)
    return HttpResponse()


async def aenter(request):
    user, _ = await get_user_model().objects.aget_or_create(username=request.GET["name"])
    await alogin(request, user, BACKEND)
    return HttpResponse()


def leave(request):
    logout(request)
    return HttpResponse()


async def aleave(request):
    await alogout(request)
    return HttpResponse()


@pytest.fixture
def serve(mode, open_site):
    """Open a site at which nobody tracks that somebody comes or goes, and return a visitor of it."""
    views = (aenter, aleave) if mode.site_class().is_async else (enter, leave)
    patterns = [url(name, view) for name, view in zip(("enter", "leave"), views, strict=True)]

    def serve(**options: Any) -> Any:
        return open_site(extend=lambda known: known.extend(patterns), **options).visitor()

    return serve


@pytest.mark.parametrize("leaves", [True, False])
def test_what_an_anonymous_visitor_has_fetched_is_of_who_logs_in_first(serve, leaves):
    """Trap 31: A fetches before the login, and does nothing that is reported; then B buys."""
    visitor = serve()
    visitor.get("/product/welcome")

    visitor.post("/enter", name="ada")
    if leaves:
        visitor.post("/leave")
    visitor.post("/enter", name="bob")
    bought = visitor.post("/event/paid")

    assert bought.text in ("other_user", "no_trace")
    assert visitor.site.events() == []


def test_who_logs_in_keeps_what_was_fetched_before(serve):
    visitor = serve()
    fetched = visitor.get("/product/welcome")

    visitor.post("/enter", name="ada")
    visitor.post("/event/paid")

    user = get_user_model().objects.get(username="ada")
    assert [(event["trace_id"], event["user_id"]) for event in visitor.site.events()] == [(fetched.text, str(user.pk))]


def test_a_login_sends_a_token_only_where_it_changes_one(serve, caplog):
    visitor = serve()
    first = visitor.post("/enter", name="ada")
    visitor.post("/leave")
    visitor.get("/product/welcome")

    changing = visitor.post("/enter", name="ada")
    again = visitor.post("/enter", name="ada")

    assert [("xr2_carry" in answer.cookies) for answer in (first, changing, again)] == [False, True, False]
    assert "depart_failed" not in caplog.text


@pytest.mark.parametrize("mode", DJANGO_ASYNC[1:])
def test_a_login_waits_for_a_user_id_that_takes_waiting(serve):
    async def by_name(request):
        return (await request.auser()).get_username()

    visitor = serve(user_id=by_name)
    visitor.get("/product/welcome")

    visitor.post("/enter", name="ada")
    visitor.post("/leave")
    visitor.post("/enter", name="bob")

    assert visitor.post("/event/paid").text in ("other_user", "no_trace")


def test_a_login_that_cannot_be_noted_is_a_login(serve, caplog):
    def broken(request):
        raise LookupError("a secret of the application")

    visitor = serve(user_id=broken)
    visitor.get("/product/welcome")

    assert visitor.post("/enter", name="ada").status == 200
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.usefixtures("_django_database")
def test_a_login_outside_of_any_request_is_nobodys():
    request = HttpRequest()
    request.session = SessionStore()
    user = get_user_model().objects.create(username="ada")

    login(request, user, BACKEND)

    assert request.session[SESSION_KEY] == str(user.pk)
