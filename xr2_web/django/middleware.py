"""The middleware: one class, sync and async, with no thread hop in either mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse

from ..bodies import AsyncBody, Body
from ..exchange import Exchange, make_private
from ..identity import asettle, settle
from ..scope import Scope, bind, binding, unbind
from .installation import installation
from .logins import watch_logins

MARK = "_xr2_web_exchange"
"""Where a request names the exchange that serves it."""

RECORD = "_xr2_web_record"
"""Where a request that has come back has what it did, if a developer looks."""


class Xr2Middleware:
    """Binds a scope for each request and carries its traces on; settings are in ``settings.XR2``.

    Raises ``ImproperlyConfigured`` at start for settings that cannot work. Place it below SessionMiddleware and
    AuthenticationMiddleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.exchange: Exchange = installation()
        watch_logins()
        self.is_async: bool = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._acall(request)
        exchange = self.exchange
        if MARK in request.__dict__:
            request.__dict__[MARK].tell_twice()
            response: HttpResponseBase = self.get_response(request)
            return response
        # A mark and not the scope: a cycle would leave every request to the garbage collector.
        request.__dict__[MARK] = exchange
        scope = exchange.open_scope()
        scope.native = request
        if exchange.mode == "session" and not hasattr(request, "session"):
            # One that comes later, from further inside, is saved before anything is written into it.
            scope.hindrance = _NO_SESSION
        token = bind(scope)
        try:
            response = self.get_response(request)
            if scope.is_touched:
                steps = exchange.depart(scope, response.status_code, lambda: response.headers)
                _carry(exchange, settle(steps), request, response)
                if scope.record is not None:
                    request.__dict__[RECORD] = scope.record
        finally:
            unbind(token)
        return _end(exchange, scope, response)

    # Opens as the sync half does, line for line: a function for both would be one more call on every idle request.
    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        exchange = self.exchange
        if MARK in request.__dict__:
            request.__dict__[MARK].tell_twice()
            response: HttpResponseBase = await self.get_response(request)
            return response
        # A mark and not the scope: a cycle would leave every request to the garbage collector.
        request.__dict__[MARK] = exchange
        scope = exchange.open_scope()
        scope.native = request
        if exchange.mode == "session" and not hasattr(request, "session"):
            # One that comes later, from further inside, is saved before anything is written into it.
            scope.hindrance = _NO_SESSION
        token = bind(scope)
        try:
            response = await self.get_response(request)
            if scope.is_touched:
                steps = exchange.depart(scope, response.status_code, lambda: response.headers)
                _carry(exchange, await asettle(steps), request, response)
                if scope.record is not None:
                    request.__dict__[RECORD] = scope.record
        finally:
            unbind(token)
        return _end(exchange, scope, response)


def _end(exchange: Exchange, scope: Scope, response: HttpResponseBase) -> HttpResponseBase:
    """Return the response; the scope of a streamed one ends with its body."""
    scope.status = response.status_code
    if response.streaming and not hasattr(response, "file_to_stream"):
        _watch(exchange, scope, response)  # type: ignore[arg-type]
        return response
    scope.is_ended = True
    if scope.is_touched:
        exchange.finish(scope, is_complete=True)
    return response


def _watch(exchange: Exchange, scope: Scope, response: StreamingHttpResponse) -> None:
    def finish(is_complete: bool) -> None:
        exchange.finish(scope, is_complete=is_complete)

    # Django itself closes what the view gave it, which may be long after the request.
    closers = response._resource_closers  # type: ignore[attr-defined]
    closers[:] = [_within(scope, close) for close in closers]
    content: Any = response.streaming_content
    if response.is_async:
        response.streaming_content = AsyncBody(aiter(content), scope, finish)
    else:
        response.streaming_content = Body(content, scope, finish)


def _within(scope: Scope, close: Callable[[], object]) -> Callable[[], None]:
    def closing() -> None:
        with binding(scope):
            close()

    return closing


def _carry(exchange: Exchange, token: str | None, request: HttpRequest, response: HttpResponseBase) -> None:
    if token is None:
        return
    carrier = "Cookie"
    if exchange.mode == "session":
        request.session[exchange.name] = token
    elif exchange.mode == "header":
        carrier = exchange.name
        response.headers[carrier] = token
    else:
        response.set_cookie(**exchange.cookie(token, is_secure=request.is_secure()))
    make_private(response.headers, carrier)


_NO_SESSION = (
    "xr2_web.session_missing: CARRY is 'session' but the request came without one; place Xr2Middleware below "
    "SessionMiddleware"
)
