"""Where requests go, and what every request has in common."""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import h11

from .. import wire
from ..once import once
from .engine import httpcore, httpx
from .network import Resolve, Resolver

IDLE_SECONDS = 4.0
"""How long a connection is kept without use: below the five seconds after which common servers close theirs."""


class Address:
    """Where requests go: the base URL, the headers of every request, the TLS context and the proxy for it."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        resolve: Resolve = socket.getaddrinfo,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.base_url = base_url
        self.idle_seconds = idle_seconds
        self.resolver: Resolver = Resolver(resolve)
        self._url = httpcore.URL(base_url)
        self._common_headers: list[tuple[bytes, bytes]] = [
            (b"Host", self._host().encode()),
            (b"Authorization", b"Bearer " + api_key.encode()),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", wire.USER_AGENT.encode()),
        ]
        # Events differ in their length alone, and to check a head takes longer than to send it.
        self._opening = lru_cache(maxsize=1024)(self._new_opening)

    def request(self, request: wire.Request[Any]) -> httpcore.Request:
        """Return the engine's request for ``request``."""
        headers = self._headers(None if request.body is None else len(request.body))
        return httpcore.Request(request.method, self.base_url + request.path, headers=headers, content=request.body)

    def opening(self, request: wire.Request[Any]) -> h11.Request:
        """Return the head of ``request``, as it is sent to the server itself."""
        return self._opening(request.method, request.path, None if request.body is None else len(request.body))

    def connect(self, backend: httpcore.NetworkBackend) -> httpcore.NetworkStream:
        """Return a new connection to the server itself."""
        host = self._url.host.decode()
        stream = backend.connect_tcp(host, self._url.origin.port)
        return stream if self._tls is None else stream.start_tls(self._tls, host)

    def pool_options(self, connections: int) -> dict[str, Any]:
        """Return what both kinds of connection pool are made with."""
        return {
            "ssl_context": self._tls,
            "proxy": self.proxy(),
            "max_connections": connections,
            "keepalive_expiry": self.idle_seconds,
        }

    @once
    def _tls(self) -> Any:
        if self._url.scheme == b"http" and self._proxy_url() is None:
            return None
        context = httpx.create_ssl_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _new_opening(self, method: str, path: str, length: int | None) -> h11.Request:
        target = httpcore.URL(self.base_url + path).target
        return h11.Request(method=method, target=target, headers=self._headers(length))

    def _headers(self, length: int | None) -> list[tuple[bytes, bytes]]:
        if length is None:
            return self._common_headers
        body = [(b"Content-Type", b"application/json"), (b"Content-Length", str(length).encode())]
        return [*self._common_headers, *body]

    def _host(self) -> str:
        host = self._url.host.decode()
        host = f"[{host}]" if ":" in host else host
        return host if self._url.port is None else f"{host}:{self._url.port}"

    def _proxy_url(self) -> str | None:
        if proxy_bypass(self._url.host.decode()):
            return None
        proxies = getproxies()
        return proxies.get(self._url.scheme.decode()) or proxies.get("all")

    def proxy(self) -> Any:
        url = self._proxy_url()
        if url is None:
            return None
        try:
            given = httpx.Proxy(url if "://" in url else f"http://{url}")
        except (ValueError, httpx.InvalidURL):
            raise httpcore.ProxyError("the proxy that the environment names has no valid address") from None
        return httpcore.Proxy(str(given.url), auth=given.raw_auth, headers=given.headers.raw)
