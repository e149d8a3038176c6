"""The panel in django-debug-toolbar, with the toolbar's own middleware, store and views."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import unescape
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("pytest_django")
pytest.importorskip("debug_toolbar")

from django.conf import settings as django_settings
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include
from django.urls import path as url

import xr2_web

from ..local_xr2 import LocalXr2
from .django_sites import OURS
from .modes import DJANGO, DJANGO_ASYNC, DJANGO_SYNC
from .site import Answer, Site

TOOLBAR = "debug_toolbar.middleware.DebugToolbarMiddleware"
SESSIONS = [each for each in django_settings.MIDDLEWARE if each != OURS]

on_django = pytest.mark.parametrize("mode", DJANGO)


@pytest.fixture
def _toolbar() -> Iterator[None]:
    """The settings of a project that has the toolbar."""
    chosen = override_settings(
        DEBUG=True,
        INTERNAL_IPS=["127.0.0.1"],
        STATIC_URL="/static/",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        DEBUG_TOOLBAR_PANELS=["debug_toolbar.panels.history.HistoryPanel", "xr2_web.django.toolbar.Xr2Panel"],
    )
    apps = [*django_settings.INSTALLED_APPS, "django.contrib.staticfiles", "debug_toolbar"]
    # One after the other: applications are loaded before the other settings of a block are there.
    with chosen, override_settings(INSTALLED_APPS=apps):
        yield


@pytest.fixture
def open_with_toolbar(_toolbar: None, open_site: Callable[..., Site]) -> Callable[..., Site]:
    """Open a site with the toolbar, whose middleware is the first unless ``middleware`` says otherwise."""

    def open_with_toolbar(*views: Any, middleware: Sequence[str] = (TOOLBAR, *SESSIONS, OURS), **options: Any) -> Site:
        routes = [*(url(view.__name__, view) for view in views), url("__debug__/", include("debug_toolbar.urls"))]
        return open_site(
            extend=lambda patterns: patterns.extend(routes), django={"MIDDLEWARE": list(middleware)}, **options
        )

    return open_with_toolbar


def panel(site: Site, answer: Answer) -> str:
    """Return the content of the panel of a request, as the browser fetches it."""
    query = {"request_id": answer.header("djdt-request-id"), "panel_id": "Xr2Panel"}
    content: str = site.visitor().get("/__debug__/render_panel/", **query).native.json()["content"]
    return content


def cells(content: str) -> list[list[str]]:
    """Return the texts of the rows of all tables, without their heads."""
    rows = re.findall(r"<tr>(.*?)</tr>", content, re.DOTALL)
    found = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row] for row in found if row]


@on_django
def test_a_prompt_is_shown_with_a_link_to_its_trace(
    open_with_toolbar: Callable[..., Site], local_xr2: LocalXr2
) -> None:
    site = open_with_toolbar()

    answer = site.visitor().get("/product/welcome")
    content = panel(site, answer)

    assert cells(content) == [["welcome", "1", "", "fetched", answer.text]]
    assert f'href="{local_xr2.base_url}/traces/{answer.text}"' in content


@on_django
def test_what_the_response_decides_is_shown_with_what_the_visitor_came_with(
    open_with_toolbar: Callable[..., Site],
) -> None:
    site = open_with_toolbar(events={"order": {"event": "ordered", "methods": {"POST"}}})
    visitor = site.visitor()
    trace_id = visitor.get("/product/welcome").text

    bought, ordered = visitor.post("/buy"), visitor.post("/orders/7")

    carried = ["welcome", "1", trace_id]
    after = ["accepted", "after the response", "none", "given", trace_id]
    assert cells(panel(site, bought)) == [["purchase_completed", "12.5 EUR", *after], carried]
    assert cells(panel(site, ordered)) == [["ordered", "", *after], carried]


@on_django
def test_a_redirect_has_a_panel_too(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar()
    visitor = site.visitor()
    visitor.get("/product/welcome")

    answer = visitor.post("/checkout", price="20")

    assert answer.status == 302
    assert cells(panel(site, answer))[0][:3] == ["purchase_completed", "20.0 EUR", "accepted"]


@on_django
def test_an_error_response_makes_no_event_and_says_so(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar()
    visitor = site.visitor()
    visitor.get("/product/welcome")

    answer = visitor.post("/buy", status=404)

    assert cells(panel(site, answer))[0][2] == "refused: the response was an error"


@on_django
def test_of_the_user_it_says_only_that_one_is_given(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar()
    visitor = site.visitor()
    user = visitor.post("/login/ada").text
    visitor.get("/product/welcome")

    answer = visitor.post("/event/bought")

    [[_, _, _, _, has_user, has_session, _], _] = cells(panel(site, answer))
    assert (has_user, has_session) == ("given", "given")
    assert user
    assert site.events()[-1]["session_id"] not in panel(site, answer)


@on_django
def test_a_fallback_says_why_where_everything_is_off(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar(enabled=False)

    content = panel(site, site.visitor().get("/fallback/welcome"))

    assert "Nothing is fetched or sent: ENABLED is false." in content
    assert [row[3] for row in cells(content)] == ["the fallback: ENABLED is false"]


@on_django
def test_what_came_from_elsewhere_is_escaped(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar()

    content = panel(site, site.visitor().post("/event/<b>bought"))

    assert "&lt;b&gt;bought" in content
    assert "<b>" not in content


@on_django
def test_an_idle_request_is_left_as_it_is(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar()

    answer = site.visitor().get("/")

    assert "This request has neither fetched a prompt nor tracked an event." in panel(site, answer)
    assert answer.header("vary") is None
    assert answer.header("cache-control") == "public, max-age=60"


@pytest.mark.parametrize("mode", [*DJANGO_SYNC, *DJANGO_ASYNC])
@pytest.mark.parametrize("is_async", [False, True])
def test_the_toolbar_in_a_page_counts(open_with_toolbar: Callable[..., Site], is_async: bool) -> None:
    def page(request: Any) -> HttpResponse:
        xr2_web.get_prompt("welcome")
        xr2_web.get_prompt("product")
        xr2_web.track_event("seen")
        return HttpResponse("<html><body>Hello</body></html>")

    async def apage(request: Any) -> HttpResponse:
        await xr2_web.aget_prompt("welcome")
        await xr2_web.aget_prompt("product")
        await xr2_web.atrack_event("seen")
        return HttpResponse("<html><body>Hello</body></html>")

    view = apage if is_async else page
    site = open_with_toolbar(view)

    answer = site.visitor().get(f"/{view.__name__}")

    assert re.search(r"xR2\s*<br>\s*<small>2 prompts, 1 event</small>", answer.text)


@on_django
def test_below_ours_it_shows_what_the_response_has_yet_to_decide(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar(middleware=[*SESSIONS, OURS, TOOLBAR])
    visitor = site.visitor()
    visitor.get("/product/welcome")

    answer = visitor.post("/buy")

    [[name, _, receipt, when, *_], *_] = cells(panel(site, answer))
    assert (name, receipt) == ("purchase_completed", "pending: until the status of the response is known")
    assert when == "after the response"
    assert site.event_names() == ["purchase_completed"]


@pytest.mark.parametrize("mode", DJANGO_SYNC)
def test_a_scope_around_the_request_hides_nothing(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar()

    with xr2_web.scope(runtime=site.runtime):
        answer = site.visitor().get("/product/welcome")

    assert cells(panel(site, answer)) == [["welcome", "1", "", "fetched", answer.text]]


@on_django
def test_without_our_middleware_it_says_so(open_with_toolbar: Callable[..., Site]) -> None:
    site = open_with_toolbar(middleware=[TOOLBAR, *SESSIONS])

    answer = site.visitor().get("/")

    assert "add it to MIDDLEWARE" in panel(site, answer)


@on_django
def test_where_xr2_is_elsewhere_it_is_shown_from_the_first_request_on(
    open_with_toolbar: Callable[..., Site], open_site: Callable[..., Site]
) -> None:
    home = open_site()
    visitor = home.visitor()
    trace_id = visitor.get("/product/welcome").text
    # Of the addresses that are kept for documentation: nobody answers.
    site = open_with_toolbar(base_url="http://192.0.2.1", shutdown_timeout=0)
    stranger = site.visitor()
    stranger.jar = visitor.jar
    was_witnessed = site.runtime.is_witnessed

    answer = stranger.post("/event/bought")
    content = panel(site, answer)
    site.runtime.close(0)

    assert not was_witnessed
    assert [row[0] for row in cells(content)] == ["bought", "welcome"]
    assert f'<a href="https://xr2.uk/analytics/events" target="_blank" rel="noopener">{trace_id}</a>' in content


class Looking:
    """A middleware that tells what a request has kept of ours."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        response.headers["X-Kept"] = ",".join(name for name in vars(request) if name.startswith("_xr2_web"))
        return response


@on_django
@pytest.mark.parametrize(
    ("is_looked_at", "path", "kept"),
    [
        (True, "/product/welcome", "_xr2_web_exchange,_xr2_web_record"),
        (True, "/", "_xr2_web_exchange"),
        (False, "/product/welcome", "_xr2_web_exchange"),
    ],
)
def test_only_what_somebody_looks_at_is_kept(
    open_site: Callable[..., Site], is_looked_at: bool, path: str, kept: str
) -> None:
    site = open_site(django={"MIDDLEWARE": [f"{__name__}.Looking", *SESSIONS, OURS]})
    site.runtime.is_witnessed = is_looked_at

    assert site.visitor().get(path).header("x-kept") == kept
