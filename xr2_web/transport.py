"""One request out, one answer back, by a deadline that holds; the only module that touches the HTTP library.

httpx2 is used where it is installed, else httpx, both through their engine (httpcore), whose network interface
is public: their own timeouts are per read, so a server that drips a byte now and then can hold a caller for
minutes. Here the sync side cuts every read to what is left of the deadline, and the async side is cancelled.
"""

from __future__ import annotations

import asyncio
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
        given = httpx.Proxy(url if "://" in url else f"http://{url}")
        return httpcore.Proxy(str(given.url), auth=given.raw_auth, headers=given.headers.raw)


class Resolver:
    """Look up host names under a deadline, which the system's own look-up does not know.

    A look-up in the air is shared by all who ask for that name, so that a resolver that hangs holds one thread
    and not one for each call. Nothing is cached.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._in_the_air: dict[tuple[str, int], Future[Sequence[str]]] = {}
        self._lock = threading.Lock()

    def begin(self, host: str, port: int) -> Future[Sequence[str]]:
        """Return the addresses-to-be of a host, in the order in which they should be tried."""
        key = (host, port)
        with self._lock:
            if future := self._in_the_air.get(key):
                return future
            future = self._in_the_air[key] = Future()
        try:
            threading.Thread(target=self._run, args=(key, future), name="xr2-resolve", daemon=True).start()
        except RuntimeError:  # no thread can be started while the interpreter exits
            self._run(key, future)
        return future

    def _run(self, key: tuple[str, int], future: Future[Sequence[str]]) -> None:
        found: Sequence[str] | Exception
        try:
            answers = self._resolve(*key, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except Exception as exc:  # noqa: BLE001
            found = exc
        with self._lock:
            del self._in_the_air[key]
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)


class SyncTransport:
    """Send from the calling thread; safe to share between threads."""

    def __init__(self, address: Address, *, connections: int = 10) -> None:
        self._address = address
        self._backend = _DeadlineBackend(address.resolver)
        self._pool = httpcore.ConnectionPool(network_backend=self._backend, **address.pool_options(connections))
        self._close = weakref.finalize(self, self._pool.close)

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        """Return the answer, or why there is none by ``until`` (monotonic). Redirects are not followed."""
        self._backend.clock.until = until
        outgoing = self._address.request(request)
        outgoing.extensions = {"timeout": _timeouts(until)}
        try:
            response = self._pool.handle_request(outgoing)
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
        self._close()


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
        for each in [each for each in self._loops if each.is_closed()]:
            del self._loops[each]
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
        except OSError as exc:
            raise httpcore.ConnectError(f"no address for {host}") from exc
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
        left = self._clock.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("no time left")
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._clock.until))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._clock.until)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


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
        try:
            addresses = await asyncio.shield(asyncio.wrap_future(self._resolver.begin(host, port)))
        except OSError as exc:
            raise httpcore.ConnectError(f"no address for {host}") from exc
        for attempt, address in enumerate(addresses, start=1):
            share = None if timeout is None else timeout / (len(addresses) - attempt + 1)
            try:
                return await super().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if attempt == len(addresses):
                    raise
        raise httpcore.ConnectError(f"no address for {host}")


_EXCEPTIONS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    TimeoutError,
    OSError,
    RuntimeError,
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
