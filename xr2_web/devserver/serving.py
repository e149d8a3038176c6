"""Serve an application with uvicorn on a socket of our own, so that the port is known before the first request."""

from __future__ import annotations

import signal
import socket
from types import FrameType
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises ``OSError`` where that cannot be."""
    (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return socket.create_server(address[:2], family=family, backlog=2048)


def base_url(listener: socket.socket, host: str) -> str:
    """Return the base URL under which ``listener`` is reached by the name ``host``."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Return the server; ``run(sockets=[…])`` it, and set ``should_exit`` to end it."""
    return uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
    )


def run(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, which then raise ``SystemExit(0)``."""
    # uvicorn raises the signal that ended it once more, for whoever handled it before: that is this handler.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    make_server(app).run(sockets=[listener])


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
