"""Serve an application with uvicorn on a socket of our own, so that its port is known before the first request."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..errors import ConfigurationError
from .breaking import CONNECTION
from .guard import LOOPBACK_HOSTS

_CLOSE_WITH_RESET = struct.pack("ii", 1, 0)


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's own, which offers each request its ``breaking.Connection`` as the ASGI extension ``CONNECTION``."""

    app: Any
    _held: asyncio.Task[Any] | None = None
    _is_dropped = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        app = self.app

        async def app_with_connection(scope: Any, receive: Any, send: Any) -> None:
            extensions = {**scope.get("extensions", {}), CONNECTION: self}
            try:
                await app({**scope, "extensions": extensions}, receive, send)
            except asyncio.CancelledError:
                if not self._is_dropped:
                    raise

        self.app = app_with_connection

    def reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RESET)
        self.transport.abort()

    @contextmanager
    def hold(self) -> Iterator[None]:
        self._held = asyncio.current_task()
        try:
            yield
        finally:
            self._held = None

    def shutdown(self) -> None:
        if self._held:
            self._is_dropped = True
            self.transport.abort()
            self._held.cancel()
        else:
            super().shutdown()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises ``ConfigurationError`` where that cannot be."""
    try:
        (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as exc:
        hint = "; --port 0 takes a free one" if port else ""
        raise ConfigurationError([f"cannot listen on {host}, port {port}: {exc.strerror}{hint}"]) from exc
    # asyncio sets this only on sockets whose protocol number is given; without it an answer takes 40 ms more.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def base_url(listener: socket.socket) -> str:
    """Return the URL under which this machine reaches ``listener``."""
    address, port, *_ = listener.getsockname()
    if ip_address(address).is_unspecified:
        address = "::1" if listener.family == socket.AF_INET6 else "127.0.0.1"
    return f"http://{_bracketed(address)}:{port}"


def allowed_hosts(listener: socket.socket) -> frozenset[str] | None:
    """Return the Host names to answer under: None, which is any, unless only this machine reaches ``listener``."""
    address = listener.getsockname()[0]
    return LOOPBACK_HOSTS | {_bracketed(address)} if ip_address(address).is_loopback else None


class _Server(uvicorn.Server):
    """Ends the streams of the pages first: uvicorn would wait for their end, which never comes, and complain of it."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if isinstance(self.config.app, Starlette):
            self.config.app.state.stream.close()
        await super().shutdown(sockets)


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Return the server; ``run(sockets=[…])`` it, and set ``should_exit`` to end it."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    return _Server(config)


def run(app: ASGIApp, listener: socket.socket, *, announce: Callable[[], None]) -> NoReturn:
    """Serve until SIGINT or SIGTERM, then raise ``SystemExit(0)``; ``announce`` is called when both are safe."""
    # uvicorn raises the signal that ended it once more for whoever handled it before, which is this handler.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    announce()
    make_server(app).run(sockets=[listener])
    raise SystemExit(1)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
