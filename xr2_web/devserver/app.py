"""The application: the endpoints of xR2, and beside them the page and what machines read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .._version import __version__
from . import answers
from .api import Api
from .breaking import Breaking
from .chaos import Chaos
from .clock import Clock
from .guard import LOOPBACK_HOSTS, Guard
from .journal import journal
from .library import Library
from .limits import NO_LIMITS, Limiting, Limits
from .local import Local
from .refusal import Refusal
from .rejections import Rejections
from .site import Site
from .store import Store

_STATIC = Path(__file__).parent / "static"


def create_app(
    library: Library,
    *,
    store: Store,
    clock: Callable[[], float] = time.time,
    strict_user_agent: bool = False,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
    chaos: Chaos | None = None,
    limits: Limits = NO_LIMITS,
) -> Starlette:
    """Return the local xR2 over ``library`` and ``store``; closing the store is the caller's.

    ``strict_user_agent`` refuses the User-Agents that the real server refuses, among them that of xr2-sdk's
    ``xR2Client``. ``hosts`` are the names it answers under, None for any. ``chaos`` says what breaks, at first nothing;
    ``limits`` how much may be asked for, by default without end. ``clock`` tells the time, until
    ``/api/local/clock`` puts it ahead.
    """

    def show_traces(request: Request) -> Response:
        return answers.as_json(journal(*store.history()))

    async def show_health(request: Request) -> Response:
        return answers.as_json({"ok": True, "version": __version__})

    chaos, clock = chaos or Chaos(), Clock(clock)
    rejections = Rejections(clock)
    api = Api(
        library, store, rejections, clock=clock, strict_user_agent=strict_user_agent, daily_quota=limits.daily_quota
    )
    site = Site(library, store, rejections, chaos, clock)
    app = Starlette(
        routes=[
            *api.routes(),
            *Local(chaos, clock).routes(),
            *site.routes(),
            Route("/api/local/traces", show_traces),
            Route("/health", show_health),
            Mount("/static", StaticFiles(directory=_STATIC), middleware=[Middleware(GZipMiddleware)]),
        ],
        middleware=[
            Middleware(Guard, hosts=hosts),
            Middleware(Limiting, maximum=limits.ip_limit, rejections=rejections, clock=clock),
            Middleware(Breaking, chaos=chaos, clock=clock),
        ],
        exception_handlers={Refusal: _refuse, HTTPException: _refuse},
    )
    app.state.stream = site.stream
    return app


async def _refuse(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refusal | HTTPException)
    headers = exc.headers if isinstance(exc, HTTPException) else None
    return answers.as_json({"detail": exc.detail}, exc.status_code, headers)
