"""Where requests go, and what every request has in common."""

from __future__ import annotations

import socket
from typing import Any
from urllib.request import getproxies, proxy_bypass

from .. import wire
from ..once import once
from .engine import httpcore, httpx
from .network import Resolve, Resolver

IDLE_SECONDS = 4.0
"""How long a connection is kept without use: below the five seconds after which common servers close theirs."""


class Address:
    """Where requests go: the base URL, the headers of every request, the TLS context and the proxy for it."""

    def __init__(self, base_url: str, api_key: str, *, resolve: Resolve = socket.getaddrinfo) -> None:
        self.base_url = base_url
        self.resolver: Resolver = Resolver(resolve)
        self._url = httpcore.URL(base_url)
        self.headers: list[tuple[bytes, bytes]] = [
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

    @once
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
