"""The application: the endpoints of xR2, and beside them the page and what machines read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .._version import __version__
from . import answers, page
from .api import Api
from .guard import LOOPBACK_HOSTS, Guard
from .journal import journal
from .library import Library
from .refusal import Refusal
from .store import Store

_STATIC = Path(__file__).parent / "static"


def create_app(
    library: Library,
    *,
    store: Store,
    clock: Callable[[], float] = time.time,
    strict_user_agent: bool = False,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
) -> Starlette:
    """Return the local xR2 over ``library`` and ``store``; closing the store is the caller's.

    ``strict_user_agent`` refuses the User-Agents that the real server refuses, among them that of xr2-sdk's
    ``xR2Client``. ``hosts`` are the names it answers under, None for any.
    """

    def show_page(request: Request) -> Response:
        base_url = str(request.base_url).rstrip("/")
        return HTMLResponse(page.render(library.catalog(), journal(*store.history()), base_url=base_url))

    def show_traces(request: Request) -> Response:
        return answers.as_json(journal(*store.history()))

    async def show_health(request: Request) -> Response:
        return answers.as_json({"ok": True, "version": __version__})

    api = Api(library, store, clock=clock, strict_user_agent=strict_user_agent)
    return Starlette(
        routes=[
            *api.routes(),
            Route("/", show_page),
            Route("/api/local/traces", show_traces),
            Route("/health", show_health),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={Refusal: _refuse, HTTPException: _refuse},
    )


async def _refuse(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refusal | HTTPException)
    headers = exc.headers if isinstance(exc, HTTPException) else None
    return answers.as_json({"detail": exc.detail}, exc.status_code, headers)
