"""FastAPI's two modes, on top of Starlette's."""

# No future annotations here: the sites of Starlette have them, so both kinds are covered.
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from .asgi_sites import METHODS
from .starlette_sites import StarletteSite
from .views import VIEWS


class FastApiSite(StarletteSite):
    def make(self, middleware: list[Middleware]) -> Any:
        app = FastAPI(middleware=middleware)
        for view in VIEWS:
            options = {"name": view.name, "methods": METHODS, "include_in_schema": False}
            app.add_api_route(view.path, self._native(view), response_model=None, **options)
        return app


class FastApiAsync(FastApiSite):
    is_async = streams_async = True


class FastApiSync(FastApiSite):
    is_async = streams_async = False
