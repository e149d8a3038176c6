"""The header that names the page of a request's trace, while xR2 is on this machine: ASGI applications alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from xr2_web import aget_prompt

from ..local_xr2 import LocalXr2
from .modes import ASGI, FLASK, STARLETTE
from .site import Site

HEADER = "x-xr2-trace"

on_asgi = pytest.mark.parametrize("mode", ASGI)


def page(xr2: LocalXr2, trace_id: str) -> str:
    return f"{xr2.base_url}/traces/{trace_id}"


@on_asgi
def test_a_page_that_fetches_names_the_trace(site: Site, local_xr2: LocalXr2) -> None:
    answer = site.visitor().get("/product/welcome")

    assert answer.header(HEADER) == page(local_xr2, answer.text)
    assert answer.header("cache-control") == "private"


@on_asgi
def test_of_several_traces_the_last_is_named(site: Site, local_xr2: LocalXr2) -> None:
    answer = site.visitor().get("/twice")

    assert answer.header(HEADER) == page(local_xr2, answer.text.split()[-1])


@on_asgi
@pytest.mark.parametrize("path", ["/event/bought", "/buy"])
def test_an_event_names_the_trace_that_it_belongs_to(site: Site, local_xr2: LocalXr2, path: str) -> None:
    visitor = site.visitor()
    trace_id = visitor.get("/product/welcome").text

    answer = visitor.post(path)

    assert answer.header(HEADER) == page(local_xr2, trace_id)
    assert answer.header("cache-control") is answer.header("vary") is None


@on_asgi
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/event/bought"), ("GET", "/fallback/nowhere")])
def test_without_a_trace_there_is_none(site: Site, method: str, path: str) -> None:
    answer = site.visitor().request(method, path)

    assert answer.status == 200
    assert answer.header(HEADER) is None


@on_asgi
def test_a_visitor_who_only_looks_gets_none(site: Site) -> None:
    visitor = site.visitor()
    visitor.get("/product/welcome")

    assert visitor.get("/").header(HEADER) is None


@on_asgi
def test_a_page_that_was_public_is_private_where_it_names_a_trace(site: Site) -> None:
    answer = site.visitor().get("/cached/welcome")

    assert answer.header(HEADER) is not None
    assert answer.header("cache-control") == "max-age=60, private"
    assert answer.header("vary") == "Accept-Encoding, Cookie"


@on_asgi
@pytest.mark.parametrize("path", ["/cached/welcome", "/product/welcome"])
def test_a_page_that_a_shared_cache_may_keep_names_none(open_site: Callable[..., Site], path: str) -> None:
    answer = open_site(carry="none").visitor().get(path)

    assert answer.status == 200
    assert answer.header(HEADER) is None
    assert "private" not in (answer.header("cache-control") or "")


@pytest.mark.parametrize("mode", STARLETTE[:1])
@pytest.mark.parametrize(
    ("method", "headers", "is_named"),
    [
        ("GET", {"Cache-Control": "no-store"}, True),
        ("GET", {"Cache-Control": "max-age=60, Private"}, True),
        ("GET", {"Cache-Control": 'private="Set-Cookie"'}, False),
        ("POST", {}, True),
        ("POST", {"Expires": "Fri, 01 Jan 2100 00:00:00 GMT"}, False),
        ("POST", {"Cache-Control": "max-age=60"}, False),
    ],
)
def test_it_is_named_only_where_the_response_says_that_no_shared_cache_keeps_it(
    open_site: Callable[..., Site], method: str, headers: dict[str, str], is_named: bool
) -> None:
    from starlette.responses import Response
    from starlette.routing import Route

    async def own(request: Any) -> Response:
        await aget_prompt("welcome")
        return Response(headers=headers)

    route = Route("/own", own, methods=["GET", "POST"])
    site = open_site(carry="none", extend=lambda app: app.router.routes.append(route))

    answer = site.visitor().request(method, "/own")

    assert answer.status == 200
    assert (answer.header(HEADER) is not None) is is_named
    assert answer.header("cache-control") == headers.get("Cache-Control")


@on_asgi
@pytest.mark.parametrize("is_looked_at", [False, True])
def test_where_xr2_is_elsewhere_none_is_named(
    site: Site, open_site: Callable[..., Site], local_xr2: LocalXr2, is_looked_at: bool
) -> None:
    visitor = site.visitor()
    visitor.get("/product/welcome")
    # Of the addresses that are kept for documentation: nobody answers.
    elsewhere = open_site(base_url="http://192.0.2.1", shutdown_timeout=0)
    elsewhere.runtime.is_witnessed = is_looked_at
    stranger = elsewhere.visitor()
    stranger.jar = visitor.jar

    answer = stranger.post("/event/bought")
    elsewhere.runtime.close(0)

    assert answer.text == "accepted"
    assert answer.header(HEADER) is None


@pytest.mark.parametrize("mode", FLASK)
def test_frameworks_that_have_a_toolbar_name_none(site: Site) -> None:
    assert site.visitor().get("/product/welcome").header(HEADER) is None
