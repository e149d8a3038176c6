"""Flask's two modes: sync and async views; its bodies are always streamed by sync code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, request
from flask_login import LoginManager, UserMixin, login_user, logout_user

from xr2_web.flask import Xr2
from xr2_web.runtime import Runtime

from .site import Answer, HeldResponse, Page, Refusal, Reply, Site, View, finished
from .views import VIEWS, refused

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]


class Member(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


class FlaskPage(Page):
    def __init__(self, path: Mapping[str, Any], *, is_async: bool) -> None:
        query = request.args.to_dict()
        super().__init__(is_async=is_async, streams_async=False, method=request.method, query=query, path=path)

    async def login(self, name: str) -> str:
        member = Member(f"id-{name}")
        login_user(member)
        return member.id

    async def logout(self) -> None:
        logout_user()


class FlaskSite(Site):
    """``extend`` gets the application before the extension is installed, ``flask`` is configuration of its own."""

    streams_async = False
    shown_key = "XR2_API_KEY"

    def __init__(self, *args: Any, flask: Mapping[str, Any] | None = None, **keywords: Any) -> None:
        self._flask = dict(flask or {})
        super().__init__(*args, **keywords)

    def open(self) -> None:
        app = self.app = Flask(__name__)
        app.secret_key = self.keys[0] if self.keys else None
        app.config["SECRET_KEY_FALLBACKS"] = self.keys[1:]
        app.config.update({f"XR2_{name.upper()}": value for name, value in self.settings.items()}, **self._flask)
        if self.has_users:
            # It reads the session after every request, and so makes every page vary by cookie.
            LoginManager(app).user_loader(Member)
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
        for _ in range(self.is_installed + self.is_twice):
            Xr2(app)

    @property
    def runtime(self) -> Runtime:
        found: Runtime = self.app.extensions["xr2_web"].runtime
        return found

    def ask(self, method: str, path: str, headers: Mapping[str, str], *, is_secure: bool) -> Answer:
        response = self._open(method, path, headers, "https" if is_secure else "http")
        sent = [(name.lower(), value) for name, value in response.headers]
        return Answer(response.status_code, response.get_data(as_text=True), sent, response)

    def abandon(self, path: str, headers: Mapping[str, str]) -> None:
        response = self._open("POST", path, headers, "http")
        next(iter(response.response))
        response.close()

    def begin(self, path: str) -> HeldResponse:
        response = self._open("POST", path, {}, "http")
        return HeldResponse(response, response.response)

    def _open(self, method: str, path: str, headers: Mapping[str, str], scheme: str) -> Any:
        client = self.app.test_client(use_cookies=False)
        return client.open(path, method=method, headers=headers, base_url=f"{scheme}://localhost")

    def _native(self, view: View) -> Callable[..., Any]:
        if self.is_async:

            async def aview(**path: Any) -> Response:
                return responded(await view.function(FlaskPage(path, is_async=True)))

            return view.native(aview)

        def sync_view(**path: Any) -> Response:
            return responded(finished(view.function(FlaskPage(path, is_async=False))))

        return view.native(sync_view)


def responded(reply: Reply) -> Response:
    body = reply.text if reply.body is None else reply.body
    return Response(body, reply.status, dict(reply.headers), mimetype="text/plain")


class FlaskSync(FlaskSite):
    is_async = False


class FlaskAsync(FlaskSite):
    is_async = True
