"""The adapter for Flask: a wrapped WSGI application for the lifetime, an ``after_request`` hook for the headers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from flask import Flask, Response, g, request, session
from werkzeug.wrappers import Response as BaseResponse

from . import settings
from .bodies import Body
from .exchange import Exchange, cache_control, vary
from .identity import settle
from .runtime import Runtime, started
from .scope import bind, bound, unbind
from .settings import SettingsKeywords
from .wrapping import is_behind

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Xr2"]

KEY = "xr2_web.scope"
EXTENSION = "xr2_web"


class Xr2:
    """The Flask extension: ``Xr2(app)``, or ``init_app`` in an application factory.

    The keywords are the settings, then ``app.config["XR2_…"]``, then the environment. Raises
    ``ConfigurationError`` for settings that cannot work.
    """

    def __init__(self, app: Flask | None = None, **keywords: Unpack[SettingsKeywords]) -> None:
        self._keywords = keywords
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Install on an application; a second time does nothing."""
        if EXTENSION in app.extensions:
            return
        given = {name.removeprefix("XR2_"): value for name, value in app.config.items() if name.startswith("XR2_")}
        chosen = settings.load(
            settings.keywords(self._keywords), settings.framework(given, "XR2_{upper}"), settings.environment()
        )
        runtime = Runtime(chosen, keys=lambda: [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())])
        installed = app.extensions[EXTENSION] = _Installed(app, runtime)
        app.wsgi_app = installed  # type: ignore[method-assign]
        app.after_request(installed.depart)
        started(runtime)


class _Installed:
    """What is installed on one application: its WSGI side, and the end of its requests."""

    def __init__(self, app: Flask, runtime: Runtime) -> None:
        self.runtime = runtime
        self._app = app
        self._exchange = Exchange(runtime, partial(_Incoming, app))
        self._wsgi_app: WSGIApplication = app.wsgi_app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if KEY in environ:
            return self._wsgi_app(environ, start_response)
        scope = environ[KEY] = self._exchange.open_scope(environ)
        token = bind(scope)
        try:
            body = self._wsgi_app(environ, start_response)
        finally:
            unbind(token)
        if _STREAMED not in environ:
            scope.is_ended = True
            return body
        return Body(body, scope, lambda is_complete: self._exchange.finish(scope, is_complete=is_complete))

    def depart(self, response: Response) -> Response:
        """See the response while its headers can still be set."""
        scope = bound()
        if scope is None or scope.runtime is not self.runtime:
            return response
        is_streamed = response.is_streamed and not response.direct_passthrough
        if is_streamed:
            scope.native[_STREAMED] = True
        scope.status = response.status_code
        if scope.is_touched or self._exchange.has_routes:
            token = settle(self._exchange.depart(scope, response.status_code, lambda: dict(response.headers)))
            if token is not None:
                self._carry(token, response)
            if not is_streamed:
                self._exchange.finish(scope, is_complete=True)
        return response

    def _carry(self, token: str, response: Response) -> None:
        exchange = self._exchange
        carrier = "Cookie"
        if exchange.mode == "session":
            if not self._app.secret_key:
                exchange.runtime.tell_once("session", _NO_SESSION)
                return
            session[exchange.name] = token
        elif exchange.mode == "header":
            carrier = exchange.name
            response.headers[carrier] = token
        else:
            response.set_cookie(
                exchange.name,
                token,
                max_age=exchange.max_age,
                httponly=True,
                samesite="Lax",
                secure=request.is_secure,
            )
        response.headers["Vary"] = vary(response.headers.get("Vary"), carrier)
        response.headers["Cache-Control"] = cache_control(response.headers.get("Cache-Control"))


_STREAMED = "xr2_web.is_streamed"


class _Incoming:
    """A Flask request as the core sees it; Flask's own view of it is used once there is one."""

    __slots__ = ("_environ", "app")

    def __init__(self, app: Flask, environ: WSGIEnvironment) -> None:
        self.app = app
        self._environ = environ

    @property
    def method(self) -> str:
        return str(self._environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        return request.path

    @property
    def native(self) -> Any:
        return request._get_current_object()  # type: ignore[attr-defined]

    @property
    def route_names(self) -> tuple[str, ...]:
        return (request.endpoint,) if request.endpoint else ()

    @property
    def route_parameters(self) -> dict[str, Any]:
        return dict(request.view_args or {})

    def header(self, name: str) -> str | None:
        found: str | None = self._environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return found

    def cookie(self, name: str) -> str | None:
        return request.cookies.get(name)

    def session(self, name: str) -> str | None:
        # The session object's own dict, not the proxy: that would add Vary to the response.
        found = dict.get(session._get_current_object(), name)  # type: ignore[attr-defined]
        return found if isinstance(found, str) else None

    def user(self) -> Any:
        """Ask Flask-Login, without loading the user."""
        if "login_manager" not in vars(self.app):
            return None
        if (user := getattr(g, "_login_user", None)) is not None:
            return user.get_id() if user.is_authenticated else None
        return dict.get(session._get_current_object(), "_user_id")  # type: ignore[attr-defined]

    async def auser(self) -> Any:
        return self.user()

    def serves(self, function: object) -> bool:
        view = self.app.view_functions.get(request.endpoint or "")
        return is_behind(function, view, self.method)

    def is_response(self, result: object) -> bool:
        return isinstance(result, BaseResponse)


_NO_SESSION = "xr2_web.session_missing: CARRY is 'session' but the application has no SECRET_KEY; set one"
