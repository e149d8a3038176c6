"""The admin shows what waits and what was refused; only a dead letter can be put back, by who may."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import clear_url_caches, include
from django.urls import path as url

from xr2_web.django.clock import DatabaseClock
from xr2_web.django.models import DeadLetter, Event
from xr2_web.django.outbox import DatabaseOutbox
from xr2_web.outbox import Entry

from ..outbox.conftest import taken

ADMIN = ["django.contrib.admin", "django.contrib.messages"]
MARKUP = "<script>alert(1)</script>"


class Staff(AnonymousUser):
    """Somebody with the given permissions, whom no table has to know."""

    is_active = is_staff = is_authenticated = True  # type: ignore[assignment]
    pk = 1

    def __init__(self, *permissions: str) -> None:
        self._permissions = {f"xr2_web.{each}" for each in permissions}

    def get_username(self) -> str:
        return "ada"

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return perm in self._permissions

    def has_module_perms(self, module: str) -> bool:
        return bool(self._permissions)


class SignIn:
    """A middleware that signs in one of the staff."""

    user = Staff()

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        request.user = SignIn.user
        request._dont_enforce_csrf_checks = True
        response: HttpResponse = self._get_response(request)
        return response


@pytest.fixture
def client(alias: str) -> Iterator[Client]:
    templates = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                f"django.{name}"
                for name in ("template.context_processors.request", "contrib.messages.context_processors.messages")
            ]
        },
    }
    with override_settings(
        INSTALLED_APPS=[*settings.INSTALLED_APPS, *ADMIN],
        MIDDLEWARE=[f"{__name__}.SignIn", "django.contrib.messages.middleware.MessageMiddleware"],
        MESSAGE_STORAGE="django.contrib.messages.storage.cookie.CookieStorage",
        TEMPLATES=[templates],
        STATIC_URL="/static/",
        ROOT_URLCONF=(),
    ):
        from django.contrib import admin

        with override_settings(ROOT_URLCONF=(url("admin/", admin.site.urls), url("", include([])))):
            clear_url_caches()
            ContentType.objects.clear_cache()
            yield Client()
    clear_url_caches()


@pytest.fixture
def outbox(make_database: Callable[..., DatabaseOutbox]) -> DatabaseOutbox:
    """By the real clock, as what is put back is."""
    return make_database(clock=time.monotonic, database_clock=DatabaseClock)


@pytest.fixture
def letter(outbox: DatabaseOutbox) -> DeadLetter:
    outbox.put(Entry("evt_1", MARKUP, b'{"value": 20, "name": "\xc3\xa9"}', 1000.0))
    outbox.bury(taken(outbox), "404: unknown event")
    return DeadLetter.objects.get()


def post_requeue(client: Client, letter: DeadLetter) -> Any:
    form = {"action": "requeue", "_selected_action": [letter.pk]}
    return client.post("/admin/xr2_web/deadletter/", form, follow=True)


@pytest.mark.parametrize("model", ["event", "deadletter"])
def test_who_may_view_sees_what_is_there_and_changes_nothing(
    client: Client, letter: DeadLetter, outbox: DatabaseOutbox, model: str
) -> None:
    SignIn.user = Staff("view_event", "view_deadletter", "change_event", "add_event", "delete_event")
    outbox.put(letter_entry := Entry("evt_2", MARKUP, b'{"value": 20, "name": "\xc3\xa9"}', 1000.0))
    row = Event.objects.get() if model == "event" else letter

    listed = client.get(f"/admin/xr2_web/{model}/")
    found = client.get(f"/admin/xr2_web/{model}/", {"q": row.trace_id})
    missed = client.get(f"/admin/xr2_web/{model}/", {"q": "evt_3"})
    shown = client.get(f"/admin/xr2_web/{model}/{row.pk}/change/")
    refused = [client.get(f"/admin/xr2_web/{model}/{path}/").status_code for path in ("add", f"{row.pk}/delete")]
    changed = client.post(f"/admin/xr2_web/{model}/{row.pk}/change/", {"event_name": "changed"}).status_code

    assert letter_entry.trace_id == "evt_2"
    assert row.trace_id in listed.content.decode()
    assert row.trace_id in found.content.decode()
    assert "0 " in missed.content.decode().split("paginator")[1]
    assert "{\n  &quot;value&quot;: 20,\n  &quot;name&quot;: &quot;é&quot;\n}" in shown.content.decode()
    assert MARKUP not in listed.content.decode() + shown.content.decode()
    assert (refused, changed) == ([403, 403], 403)


def test_who_may_change_dead_letters_can_have_them_sent_again(
    client: Client, letter: DeadLetter, outbox: DatabaseOutbox
) -> None:
    SignIn.user = Staff("view_deadletter", "change_deadletter")

    answer = post_requeue(client, letter)
    outbox.tend(None)
    claim = taken(outbox)

    assert "1 event waits again." in answer.content.decode()
    assert not DeadLetter.objects.exists()
    assert (claim.entry.event_name, bytes(claim.entry.body), claim.attempts) == (letter.event_name, letter.body, 0)


def test_who_may_only_view_cannot_have_them_sent_again(client: Client, letter: DeadLetter) -> None:
    SignIn.user = Staff("view_deadletter")

    post_requeue(client, letter)

    assert DeadLetter.objects.exists()
    assert not Event.objects.exists()


def test_a_dead_letter_that_two_put_back_at_once_waits_once(letter: DeadLetter, alias: str) -> None:
    one, other = DeadLetter.objects.all(), DeadLetter.objects.all()
    assert [len(one), len(other)] == [1, 1]  # both have read it

    counts = [one.requeue(), other.requeue()]

    assert counts == [1, 0]
    assert Event.objects.count() == 1
    assert connections[alias].connection is not None


@pytest.mark.parametrize("uses_time_zones", [False, True])
def test_times_are_shown_in_the_zone_of_the_project(client: Client, letter: DeadLetter, uses_time_zones: bool) -> None:
    SignIn.user = Staff("view_deadletter")

    with override_settings(USE_TZ=uses_time_zones, TIME_ZONE="Asia/Tokyo"):
        shown = client.get(f"/admin/xr2_web/deadletter/{letter.pk}/change/")

    assert "Jan. 1, 1970, 9:16 a.m." in shown.content.decode()
