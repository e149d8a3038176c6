"""One request out, one answer back, from the calling thread or the running event loop."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import h11

from .. import wire
from .address import Address
from .body import Body
from .direct import Direct
from .engine import httpcore
from .network import DeadlineBackend, ResolvingBackend, deadline, time_left


class SyncTransport:
    """Send from the calling thread; safe to share between threads."""

    def __init__(self, address: Address, *, connections: int = 10) -> None:
        self._address = address
        self._connections = connections
        self._backend = DeadlineBackend(address.resolver)
        self._ways: dict[int, Direct | _Proxied] = {}
        # Not at exit: that would come before the courier's last deliveries, which need the connections.
        weakref.finalize(self, _close_own, self._ways).atexit = False

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        """Return the answer, or why there is none by ``until`` (monotonic). Redirects are not followed."""
        deadline.set(until)
        try:
            return self._way().send(request, until)
        except _EXCEPTIONS as exc:
            return _failure(exc)

    def close(self) -> None:
        """Close all connections; what is collected without it closes its own."""
        _close_own(self._ways)

    def _way(self) -> Direct | _Proxied:
        # One for each process: a forked child must not read its parent's answers from a connection they share.
        pid = os.getpid()
        return self._ways.get(pid) or self._ways.setdefault(pid, self._new_way())

    def _new_way(self) -> Direct | _Proxied:
        kind = Direct if self._address.proxy() is None else _Proxied
        return kind(self._address, self._backend, self._connections)


def _close_own(ways: dict[int, Direct | _Proxied]) -> None:
    if (way := ways.pop(os.getpid(), None)) is not None:
        way.close()


class _Proxied:
    """The connections of one process through a proxy, whose kinds the engine knows."""

    def __init__(self, address: Address, backend: DeadlineBackend, connections: int) -> None:
        self._address = address
        self._pool = httpcore.ConnectionPool(network_backend=backend, **address.pool_options(connections))

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer:
        outgoing = self._address.request(request)
        outgoing.extensions = {"timeout": _timeouts(until)}
        response = self._pool.handle_request(outgoing)
        try:
            body = Body(request.answer_limit)
            for chunk in response.iter_stream():
                if not body.takes(chunk):
                    break
        finally:
            response.close()
        return body.answer(response.status, response.headers)

    def close(self) -> None:
        self._pool.close()


class AsyncTransport:
    """Send from the running asyncio loop; each loop has its own connections, closed when the loop ends.

    asgiref runs every async view under WSGI in a loop of its own, so loops come and go. Their end is seen
    through an async generator: ``asyncio.run`` and asgiref close these before the loop.
    """

    def __init__(self, address: Address, *, connections: int = 100) -> None:
        self._address = address
        self._connections = connections
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()

    async def send(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        """Return the answer, or why there is none by ``until`` (monotonic). Redirects are not followed."""
        outgoing = self._address.request(request)
        outgoing.extensions = {"timeout": _timeouts(until)}
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                pool = await self._pool()
                response = await pool.handle_async_request(outgoing)
                try:
                    body = Body(request.answer_limit)
                    async for chunk in response.aiter_stream():
                        if not body.takes(chunk):
                            break
                finally:
                    await response.aclose()
                return body.answer(response.status, response.headers)
        except _EXCEPTIONS as exc:
            return _failure(exc)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        lifetime = self._loops.get(asyncio.get_running_loop())
        if lifetime is not None:
            await lifetime[1].aclose()

    async def _pool(self) -> Any:
        loop = asyncio.get_running_loop()
        if (lifetime := self._loops.get(loop)) is None:
            lifetime = self._new_pool(loop)
            await anext(lifetime[1])
        return lifetime[0]

    def _new_pool(self, loop: asyncio.AbstractEventLoop) -> Any:
        pool = httpcore.AsyncConnectionPool(
            network_backend=ResolvingBackend(self._address.resolver),
            **self._address.pool_options(self._connections),
        )
        for reference in self._loops.keyrefs():  # a copy: other threads add their loops meanwhile
            if (each := reference()) is not None and each.is_closed():
                self._loops.pop(each, None)
        self._loops[loop] = (pool, _until_closed(pool, self._loops, weakref.ref(loop)))
        return self._loops[loop]


async def _until_closed(
    pool: Any,
    loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any],
    loop: weakref.ref[asyncio.AbstractEventLoop],
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if (ended := loop()) is not None:
            loops.pop(ended, None)
        await pool.aclose()


_EXCEPTIONS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    h11.ProtocolError,
    OSError,
    RuntimeError,
    ImportError,  # a SOCKS proxy without the package for it
)


def _timeouts(until: float) -> dict[str, float]:
    left = time_left(until)
    return {"connect": left, "read": left, "write": left, "pool": left}


def _failure(exc: BaseException) -> wire.Failure:
    is_timeout = isinstance(exc, (httpcore.TimeoutException, TimeoutError))
    words = str(exc) or ("no answer in time" if is_timeout else type(exc).__name__)
    return wire.Failure(f"{type(exc).__name__}: {words}"[:300], is_timeout=is_timeout)
