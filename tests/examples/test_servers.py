"""The example projects under every usual server: two workers, and a stop right after the last response.

No full cross product. What a server can do to events depends on how it forks, how it runs requests at once and how it
ends; so each kind of worker stands here once, with ``--preload`` too, and each framework under each kind that is usual
for it. gunicorn's threads and two uvicorn workers serve 200 visitors in ``test_interleaved_visitors``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from . import commands
from .commands import Command, skip_if_missing
from .journal import doubled, events_by_trace
from .servers import serving
from .visitors import Visitor, interleave

VISITORS = 30

DJANGO = ("config.wsgi",)
DJANGO_ASGI = ("config.asgi:application",)
FLASK = ("shop:create_app()",)
STARLETTE = ("shop.app:app",)
CHAT = ("chat.main:app",)
PRELOADED = ("--preload",)

ROWS: dict[str, tuple[str, Command]] = {
    # One request at a time in each process.
    "django, gunicorn": ("django_shop", commands.GUNICORN + DJANGO),
    "django, gunicorn, preloaded": ("django_shop", commands.GUNICORN + PRELOADED + DJANGO),
    # Threads that serve one visitor after another.
    "flask, gunicorn with threads, preloaded": ("flask_shop", commands.GTHREAD + PRELOADED + FLASK),
    # Greenlets; patched after the application was loaded, before its fork, before everything.
    "flask, gunicorn with gevent": ("flask_shop", commands.GEVENT + FLASK),
    "flask, gunicorn with gevent, preloaded": ("flask_shop", commands.GEVENT + PRELOADED + FLASK),
    "django, gunicorn with gevent, preloaded": ("django_shop", commands.GEVENT_FIRST + DJANGO),
    # Loads in the master, and forks behind Python's back.
    "django, uwsgi": ("django_shop", commands.UWSGI + DJANGO),
    "flask, uwsgi with threads": ("flask_shop", (*commands.UWSGI, *FLASK, "--threads", "4")),
    # No atexit; Django without a lifespan of its own.
    "django, uvicorn": ("django_shop", commands.UVICORN + DJANGO_ASGI),
    "django, uvicorn, two workers": ("django_shop", commands.UVICORNS + DJANGO_ASGI),
    "starlette, uvicorn": ("starlette_shop", commands.UVICORN + STARLETTE),
    "chat, uvicorn": ("fastapi_chat", commands.UVICORN + CHAT),
    # An event loop inside gunicorn's own worker, and loops in spawned processes.
    "starlette, gunicorn with uvicorn": ("starlette_shop", commands.GUNICORN_UVICORN + STARLETTE),
    "starlette, gunicorn with uvicorn, preloaded": (
        "starlette_shop",
        commands.GUNICORN_UVICORN + PRELOADED + STARLETTE,
    ),
    "starlette, hypercorn": ("starlette_shop", commands.HYPERCORN + STARLETTE),
    "chat, hypercorn": ("fastapi_chat", commands.HYPERCORN + CHAT),
}


@pytest.mark.parametrize(("project", "command"), ROWS.values(), ids=ROWS.keys())
def test_every_event_arrives_once_though_the_server_stops_right_after_the_last_response(
    project: str, command: Command, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_if_missing(command)

    with serving(project, tmp_path, environ, command) as server:
        visitors = [Visitor(number, server.base_url) for number in range(VISITORS)]
        interleave([each.chat() if project == "fastapi_chat" else each.shop() for each in visitors], seed=24)
        server.stop()

    last = events_by_trace(local_xr2, "answer_liked" if project == "fastapi_chat" else "purchase_completed")
    assert {trace_id: event["value"] for trace_id, event in last.items()} == {
        visitor.trace_ids[-1]: visitor.price for visitor in visitors
    }
    sign_ups = events_by_trace(local_xr2, "sign_up")
    assert sign_ups.keys() == {each.signed_up_from for each in visitors if each.signed_up_from}
    assert doubled(local_xr2) == []
    assert server.complaints() == []
