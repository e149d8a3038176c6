"""The middleware: pure ASGI, one for every framework that speaks it."""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from typing import Unpack
from weakref import WeakSet

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from .. import lifespan, settings
from ..default import started
from ..errors import ConfigurationError
from ..exchange import TRACE_HEADER, Exchange, make_private
from ..forks import ForkLock
from ..identity import asettle
from ..runtime import Runtime, logger
from ..scope import Scope, bind, unbind
from ..settings import Settings, SettingsKeywords
from .incoming import KEY, Incoming
from .routes import registered


class Xr2Middleware:
    """Binds a scope for each request and WebSocket connection, and carries its traces on.

    The keywords are the settings; the environment fills what is not given. Raises ``ConfigurationError`` when
    the application is started with settings that cannot work.
    """

    def __init__(self, app: ASGIApp, **keywords: Unpack[SettingsKeywords]) -> None:
        self.app = app
        self.exchange: Exchange = _installation(_settings(keywords))
        self.runtime: Runtime = self.exchange.runtime
        self._is_new = True

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if self._is_new:
            self._is_new = False
            self.exchange.look_at(registered(self.app))
        if KEY in scope or kind not in ("http", "websocket"):
            if kind == "lifespan":
                send = lifespan.closing(self.runtime, send, to_thread.run_sync)
            elif KEY in scope:
                scope[KEY].exchange.tell_twice()
            await self.app(scope, receive, send)
            return
        exchange = self.exchange
        # A mark and not the scope: a cycle would leave every request to the garbage collector.
        scope[KEY] = self
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


def _settings(keywords: SettingsKeywords) -> Settings:
    try:
        return settings.load(settings.keywords(keywords), settings.environment())
    except ConfigurationError as exc:
        # Servers take what is raised at the lifespan for an application without one, and start in silence.
        logger.error("xr2_web.misconfigured: %s", exc)
        raise


def _installation(chosen: Settings) -> Exchange:
    """Return what middleware of these settings works with, shared by all that is made before the first request.

    Litestar makes a middleware for each route and method, and all of them are one installation: one budget, one
    outbox, one set of connections. What has been used already belongs to an application that was there before.
    """
    with _lock:
        found = next((each for each in _made if _is_unused(each.runtime) and each.runtime.settings == chosen), None)
        if found is None:
            found = Exchange(Runtime(chosen), Incoming)
            _made.add(found)
    started(found.runtime)
    return found


def _is_unused(runtime: Runtime) -> bool:
    return not (runtime.counts or runtime.copies)


_made: WeakSet[Exchange] = WeakSet()
_lock = ForkLock()

_LAST = frozenset({"http.response.body", "http.response.pathsend"})


async def _last(bound: Scope, message: Message, send: Send) -> None:
    await send(message)
    bound.has_left = True


async def _depart(exchange: Exchange, bound: Scope, message: Message, send: Send) -> None:
    # Copied, since an application may send everybody the same message; the specification lets it leave headers out.
    headers = MutableHeaders(raw=list(message.get("headers", ())))
    token = await asettle(exchange.depart(bound, message["status"], lambda: headers))
    if token is not None:
        _carry(exchange, token, bound.native, headers)
    page = exchange.shown_trace(bound, headers)
    if page is not None:
        headers[TRACE_HEADER] = page
    if token is not None or page is not None:
        message = {**message, "headers": headers.raw}
    await send(message)


def _carry(exchange: Exchange, token: str, scope: AsgiScope, headers: MutableHeaders) -> None:
    carrier = "Cookie"
    if exchange.mode == "session":
        # An entry where there is a dict: Starlette's own class of session notes what was changed. Litestar has another
        # value in its place once a session was cleared.
        if isinstance(scope["session"], MutableMapping):
            scope["session"][exchange.name] = token
        else:
            scope["session"] = {exchange.name: token}
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


_NO_SESSION = (
    "xr2_web.session_missing: CARRY is 'session' but this request came without one; add SessionMiddleware outside of "
    "Xr2Middleware (after it, with add_middleware)"
)
