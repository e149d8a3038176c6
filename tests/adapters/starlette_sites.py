"""The modes of Starlette and FastAPI: async endpoints, and sync ones in the thread pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, UnauthenticatedUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .asgi_sites import METHODS, AsgiSite
from .site import KEY, Page, Refusal, Reply, View, finished
from .views import VIEWS, refused


class Member(BaseUser):
    def __init__(self, name: str) -> None:
        self.display_name = name
        self.identity = f"id-{name}"

    is_authenticated = True
    display_name = identity = ""


class SessionBackend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        # Not conn.session: that would mark the session as accessed on pages that do not ask for the user.
        name = conn.scope["session"].get("name")
        return None if name is None else (AuthCredentials(), Member(name))


class StarlettePage(Page):
    def __init__(self, request: Request, *, is_async: bool) -> None:
        query, path = request.query_params, request.path_params
        super().__init__(is_async=is_async, streams_async=is_async, method=request.method, query=query, path=path)
        self._request = request

    async def login(self, name: str) -> str:
        self._request.session["name"] = name
        member = self._request.scope["user"] = Member(name)
        return member.identity

    async def logout(self) -> None:
        self._request.session.clear()
        self._request.scope["user"] = UnauthenticatedUser()


class StarletteSite(AsgiSite):
    """``extend`` gets the application; ``outer`` and ``inner`` middleware stand outside and inside of ours."""

    def __init__(
        self,
        *args: Any,
        outer: list[Middleware] | None = None,
        inner: list[Middleware] | None = None,
        **keywords: Any,
    ) -> None:
        sessions = [
            Middleware(SessionMiddleware, secret_key=KEY),
            Middleware(AuthenticationMiddleware, backend=SessionBackend()),
        ]
        self._outer = sessions if outer is None else outer
        self._inner = inner or []
        super().__init__(*args, **keywords)

    def build(self) -> Any:
        app = self.make([*self._outer, *map(Middleware, self.installed), *self._inner])
        app.add_exception_handler(Refusal, lambda request, exc: responded(refused()))
        self.extend(app)
        return app

    def make(self, middleware: list[Middleware]) -> Any:
        """Build the application with all the neutral views."""
        routes = [Route(view.path, self._native(view), name=view.name, methods=METHODS) for view in VIEWS]
        return Starlette(routes=routes, middleware=middleware)

    def _native(self, view: View) -> Callable[..., Any]:
        if self.is_async:

            async def aview(request: Request) -> Response:
                return responded(await view.function(StarlettePage(request, is_async=True)))

            return view.native(aview)

        def sync_view(request: Request) -> Response:
            return responded(finished(view.function(StarlettePage(request, is_async=False))))

        return view.native(sync_view)


def responded(reply: Reply) -> Response:
    if reply.body is not None:
        return StreamingResponse(reply.body, reply.status, dict(reply.headers), "text/plain")
    return Response(reply.text, reply.status, dict(reply.headers), "text/plain")


class StarletteAsync(StarletteSite):
    is_async = streams_async = True


class StarletteThread(StarletteSite):
    is_async = streams_async = False
