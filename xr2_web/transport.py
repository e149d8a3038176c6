"""One request out, one answer back, by a deadline that holds; the only module that touches the HTTP library.

httpx2 is used where it is installed, else httpx, both through their engine (httpcore), whose network interface
is public: their own timeouts are per read, so a server that drips a byte now and then can hold a caller for
minutes. Here the sync side cuts every read to what is left of the deadline, and the async side is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import cached_property
from typing import Any, TypeAlias
from urllib.request import getproxies, proxy_bypass

try:
    import httpcore2 as httpcore
    import httpx2 as httpx
except ImportError:
    import httpcore  # type: ignore[no-redef]
    import httpx  # type: ignore[no-redef]

from . import wire

Resolve: TypeAlias = Callable[..., Iterable[tuple[Any, ...]]]

IDLE_SECONDS = 4.0
"""How long a connection is kept without use: below the five seconds after which common servers close theirs."""


class Address:
    """Where requests go: the base URL, the headers of every request, the TLS context and the proxy for it."""

    def __init__(self, base_url: str, api_key: str, *, resolve: Resolve = socket.getaddrinfo) -> None:
        self.base_url = base_url
        self.resolver = Resolver(resolve)
        self._url = httpcore.URL(base_url)
        self.headers = [
            (b"Host", self._host().encode()),
            (b"Authorization", b"Bearer " + api_key.encode()),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", wire.USER_AGENT.encode()),
        ]

    def request(self, request: wire.Request[Any]) -> httpcore.Request:
        """Return the engine's request for ``request``."""
        headers = self.headers
        if request.body is not None:
            length = str(len(request.body)).encode()
            headers = [*headers, (b"Content-Type", b"application/json"), (b"Content-Length", length)]
        return httpcore.Request(request.method, self.base_url + request.path, headers=headers, content=request.body)

    def pool_options(self, connections: int) -> dict[str, Any]:
        """Return what both kinds of connection pool are made with."""
        return {
            "ssl_context": self._tls,
            "proxy": self._proxy(),
            "max_connections": connections,
            "keepalive_expiry": IDLE_SECONDS,
        }

    @cached_property
    def _tls(self) -> Any:
        is_plain = self._url.scheme == b"http" and self._proxy_url() is None
        return None if is_plain else httpx.create_ssl_context()

    def _host(self) -> str:
        host = self._url.host.decode()
        host = f"[{host}]" if ":" in host else host
        return host if self._url.port is None else f"{host}:{self._url.port}"

    def _proxy_url(self) -> str | None:
        if proxy_bypass(self._url.host.decode()):
            return None
        proxies = getproxies()
        return proxies.get(self._url.scheme.decode()) or proxies.get("all")

    def _proxy(self) -> Any:
        url = self._proxy_url()
        if url is None:
            return None
        try:
            given = httpx.Proxy(url if "://" in url else f"http://{url}")
        except (ValueError, httpx.InvalidURL):
            raise httpcore.ProxyError("the proxy that the environment names has no valid address") from None
        return httpcore.Proxy(str(given.url), auth=given.raw_auth, headers=given.headers.raw)


