"""The adapter for Flask: a wrapped WSGI application for the lifetime, an ``after_request`` hook for the headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Unpack, cast

from flask import Flask, Request, Response, current_app, g, has_request_context, request, session
from flask.globals import request_ctx
from werkzeug.wrappers import Response as BaseResponse

from . import settings
from .behind import is_behind
from .bodies import Body
from .default import started
from .exchange import Exchange, Registered, make_private
from .identity import note_login, settle
from .operations.commands import mounted
from .runtime import Runtime
from .scope import Scope, bind, bound, unbind
from .settings import SettingsKeywords

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
        """Install on an application; a second time does nothing but say so."""
        if EXTENSION in app.extensions:
            app.extensions[EXTENSION].tell_twice()
            return
        given = {name.removeprefix("XR2_"): value for name, value in app.config.items() if name.startswith("XR2_")}
        chosen = settings.load(
            settings.keywords(self._keywords), settings.framework(given, "XR2_{upper}"), settings.environment()
        )
        runtime = Runtime(chosen, keys=lambda: [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())])
        exchange = app.extensions[EXTENSION] = Exchange(runtime, partial(_Incoming, app))
        app.wsgi_app = _wrapped(app.wsgi_app, app, exchange)  # type: ignore[method-assign, assignment]
        app.after_request(_depart)
        app.cli.add_command(mounted(lambda: runtime))
        _watch_logins()
        started(runtime)


def _watch_logins() -> None:
    """Have each login of Flask-Login decide whose the traces of its visitor are; a second time does nothing."""
    with suppress(ImportError):
        import_module("flask_login").user_logged_in.connect(_note_login)


def _note_login(app: Flask, **_: Any) -> None:
    note_login(bound())


# Functions and not objects with methods: at every request of the application each look-up of an attribute counts.
def _wrapped(application: WSGIApplication, app: Flask, exchange: Exchange) -> WSGIApplication:
    """Return the application with a scope bound around it, and around each step of a streamed body."""
    is_first = True

    def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        nonlocal is_first
        if is_first:
            is_first = False
            exchange.look_at(Registered(view, (endpoint,)) for endpoint, view in app.view_functions.items())
        if KEY in environ:
            environ[KEY].tell_twice()
            return application(environ, start_response)
        environ[KEY] = exchange
        scope = exchange.open_scope()
        scope.native = environ
        token = bind(scope)
        try:
            body = application(environ, start_response)
        finally:
            unbind(token)
        if scope.is_touched:
            return _finished(body, scope, exchange)
        scope.is_ended = True
        return body

    return wsgi_app


def _finished(body: Iterable[bytes], scope: Scope, exchange: Exchange) -> Iterable[bytes]:
    """Return the body of a response, with whose end a streamed one ends too."""
    if _STREAMED in scope.native:
        return Body(body, scope, lambda is_complete: exchange.finish(scope, is_complete=is_complete))
    if not scope.is_ended:
        exchange.finish(scope, is_complete=True)
    return body


def _depart(response: Response) -> Response:
    """See the response while its headers can still be set; an application mounted in another does it for both."""
    scope = bound()
    is_plain = isinstance(response.response, _PLAIN)
    if scope is None or (is_plain and not scope.is_touched) or scope.status is not None:
        return response
    exchange = scope.native.get(KEY) if isinstance(scope.native, dict) else None
    if not isinstance(exchange, Exchange):
        return response
    is_streamed = response.is_streamed and not response.direct_passthrough
    if is_streamed:
        scope.native[_STREAMED] = scope.is_touched = True
        # The body is produced when Flask's own context is gone: what it may need is taken now.
        scope.incoming.take_context()  # type: ignore[union-attr]
    scope.status = response.status_code
    if scope.is_touched:
        headers = cast("Mapping[str, str]", response.headers)
        token = settle(exchange.depart(scope, response.status_code, lambda: headers))
        if token is not None:
            _carry(exchange, token, response)
        if not is_streamed:
            exchange.finish(scope, is_complete=True)
    return response


def _carry(exchange: Exchange, token: str, response: Response) -> None:
    carrier = "Cookie"
    if exchange.mode == "session":
        if not current_app.secret_key:
            exchange.runtime.tell_once("session", _NO_SESSION)
            return
        session[exchange.name] = token
    elif exchange.mode == "header":
        carrier = exchange.name
        response.headers[carrier] = token
    else:
        response.set_cookie(**exchange.cookie(token, is_secure=request.is_secure))
    make_private(response.headers, carrier)


_STREAMED = "xr2_web.is_streamed"

_PLAIN = (list, tuple)
"""Bodies that are there as a whole."""


class _Incoming:
    """A Flask request as the core sees it, also after Flask has taken its context down."""

    __slots__ = ("_app", "_environ", "_globals", "_session")

    def __init__(self, app: Flask, environ: WSGIEnvironment) -> None:
        self._app = app
        self._environ = environ
        self._globals: Any = None
        self._session: dict[str, Any] = {}
        self.take_context()

    def take_context(self) -> None:
        """Keep what Flask's context of this request holds, if there is one by now."""
        if self._globals is None and has_request_context() and request.environ is self._environ:
            # Of a mounted application, if one serves the request.
            self._app = current_app._get_current_object()  # type: ignore[attr-defined]
            self._globals = g._get_current_object()
            self._session = _session()

    @property
    def method(self) -> str:
        return str(self._environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        return self.native.path

    @property
    def native(self) -> Request:
        # Where Werkzeug keeps the request of an environment.
        found = self._environ.get("werkzeug.request")
        return found if isinstance(found, Request) else self._app.request_class(self._environ)

    @property
    def route_names(self) -> tuple[str, ...]:
        endpoint = self.native.endpoint
        return (endpoint,) if endpoint else ()

    @property
    def route_parameters(self) -> dict[str, Any]:
        return dict(self.native.view_args or {})

    def header(self, name: str) -> str | None:
        found: str | None = self._environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return found

    def cookie(self, name: str) -> str | None:
        return self.native.cookies.get(name)

    def session(self, name: str) -> str | None:
        self.take_context()
        found = dict.get(self._session, name)
        return found if isinstance(found, str) else None

    async def asession(self, name: str) -> str | None:
        return self.session(name)

    def user(self) -> Any:
        """Ask Flask-Login, without loading the user."""
        self.take_context()
        if "login_manager" not in vars(self._app):
            return None
        if (user := getattr(self._globals, "_login_user", None)) is not None:
            return user.get_id() if user.is_authenticated else None
        found = dict.get(self._session, "_user_id")
        return self._remembered() if found is None else found

    def _remembered(self) -> str | None:
        """Return whom Flask-Login's cookie remembers: its session knows them from the first load on only."""
        cookie = self.cookie(self._app.config.get("REMEMBER_COOKIE_NAME", "remember_token"))
        if cookie is None:
            return None
        found: str | None = import_module("flask_login").decode_cookie(cookie, key=self._app.secret_key)
        return found

    async def auser(self) -> Any:
        return self.user()

    def serves(self, function: object) -> bool:
        view = self._app.view_functions.get(self.native.endpoint or "")
        return is_behind(function, view, self.method)

    def is_response(self, result: object) -> bool:
        return isinstance(result, BaseResponse)


def _session() -> dict[str, Any]:
    """Return the session without marking it as accessed, which would add ``Vary`` to the response."""
    context = vars(request_ctx._get_current_object())  # type: ignore[attr-defined]
    # Since Flask 3.1.3 the attribute that everybody uses is what marks it.
    found: Any = context.get("_session", context.get("session"))
    return found if isinstance(found, dict) else {}


_NO_SESSION = "xr2_web.session_missing: CARRY is 'session' but the application has no SECRET_KEY; set one"
