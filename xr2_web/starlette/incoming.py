"""An ASGI request as the core sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.requests import HTTPConnection, Request, cookie_parser
from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from ..behind import is_behind
from ..identity import Personal
from .routes import Served, served

KEY = "xr2_web.scope"
"""Where the scope of a request names the middleware that serves it."""

_SAID_BY_ROUTING = ("endpoint", "route", "route_handler", "path_params")


class Incoming:
    """Shows the scope of a connection."""

    __slots__ = ("_found", "_known", "_scope")

    def __init__(self, scope: AsgiScope) -> None:
        self._scope = scope
        self._known: tuple[object, ...] = ()
        self._found = Served()

    @property
    def method(self) -> str:
        return str(self._scope.get("method", "GET"))

    @property
    def path(self) -> str:
        scope = self._scope
        root = scope.get("app_root_path", scope.get("root_path", ""))
        return _sent_path(scope).removeprefix(root)

    @property
    def native(self) -> HTTPConnection:
        return Request(self._scope) if self._scope["type"] == "http" else HTTPConnection(self._scope)

    @property
    def route_names(self) -> tuple[str, ...]:
        return self._served().names

    @property
    def route_parameters(self) -> dict[str, Any]:
        return dict(self._served().parameters)

    def header(self, name: str) -> str | None:
        wanted = name.lower().encode("latin-1")
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == wanted), None)

    def cookie(self, name: str) -> str | None:
        return cookie_parser(self.header("cookie") or "").get(name)

    def session(self, name: str) -> str | None:
        session = self._scope.get("session")
        found = session.get(name) if isinstance(session, Mapping) else None
        return found if isinstance(found, str) else None

    async def asession(self, name: str) -> str | None:
        return self.session(name)

    def user(self) -> Any:
        user = self._scope.get("user")
        # Where nobody is logged in Starlette has a user who says so, and Litestar none.
        if user is None or not getattr(user, "is_authenticated", True):
            return None
        for name in ("pk", "id"):
            if (found := getattr(user, name, None)) is not None:
                return found
        return _identity(user)

    async def auser(self) -> Any:
        return self.user()

    def serves(self, function: object) -> bool:
        return self._scope["type"] == "http" and is_behind(function, self._served().view, self.method)

    def is_response(self, result: object) -> bool:
        # Of whatever framework: an answer that was received from somewhere has a status too, but sets no cookies.
        return isinstance(result, Response) or (hasattr(result, "set_cookie") and hasattr(result, "status_code"))

    def _served(self) -> Served:
        # Looked for again only where routing has gone on: it takes a walk through all routes, or a match of Quart's.
        known = tuple(map(self._scope.get, _SAID_BY_ROUTING))
        if known != self._known:
            self._known, self._found = known, served(self._scope, self.path, self._scope[KEY].app)
        return self._found


def _sent_path(scope: AsgiScope) -> str:
    """Return the decoded path as the client sent it; Litestar puts another in its place."""
    sent = scope.get("raw_path") if "route_handler" in scope else None
    return str(scope["path"]) if sent is None else unquote(sent.decode("latin-1"))


def _identity(user: Any) -> str | None:
    try:
        identity: str | None = getattr(user, "identity", None)
    except NotImplementedError:
        return None
    # Starlette's own SimpleUser gives the name as it was typed in.
    is_name = identity is not None and identity == getattr(user, "display_name", None)
    return Personal(identity) if is_name else identity