class Resolver:
    """Look up host names under a deadline, which the system's own look-up does not know.

    A look-up in the air is shared by all who ask for that name, so that a resolver that hangs holds one thread
    and not one for each call. Nothing is cached. A forked child waits for no look-up of its parent.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._in_the_air: dict[tuple[int, str, int], Future[Sequence[str]]] = {}

    def begin(self, host: str, port: int) -> Future[Sequence[str]]:
        """Return the addresses-to-be of a host, in the order in which they should be tried: none if unknown."""
        key = (os.getpid(), host, port)
        mine: Future[Sequence[str]] = Future()
        if (future := self._in_the_air.setdefault(key, mine)) is not mine:
            return future
        try:
            threading.Thread(target=self._run, args=(key, mine), name="xr2-resolve", daemon=True).start()
        except RuntimeError:  # no thread can be started while the interpreter exits
            self._run(key, mine)
        return mine

    def _run(self, key: tuple[int, str, int], future: Future[Sequence[str]]) -> None:
        found: Sequence[str] = ()
        try:
            answers = self._resolve(*key[1:], type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except Exception:  # noqa: BLE001
            pass  # an unknown host, or one that cannot be: the system raises UnicodeError for some
        del self._in_the_air[key]
        future.set_result(found)


class SyncTransport:
    """Send from the calling thread; safe to share between threads."""

    def __init__(self, address: Address, *, connections: int = 10) -> None:
        self._address = address
        self._connections = connections
        self._backend = _DeadlineBackend(address.resolver)
        self._pools: dict[int, Any] = {}
        weakref.finalize(self, _close_own, self._pools)

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        """Return the answer, or why there is none by ``until`` (monotonic). Redirects are not followed."""
        self._backend.clock.until = until
        outgoing = self._address.request(request)
        outgoing.extensions = {"timeout": _timeouts(until)}
        try:
            response = self._pool().handle_request(outgoing)
            try:
                body = _Body(request.answer_limit)
                for chunk in response.iter_stream():
                    if not body.takes(chunk):
                        break
            finally:
                response.close()
            return body.answer(response)
        except _EXCEPTIONS as exc:
            return _failure(exc)

    def close(self) -> None:
        """Close all connections; what is collected without it closes its own."""
        _close_own(self._pools)

    def _pool(self) -> Any:
        # One for each process: a forked child must not read its parent's answers from a connection they share.
        pid = os.getpid()
        return self._pools.get(pid) or self._pools.setdefault(pid, self._new_pool())

    def _new_pool(self) -> Any:
        options = self._address.pool_options(self._connections)
        return httpcore.ConnectionPool(network_backend=self._backend, **options)


def _close_own(pools: dict[int, Any]) -> None:
    if (pool := pools.pop(os.getpid(), None)) is not None:
        pool.close()


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
                    body = _Body(request.answer_limit)
                    async for chunk in response.aiter_stream():
                        if not body.takes(chunk):
                            break
                finally:
                    await response.aclose()
                return body.answer(response)
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
            network_backend=_ResolvingBackend(self._address.resolver),
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


class _Body:
    """Collect a body up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0

    def takes(self, chunk: bytes) -> bool:
        self._size += len(chunk)
        self._chunks.append(chunk)
        return self._size <= self._limit

    def answer(self, response: Any) -> wire.Answer:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        body = b"".join(self._chunks) if self._size <= self._limit else None
        return wire.Answer(response.status, headers, body)


class _Clock(threading.local):
    until = 0.0


class _DeadlineBackend(httpcore.NetworkBackend):
    """The engine's plain sockets, each operation cut to what is left of the calling thread's deadline."""

    def __init__(self, resolver: Resolver) -> None:
        self.clock = _Clock()
        self._resolver = resolver
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._resolver.begin(host, port).result(timeout=_left(self.clock.until))
        except FutureTimeout:
            raise httpcore.ConnectTimeout(f"no address for {host} in time") from None
        for attempt, address in enumerate(addresses, start=1):
            share = _left(self.clock.until) / (len(addresses) - attempt + 1)
            try:
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if attempt == len(addresses):
                    raise
            else:
                return _DeadlineStream(stream, self.clock)
        raise httpcore.ConnectError(f"no address for {host}")


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock) -> None:
        self._stream = stream
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._time_left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._time_left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._clock.until)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _time_left(self, late: type[Exception]) -> float:
        left = self._clock.until - time.monotonic()
        if left <= 0:
            raise late("no time left")
        return left


class _ResolvingBackend(httpcore.AnyIOBackend):
    """The engine's asyncio sockets, with our look-up: theirs leaves a thread behind for each that hangs."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await asyncio.shield(asyncio.wrap_future(self._resolver.begin(host, port)))
        for attempt, address in enumerate(addresses, start=1):
            share = None if timeout is None else timeout / (len(addresses) - attempt + 1)
            try:
                stream = await super().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if attempt == len(addresses):
                    raise
            else:
                return _TidyStream(stream)
        raise httpcore.ConnectError(f"no address for {host}")


class _TidyStream(httpcore.AsyncNetworkStream):
    """A socket that is closed when its TLS handshake is cancelled: the engine leaves it open."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


_EXCEPTIONS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,
    RuntimeError,
    ImportError,  # a SOCKS proxy without the package for it
)


def _left(until: float) -> float:
    return max(0.001, until - time.monotonic())


def _timeouts(until: float) -> dict[str, float]:
    left = _left(until)
    return {"connect": left, "read": left, "write": left, "pool": left}


def _failure(exc: BaseException) -> wire.Failure:
    is_timeout = isinstance(exc, (httpcore.TimeoutException, TimeoutError))
    words = str(exc) or ("no answer in time" if is_timeout else type(exc).__name__)
    return wire.Failure(f"{type(exc).__name__}: {words}"[:300], is_timeout=is_timeout)
