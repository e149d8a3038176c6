"""The adapter for Starlette, FastAPI and any other ASGI framework: one pure ASGI middleware."""

from __future__ import annotations

from collections.abc import Awaitable
from http.cookies import SimpleCookie
from typing import Any, Unpack

from starlette.authentication import BaseUser
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from . import lifespan, settings
from .exchange import Exchange, cache_control, vary
from .identity import Personal, asettle
from .runtime import Runtime, started
from .scope import Scope, bind, unbind
from .settings import SettingsKeywords
from .wrapping import is_behind

__all__ = ["Xr2Middleware"]

KEY = "xr2_web.scope"


class Xr2Middleware:
    """Binds a scope for each request and WebSocket connection, and carries its traces on.

    The keywords are the settings; the environment fills what is not given. Raises ``ConfigurationError`` when
    the application is started with settings that cannot work.
    """

    def __init__(self, app: ASGIApp, **keywords: Unpack[SettingsKeywords]) -> None:
        self.app = app
        self.runtime = Runtime(settings.load(settings.keywords(keywords), settings.environment()))
        self.exchange = Exchange(self.runtime)
        started(self.runtime)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, lifespan.closing(self.runtime, send))
        elif KEY in scope or kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        bound = scope[KEY] = self.exchange.open_scope(_Incoming(scope))
        departure = _Departure(self.exchange, bound, scope, send)
        token = bind(bound)
        try:
            await self.app(scope, receive, departure.send)
        except BaseException:
            departure.is_complete = False
            raise
        finally:
            unbind(token)
            if bound.is_touched:
                self.exchange.finish(bound, is_complete=departure.is_complete)


class _Departure:
    """The way of one response to the client."""

    __slots__ = ("_bound", "_exchange", "_scope", "_send", "is_complete")

    def __init__(self, exchange: Exchange, bound: Scope, scope: AsgiScope, send: Send) -> None:
        self._exchange = exchange
        self._bound = bound
        self._scope = scope
        self._send = send
        self.is_complete = False

    def send(self, message: Message) -> Awaitable[None]:
        # Not a coroutine function: a message that needs nothing costs no coroutine.
        kind = message["type"]
        if kind == "http.response.start":
            if self._exchange.is_idle(self._bound):
                self._bound.status = message["status"]
                self._bound.is_sealed = True
                return self._send(message)
            return self._start(message)
        if kind == "http.response.body":
            return self._send(message) if message.get("more_body", False) else self._end(message)
        if kind == "websocket.accept":
            self._bound.is_sealed = True
        return self._end(message) if kind == "http.response.pathsend" else self._send(message)

    async def _start(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        token = await asettle(self._exchange.depart(self._bound, message["status"], lambda: headers))
        if token is not None:
            self._carry(token, headers)
        await self._send(message)

    async def _end(self, message: Message) -> None:
        await self._send(message)
        self.is_complete = True

    def _carry(self, token: str, headers: MutableHeaders) -> None:
        exchange = self._exchange
        carrier = "Cookie"
        if exchange.mode == "session":
            if "session" not in self._scope:
                exchange.runtime.tell_once("session", _NO_SESSION)
                return
            # A fresh dict: a change inside one is lost on some session middlewares.
            self._scope["session"] = {**self._scope["session"], exchange.name: token}
        elif exchange.mode == "header":
            carrier = exchange.name
            headers[carrier] = token
        else:
            headers.append("Set-Cookie", self._cookie(token))
        headers["Vary"] = vary(headers.get("Vary"), carrier)
        headers["Cache-Control"] = cache_control(headers.get("Cache-Control"))

    def _cookie(self, token: str) -> str:
        cookie = SimpleCookie({self._exchange.name: token})
        morsel = cookie[self._exchange.name]
        morsel["path"], morsel["max-age"], morsel["samesite"] = "/", str(self._exchange.max_age), "Lax"
        morsel["httponly"] = True
        morsel["secure"] = self._scope.get("scheme") in ("https", "wss")
        return morsel.OutputString()


class _Incoming:
    """An ASGI request as the core sees it."""

    __slots__ = ("_scope",)

    def __init__(self, scope: AsgiScope) -> None:
        self._scope = scope

    @property
    def method(self) -> str:
        return str(self._scope.get("method", "GET"))

    @property
    def path(self) -> str:
        scope = self._scope
        root = scope.get("app_root_path", scope.get("root_path", ""))
        return str(scope["path"]).removeprefix(root)

    @property
    def native(self) -> HTTPConnection:
        return Request(self._scope) if self._scope["type"] == "http" else HTTPConnection(self._scope)

    @property
    def route_names(self) -> tuple[str, ...]:
        names = (
            getattr(self._scope.get("route"), "name", None),
            getattr(self._scope.get("endpoint"), "__name__", None),
        )
        return tuple(name for name in names if name)

    @property
    def route_parameters(self) -> dict[str, Any]:
        return dict(self._scope.get("path_params", {}))

    def header(self, name: str) -> str | None:
        wanted = name.lower().encode("latin-1")
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == wanted), None)

    def cookie(self, name: str) -> str | None:
        return cookie_parser(self.header("cookie") or "").get(name)

    def session(self, name: str) -> str | None:
        found = self._scope.get("session", {}).get(name)
        return found if isinstance(found, str) else None

    def user(self) -> Any:
        user = self._scope.get("user")
        if user is None or not getattr(user, "is_authenticated", False):
            return None
        for name in ("pk", "id"):
            if (found := getattr(user, name, None)) is not None:
                return found
        return _identity(user)

    async def auser(self) -> Any:
        return self.user()

    def serves(self, function: object) -> bool:
        return self._scope["type"] == "http" and is_behind(function, self._scope.get("endpoint"), self.method)

    def is_response(self, result: object) -> bool:
        return isinstance(result, Response)


def _identity(user: BaseUser) -> str | None:
    try:
        identity = user.identity
    except NotImplementedError:
        return None
    # Starlette's own SimpleUser gives the name as it was typed in.
    return Personal(identity) if identity == user.display_name else identity


_NO_SESSION = (
    "xr2_web.session_missing: CARRY is 'session' but this request has none; add SessionMiddleware outside of "
    "Xr2Middleware (after it, with add_middleware)"
)
