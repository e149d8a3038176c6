"""The middleware in front of everything: which Host is answered, and what a browser may do with an answer."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import answers
from .rules import API_PREFIX

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})

_READING = frozenset({"GET", "HEAD"})

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::[0-9]+)?")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Answer only under ``hosts`` (None: any), so that a rebound DNS name cannot read what is here.

    What changes something is taken from this server's own pages and from programs, never from another site's page.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refused = self._objection(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send_guarded)

    def _objection(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_allowed(headers.get("host", "")):
            return answers.as_json({"detail": "Host header not allowed: this is a local server"}, 400)
        is_steering = scope["method"] not in _READING and not scope["path"].startswith(API_PREFIX)
        if is_steering and not _is_of_this_origin(headers):
            return answers.as_json({"detail": "Cross-origin request refused: only this server's pages steer it"}, 403)
        return None

    def _is_allowed(self, header: str) -> bool:
        if self._hosts is None:
            return True
        match = _HOST.fullmatch(header.lower())
        return match is not None and match[1] in self._hosts


def _is_of_this_origin(headers: Headers) -> bool:
    """Believe ``Sec-Fetch-Site``, else ``Origin``; whoever sends neither is no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or _authority(origin) == headers.get("host", "").lower()


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
