"""The sockets beneath the engine: look-ups that are shared, and operations cut to what is left of a deadline."""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401 - else the first look-up would import it, while another thread may fork
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import ContextVar
from typing import Any, TypeAlias
from weakref import WeakSet

from .engine import httpcore

Resolve: TypeAlias = Callable[..., Iterable[tuple[Any, ...]]]
"""Looks a host name up as ``socket.getaddrinfo`` does."""


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


deadline: ContextVar[float] = ContextVar("xr2_web.deadline")
"""When the call at hand ends (monotonic).

No thread-local: one that is made before gevent patches is shared by all greenlets.
"""


class DeadlineBackend(httpcore.NetworkBackend):
    """The engine's plain sockets, each operation cut to what is left of the deadline of the call."""

    def __init__(self, resolver: Resolver) -> None:
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
        pid = os.getpid()
        try:
            addresses = self._resolver.begin(host, port).result(timeout=time_left(deadline.get()))
        except FutureTimeout:
            raise httpcore.ConnectTimeout(f"no address for {host} in time") from None
        for attempt, address in enumerate(addresses, start=1):
            share = time_left(deadline.get()) / (len(addresses) - attempt + 1)
            try:
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if attempt == len(addresses):
                    raise
            else:
                if pid != os.getpid():  # a greenlet that a fork has copied; the connection is its parent's, too
                    stream.close()
                    raise httpcore.ConnectError("the process has forked meanwhile")
                return _DeadlineStream(stream)
        raise httpcore.ConnectError(f"no address for {host}")


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        _streams.add(self)

    def disown(self) -> None:
        """Lose the connection, in a child, without a word to the server or to the parent."""
        connection = self._stream.get_extra_info("socket")
        if connection is not None and (descriptor := connection.fileno()) >= 0:
            # Its number stays taken: a copied greenlet that waits for it must not read from what comes next.
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor, inheritable=False)
            os.close(nowhere)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_or_raise(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left_or_raise(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = time_left(deadline.get())
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _disown_all() -> None:
    for stream in list(_streams):
        stream.disown()


_streams: WeakSet[_DeadlineStream] = WeakSet()
"""The connections of this process. Greenlets live on in a forked child, and would take their parent's answers."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


def _left_or_raise(late: type[Exception]) -> float:
    left = deadline.get() - time.monotonic()
    if left <= 0:
        raise late("no time left")
    return left


class ResolvingBackend(httpcore.AnyIOBackend):
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


def time_left(until: float) -> float:
    return max(0.001, until - time.monotonic())
