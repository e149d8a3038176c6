"""The panel in Flask-DebugToolbar, drawn by the toolbar into real pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

pytest.importorskip("flask")
pytest.importorskip("flask_debugtoolbar")

from flask import Flask, redirect
from flask_debugtoolbar import DebugToolbarExtension

import xr2_web
from xr2_web import get_prompt, track, track_event
from xr2_web.flask import Xr2

from ..local_xr2 import LocalXr2

PAGE = "<html><body>Hello</body></html>"

Serve = Callable[..., Any]


@pytest.fixture
def serve(local_xr2: LocalXr2) -> Any:
    """Make an application of these views, and return a browser; ``is_first`` installs ours before the toolbar."""
    opened: list[Flask] = []

    def serve(*views: Any, is_first: bool = False, is_installed: bool = True, **config: Any) -> Any:
        app = Flask(__name__)
        app.config.update(
            SECRET_KEY="a key of the tests that is long enough for everyone",
            DEBUG_TB_ENABLED=True,
            DEBUG_TB_PANELS=["xr2_web.flask_toolbar.Xr2Panel"],
            XR2_API_KEY=local_xr2.api_key,
            XR2_BASE_URL=local_xr2.base_url,
            XR2_OUTBOX="memory",
        )
        app.config.update(config)
        for view in (home, *views):
            app.add_url_rule(f"/{view.__name__}", view_func=view, methods=["GET", "POST"])
        if is_installed and is_first:
            Xr2(app)
        DebugToolbarExtension(app)
        if is_installed and not is_first:
            Xr2(app)
        opened.append(app)
        return app.test_client()

    yield serve
    for app in opened:
        if "xr2_web" in app.extensions:
            app.extensions["xr2_web"].runtime.close(0)


def home() -> str:
    get_prompt("welcome")
    return PAGE


@track("bought", value=20, currency="EUR")
def buy() -> str:
    return PAGE


def panel(page: str) -> str:
    """Return the content of the panel, which the toolbar puts into the page."""
    found = re.search(r'id="flDebugxR2Panel-content"(.*?)id="flDebugWindow"', page, re.DOTALL)
    assert found is not None
    return found[1]


def cells(page: str) -> list[list[str]]:
    """Return the texts of the rows of all tables, without their heads."""
    rows = re.findall(r"<tr>(.*?)</tr>", panel(page), re.DOTALL)
    found = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row] for row in found if row]


def subtitle(page: str) -> str:
    found = re.search(r"xR2\s*<br /><small>(.*?)</small>", page)
    assert found is not None
    return found[1]


def test_a_prompt_is_shown_with_a_link_to_its_trace(serve: Serve, local_xr2: LocalXr2) -> None:
    page = serve().get("/home").text

    [trace] = local_xr2.traces()
    assert subtitle(page) == "1 prompt, 0 events"
    assert cells(page) == [["welcome", "1", "", "fetched", trace["trace_id"]]]
    assert f'href="{local_xr2.base_url}/traces/{trace["trace_id"]}"' in panel(page)


def test_what_the_response_decides_is_shown_where_ours_is_installed_after_the_toolbar(
    serve: Serve, local_xr2: LocalXr2
) -> None:
    browser = serve(buy)
    browser.get("/home")

    page = browser.post("/buy").text

    [trace] = local_xr2.traces()
    bought = ["bought", "20 EUR", "accepted", "after the response", "none", "given", trace["trace_id"]]
    assert subtitle(page) == "0 prompts, 1 event"
    assert cells(page) == [bought, ["welcome", "1", trace["trace_id"]]]


def test_what_the_response_decides_is_pending_where_ours_is_installed_before_it(serve: Serve) -> None:
    browser = serve(buy, is_first=True)
    browser.get("/home")

    page = browser.post("/buy").text

    receipt = "pending: until the status of the response is known"
    assert cells(page)[0][:4] == ["bought", "20 EUR", receipt, "after the response"]


def test_a_redirect_that_the_toolbar_intercepts_shows_it_too(serve: Serve) -> None:
    @track("signed_up", when=xr2_web.redirected)
    def register() -> Any:
        return redirect("/home")

    browser = serve(register)
    browser.get("/home")

    page = browser.post("/register").text

    assert 'href="/home"' in page
    assert cells(page)[0][:3] == ["signed_up", "", "accepted"]


def test_a_fallback_says_why_where_everything_is_off(serve: Serve) -> None:
    def fallback() -> str:
        get_prompt("welcome", fallback="Hello.")
        return PAGE

    page = serve(fallback, XR2_ENABLED=False).get("/fallback").text

    assert "Nothing is fetched or sent: ENABLED is false." in panel(page)
    assert [row[3] for row in cells(page)] == ["the fallback: ENABLED is false"]


def test_what_came_from_elsewhere_is_escaped(serve: Serve) -> None:
    def escape() -> str:
        track_event("<b>bought")
        return PAGE

    page = serve(escape).get("/escape").text

    assert "&lt;b&gt;bought" in panel(page)
    assert "<b>" not in panel(page)


def test_an_idle_page_says_so_and_varies_by_nothing(serve: Serve) -> None:
    def idle() -> str:
        return PAGE

    answer = serve(idle).get("/idle")

    assert "This request has neither fetched a prompt nor tracked an event." in panel(answer.text)
    assert "Vary" not in answer.headers


def test_where_xr2_is_elsewhere_it_is_shown_from_the_first_request_on(serve: Serve) -> None:
    # Of the addresses that are kept for documentation: nobody answers.
    @track("bought")
    def elsewhere() -> str:
        track_event("seen", trace_id="evt_1")
        return PAGE

    browser = serve(elsewhere, XR2_BASE_URL="http://192.0.2.1", XR2_SHUTDOWN_TIMEOUT=0)

    page = browser.get("/elsewhere").text

    assert [row[0] for row in cells(page)] == ["seen"]
    assert 'href="https://xr2.uk/analytics/events" target="_blank" rel="noopener">evt_1</a>' in panel(page)


def test_without_ours_it_says_so(serve: Serve) -> None:
    def idle() -> str:
        return PAGE

    page = serve(idle, is_installed=False).get("/idle").text

    assert subtitle(page) == "not installed"
    assert "No Xr2(app) serves this request" in panel(page)
