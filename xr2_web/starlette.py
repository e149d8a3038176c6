"""The adapter for Starlette, FastAPI and any other ASGI framework: one pure ASGI middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Any, Unpack

from starlette.authentication import BaseUser
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from . import lifespan, settings
from .exchange import Exchange, make_private
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
        self.exchange = Exchange(self.runtime, _Incoming)
        started(self.runtime)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if KEY in scope or kind not in ("http", "websocket"):
            if kind == "lifespan":
                send = lifespan.closing(self.runtime, send)
            await self.app(scope, receive, send)
            return
        exchange = self.exchange
        # A mark and not the scope: a cycle would leave every request to the garbage collector.
        scope[KEY] = exchange
        bound = exchange.open_scope()
        bound.native = scope
        if exchange.mode == "session" and "session" not in scope:
            # One that comes later, from further inside, has left before anything is written into it.
            bound.hindrance = _NO_SESSION

        # Not a coroutine function: a message that needs nothing costs no coroutine.
        def forward(message: Message) -> Awaitable[None]:
            name = message["type"]
            if name == "http.response.start":
                if bound.is_touched:
                    return _depart(exchange, bound, message, send)
                bound.status = message["status"]
            elif name == "websocket.accept":
                bound.status = 101
            elif not message.get("more_body") and name in _LAST:
                if bound.is_touched:
                    return _last(bound, message, send)
                bound.has_left = True
            return send(message)

        token = bind(bound)
        try:
            await self.app(scope, receive, forward)
            if kind == "websocket":
                bound.has_left = True
        except BaseException:
            bound.has_left = False
            raise
        finally:
            unbind(token)
            bound.is_ended = True
            if bound.is_touched:
                exchange.finish(bound, is_complete=bound.has_left)


_LAST = frozenset({"http.response.body", "http.response.pathsend"})


async def _last(bound: Scope, message: Message, send: Send) -> None:
    await send(message)
    bound.has_left = True


async def _depart(exchange: Exchange, bound: Scope, message: Message, send: Send) -> None:
    headers = MutableHeaders(scope=message)
    token = await asettle(exchange.depart(bound, message["status"], lambda: headers))
    if token is not None:
        _carry(exchange, token, bound.native, headers)
    await send(message)


def _carry(exchange: Exchange, token: str, scope: AsgiScope, headers: MutableHeaders) -> None:
    carrier = "Cookie"
    if exchange.mode == "session":
        # An entry and not a new dict: Starlette's own class of session notes what was changed.
        scope["session"][exchange.name] = token
    elif exchange.mode == "header":
        carrier = exchange.name
        headers[carrier] = token
    else:
        headers.append("Set-Cookie", _cookie(exchange, token, is_secure=scope.get("scheme") in ("https", "wss")))
    make_private(headers, carrier)


def _cookie(exchange: Exchange, token: str, *, is_secure: bool) -> str:
    response = Response()
    response.set_cookie(**exchange.cookie(token, is_secure=is_secure))
    return response.headers["Set-Cookie"]


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
        scope = self._scope
        endpoint = scope.get("endpoint")
        # Starlette 1.0 and older do not say which route it was.
        found = [scope["route"]] if "route" in scope else _routes_to(endpoint, scope.get("router"))
        names = (*(getattr(route, "name", None) for route in found), getattr(endpoint, "__name__", None))
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

    async def asession(self, name: str) -> str | None:
        return self.session(name)

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


def _routes_to(endpoint: object, router: object) -> Iterator[Any]:
    for route in getattr(router, "routes", None) or ():
        if endpoint is not None and getattr(route, "endpoint", None) is endpoint:
            yield route
        yield from _routes_to(endpoint, route)


def _identity(user: BaseUser) -> str | None:
    try:
        identity = user.identity
    except NotImplementedError:
        return None
    # Starlette's own SimpleUser gives the name as it was typed in.
    return Personal(identity) if identity == user.display_name else identity


_NO_SESSION = (
    "xr2_web.session_missing: CARRY is 'session' but this request came without one; add SessionMiddleware outside of "
    "Xr2Middleware (after it, with add_middleware)"
)
