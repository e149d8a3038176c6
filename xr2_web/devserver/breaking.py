"""The middleware that has the endpoints of xR2 fail as ``Chaos`` draws it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Protocol

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import answers, chaos
from .chaos import Chaos, Fault
from .rules import API_PREFIX

CONNECTION = "xr2_web.connection"
"""The ASGI extension under which a server offers the ``Connection`` of a request."""

SMALL_QUOTA = 100
"""Prompt fetches a day of a small account."""

_DETAILS: dict[int, object] = {
    400: {"error": "bad_request", "message": "Bad request"},
    401: "Invalid API key: it is unknown or no longer active",
    403: "Suspicious request",
    404: {"error": "not_found", "message": "Not found"},
    422: [{"type": "value_error", "loc": ["body"], "msg": "Value error"}],
    500: "Internal server error",
}
_FETCH = f"{API_PREFIX}get-prompt"
_GATEWAY = frozenset({502, 504})
"""Not xR2 answers these but the proxy in front of it, in HTML."""


class Connection(Protocol):
    """What a server can do with a connection beyond ASGI."""

    def reset(self) -> None:
        """Cut it at once, so that the other side sees a reset."""

    def hold(self) -> AbstractContextManager[None]:
        """Wait inside the block as long as the server lives: where it ends, it drops the connection at once."""


class Breaking:
    """Answer requests to ``/api/v1/`` badly, late, or not at all; ``sleep`` waits for seconds."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        chaos: Chaos,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._chaos = chaos
        self._clock = clock
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API_PREFIX):
            await self._app(scope, receive, send)
            return
        if seconds := self._chaos.delay():
            self._chaos.struck[chaos.SLOW] += 1
            with _held(scope):
                await self._sleep(seconds)
        name, fault = self._chaos.fault() or (None, Fault(0))
        if name == chaos.QUOTA and scope["path"] != _FETCH:
            name = None
        if name:
            self._chaos.struck[name] += 1
        if name == chaos.RESET:
            await _reset(scope, receive)
        elif name == chaos.SILENT:
            await self._process_silently(scope, receive)
        else:
            answer = self._answer(name, fault)
            await (answer or self._app)(scope, receive, send)

    def _answer(self, name: str | None, fault: Fault) -> Response | None:
        if name == chaos.QUOTA:
            return answers.refused(answers.quota_used_up(SMALL_QUOTA, maximum=SMALL_QUOTA, now=self._clock()))
        if name == chaos.REVOKED:
            return _failure(401)
        if name == "429":
            return answers.too_many_requests(fault.seconds or 0)
        return _failure(int(name)) if name else None

    async def _process_silently(self, scope: Scope, receive: Receive) -> None:
        await self._app(scope, receive, _to_nobody)
        with _held(scope):
            await _until_disconnected(receive)


def _failure(status_code: int) -> Response:
    phrase = HTTPStatus(status_code).phrase
    if status_code in _GATEWAY:
        title = f"{status_code} {phrase}"
        page = f"<html>\n<head><title>{title}</title></head>\n<body><center><h1>{title}</h1></center></body>\n</html>\n"
        return HTMLResponse(page, status_code)
    return answers.as_json({"detail": _DETAILS.get(status_code, phrase)}, status_code)


def _connection(scope: Scope) -> Connection | None:
    connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
    return connection


def _held(scope: Scope) -> AbstractContextManager[None]:
    connection = _connection(scope)
    return connection.hold() if connection else nullcontext()


async def _reset(scope: Scope, receive: Receive) -> None:
    connection = _connection(scope)
    if connection is None:
        raise ConnectionResetError("chaos: reset, which the server that runs this application cannot do")
    connection.reset()
    await _until_disconnected(receive)


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _to_nobody(message: Message) -> None:
    pass
