"""Workers come and go while visitors are served, and no event goes with them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from . import commands
from .commands import Command, skip_if_missing
from .journal import doubled, events_by_trace
from .servers import Server, serving
from .visitors import Proxy, Visitor, interleave, new_client

VISITORS = 30

DJANGO = ("config.wsgi",)
FLASK = ("shop:create_app()",)
STARLETTE = ("shop.app:app",)
RECYCLING = ("--max-requests", "20", "--max-requests-jitter", "5")

RECYCLED: dict[str, tuple[str, Command]] = {
    "gunicorn": ("django_shop", commands.GUNICORN + RECYCLING + DJANGO),
    "gunicorn with threads": ("flask_shop", commands.GTHREAD + RECYCLING + FLASK),
    "gunicorn with gevent": ("flask_shop", commands.GEVENT + RECYCLING + FLASK),
    "gunicorn with uvicorn": ("starlette_shop", commands.GUNICORN_UVICORN + RECYCLING + STARLETTE),
    "uvicorn": ("starlette_shop", (*commands.UVICORNS, "--limit-max-requests", "20", *STARLETTE)),
}
"""Not hypercorn, which does the work of some requests and closes the connection without an answer, and not uWSGI, which
pauses between them for seconds."""

RELOADED: dict[str, tuple[str, Command]] = {
    "gunicorn": ("django_shop", commands.GUNICORN + DJANGO),
    "gunicorn with threads": ("flask_shop", commands.GTHREAD + FLASK),
    "gunicorn with gevent": ("flask_shop", commands.GEVENT + FLASK),
    "gunicorn with uvicorn": ("starlette_shop", commands.GUNICORN_UVICORN + STARLETTE),
    "uvicorn": ("starlette_shop", commands.UVICORNS + STARLETTE),
}


@pytest.mark.parametrize(("project", "command"), RECYCLED.values(), ids=RECYCLED.keys())
def test_workers_that_end_after_some_requests_lose_nothing(
    project: str, command: Command, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_if_missing(command)

    with serving(project, tmp_path, environ, command) as server:
        visitors = [Visitor(number, server.base_url, Proxy) for number in range(VISITORS)]
        interleave([visitor.shop() for visitor in visitors], seed=24)
        server.stop()

    expect_all(visitors, local_xr2)
    assert server.complaints() == []


@pytest.mark.parametrize(("project", "command"), RELOADED.values(), ids=RELOADED.keys())
def test_a_reload_while_visitors_shop_loses_nothing(
    project: str, command: Command, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_if_missing(command)

    with serving(project, tmp_path, environ, command) as server:
        visitors = [Visitor(number, server.base_url, Proxy) for number in range(VISITORS)]
        interleave([*(visitor.shop() for visitor in visitors), reload(server)], seed=24)
        server.stop()

    expect_all(visitors, local_xr2)
    assert server.complaints() == []


def reload(server: Server) -> Iterator[None]:
    """Have the server load the application anew, while visitors are on their way."""
    with new_client(server.base_url) as client:
        client.get("/thanks")
    yield
    server.process.send_signal(signal.SIGHUP)
    yield


def expect_all(visitors: list[Visitor], local_xr2: LocalXr2) -> None:
    purchases = events_by_trace(local_xr2, "purchase_completed")
    assert purchases.keys() == {visitor.trace_ids[-1] for visitor in visitors}
    sign_ups = events_by_trace(local_xr2, "sign_up")
    assert sign_ups.keys() == {each.signed_up_from for each in visitors if each.signed_up_from}
    assert doubled(local_xr2) == []
