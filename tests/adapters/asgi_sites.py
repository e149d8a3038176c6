"""What the sites of every ASGI framework share: Starlette's test client, and the middleware as it is installed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import anyio
from starlette.testclient import TestClient

from xr2_web.runtime import Runtime
from xr2_web.starlette import Xr2Middleware

from . import asgi
from .site import Answer, Site

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]


class AsgiSite(Site):
    """``extend`` gets the framework's application."""

    def open(self) -> None:
        self.made: list[Xr2Middleware] = []
        self.app = self.build()
        self.client = TestClient(self.app, raise_server_exceptions=False, follow_redirects=False)
        self.client.__enter__()

    @abstractmethod
    def build(self) -> Any:
        """Build the application with all the neutral views, and with our middleware where it is installed."""

    def install(self, app: Any) -> Xr2Middleware:
        """Put our middleware around an application."""
        self.made.append(Xr2Middleware(app, **self.settings))
        return self.made[-1]

    @property
    def installed(self) -> list[Any]:
        """What puts our middleware around an application, from the outermost on."""
        return [*[self.install] * self.is_installed, *[switched_off] * self.is_twice]

    @property
    def runtime(self) -> Runtime:
        return self.made[0].runtime

    def ask(self, method: str, path: str, headers: Mapping[str, str], *, is_secure: bool) -> Answer:
        self.client.cookies.clear()
        base_url = "https://testserver" if is_secure else "http://testserver"
        response = self.client.request(method, base_url + path, headers=headers)
        return Answer(response.status_code, response.text, response.headers.multi_items(), response)

    def abandon(self, path: str, headers: Mapping[str, str]) -> None:
        anyio.run(asgi.abandon, self.app, path, headers)

    def begin(self, path: str) -> asgi.HeldConnection:
        return asgi.HeldConnection(self.app, path, {}, self._runner.get_loop())

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    def _release(self) -> None:
        try:
            self.client.__exit__(None, None, None)
            if "_runner" in vars(self):
                self._runner.close()
        finally:
            super()._release()


def switched_off(app: Any) -> Xr2Middleware:
    """Put a second middleware of ours around an application, which does nothing on its own."""
    return Xr2Middleware(app, enabled=False)
