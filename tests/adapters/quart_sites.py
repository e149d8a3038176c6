"""Quart's two modes: async views, and sync ones in threads.

Its sessions are not in the ASGI scope. So who is logged in is put there by the application and named by USER_ID, and
where the session carries it is Starlette's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from quart import Quart, Response, request, session
from starlette.middleware.sessions import SessionMiddleware

from .asgi_sites import METHODS, AsgiSite
from .site import KEY, Page, Refusal, Reply, View, finished
from .views import VIEWS, refused


def member(connection: Any) -> str | None:
    """Name the user, as a USER_ID of an application of Quart does."""
    found: str | None = connection.scope.get("member")
    return found


async def remember_member() -> None:
    request.scope["member"] = session.get("member")


class QuartPage(Page):
    def __init__(self, path: Mapping[str, Any], *, is_async: bool) -> None:
        query = request.args.to_dict()
        super().__init__(is_async=is_async, streams_async=is_async, method=request.method, query=query, path=path)

    async def login(self, name: str) -> str:
        session["member"] = request.scope["member"] = f"id-{name}"
        return f"id-{name}"

    async def logout(self) -> None:
        session.clear()
        request.scope["member"] = None


class QuartSite(AsgiSite):
    def build(self) -> Any:
        app = Quart(__name__)
        if self.has_users:
            # Without a key there are no sessions: from 0.23 on they have every page vary by cookie.
            app.secret_key = KEY
        if self.has_users:
            app.before_request(remember_member)
            self.settings.setdefault("user_id", member)
        for view in VIEWS:
            app.add_url_rule(
                re.sub(r"\{(\w+)\}", r"<\1>", view.path),
                endpoint=view.name,
                view_func=self._native(view),
                methods=METHODS,
                provide_automatic_options=False,
            )
        app.register_error_handler(Refusal, lambda exc: responded(refused()))
        self.extend(app)
        for install in reversed(self.installed):
            app.asgi_app = install(app.asgi_app)
        if self.settings.get("carry") == "session":
            app.asgi_app = SessionMiddleware(app.asgi_app, KEY, session_cookie="carried")
        return app

    def _native(self, view: View) -> Callable[..., Any]:
        if self.is_async:

            async def aview(**path: Any) -> Response:
                return responded(await view.function(QuartPage(path, is_async=True)))

            return view.native(aview)

        def sync_view(**path: Any) -> Response:
            return responded(finished(view.function(QuartPage(path, is_async=False))))

        return view.native(sync_view)


def responded(reply: Reply) -> Response:
    body = reply.text if reply.body is None else reply.body
    return Response(body, reply.status, dict(reply.headers), mimetype="text/plain")


class QuartAsync(QuartSite):
    is_async = streams_async = True


class QuartThread(QuartSite):
    is_async = streams_async = False
