"""Litestar's modes: async handlers, sync ones in threads, and the middleware outside of the whole application."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.response import Stream

from .asgi_sites import METHODS, AsgiSite
from .site import KEY, Page, Refusal, Reply, View, finished
from .views import VIEWS, refused


@dataclass
class Member:
    """A user as applications have them; Litestar asks nothing of it."""

    id: str


def with_user(app: Any) -> Any:
    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        name = scope["session"].get("name")
        scope["user"] = None if name is None else Member(f"id-{name}")
        await app(scope, receive, send)

    return middleware


class LitestarPage(Page):
    def __init__(self, request: Request[Any, Any, Any], *, is_async: bool) -> None:
        query, path = dict(request.query_params), request.path_params
        super().__init__(is_async=is_async, streams_async=is_async, method=request.method, query=query, path=path)
        self._request = request

    async def login(self, name: str) -> str:
        self._request.session["name"] = name
        member = self._request.scope["user"] = Member(f"id-{name}")
        return member.id

    async def logout(self) -> None:
        self._request.clear_session()
        self._request.scope["user"] = None


class LitestarSite(AsgiSite):
    is_outside: ClassVar[bool] = False

    def build(self) -> Any:
        app = self.framework = Litestar(
            [self._handler(view) for view in VIEWS],
            middleware=[
                CookieBackendConfig(secret=KEY[:32].encode()).middleware,
                with_user,
                *([] if self.is_outside else map(DefineMiddleware, self.installed)),
            ],
            exception_handlers={Refusal: lambda request, exc: responded(refused())},
            logging_config=None,
            openapi_config=None,
        )
        self.extend(app)
        outermost: Any = app
        for install in reversed(self.installed if self.is_outside else []):
            outermost = install(outermost)
        return outermost

    def _handler(self, view: View) -> HTTPRouteHandler:
        path = re.sub(r"\{(\w+)\}", r"{\1:str}", view.path)
        threads = {} if self.is_async else {"sync_to_thread": True}
        return HTTPRouteHandler(path, http_method=METHODS, name=view.name, **threads)(self._native(view))

    def _native(self, view: View) -> Callable[..., Any]:
        if self.is_async:

            async def aview(request: Request[Any, Any, Any]) -> Response[Any]:
                return responded(await view.function(LitestarPage(request, is_async=True)))

            return view.native(aview)

        def sync_view(request: Request[Any, Any, Any]) -> Response[Any]:
            return responded(finished(view.function(LitestarPage(request, is_async=False))))

        return view.native(sync_view)


def responded(reply: Reply) -> Response[Any]:
    options: Any = {"status_code": reply.status, "headers": dict(reply.headers), "media_type": "text/plain"}
    return Response(reply.text, **options) if reply.body is None else Stream(reply.body, **options)


class LitestarAsync(LitestarSite):
    is_async = streams_async = True


class LitestarThread(LitestarSite):
    is_async = streams_async = False


class LitestarOutside(LitestarSite):
    is_async = streams_async = is_outside = True
