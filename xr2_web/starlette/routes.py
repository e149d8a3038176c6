"""Which route serves an ASGI request, as each framework tells it. None of them is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from starlette.types import Scope as AsgiScope

from ..exchange import Registered

_MOST_LAYERS = 50


class Served(NamedTuple):
    """The view that serves a request, the names that rules may call its route by, and what it found in the path."""

    view: Any = None
    names: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = {}


def served(scope: AsgiScope, path: str, app: object) -> Served:
    """Return what serves a request of the application that stands inside of the middleware.

    Starlette and Litestar say so in the scope. Quart does not: its own map of URLs is asked, which takes that the
    application can be seen from here. Elsewhere nothing is known.
    """
    parameters = scope.get("path_params", {})
    if (endpoint := scope.get("endpoint")) is not None:
        # Starlette 1.0 and older do not say which route it was.
        found = [scope["route"]] if "route" in scope else _routes_to(endpoint, scope.get("router"))
        names = (*(getattr(route, "name", None) for route in found), getattr(endpoint, "__name__", None))
        return Served(endpoint, tuple(name for name in names if name), parameters)
    if (handler := scope.get("route_handler")) is not None:
        names = (getattr(handler, "name", None), _name(getattr(handler, "fn", None)))
        return Served(getattr(handler, "fn", None), tuple(name for name in names if name), parameters)
    return _of_url_map(scope, path, app)


def _routes_to(endpoint: object, router: object) -> Iterator[Any]:
    for route in getattr(router, "routes", None) or ():
        if getattr(route, "endpoint", None) is endpoint:
            yield route
        yield from _routes_to(endpoint, route)


def _name(function: object) -> str | None:
    """Return the name of a function, or of the one that runs in a thread for it."""
    name: str | None = getattr(getattr(function, "func", function), "__name__", None)
    return name


def _of_url_map(scope: AsgiScope, path: str, app: object) -> Served:
    for layer in _layers(app):
        if (functions := getattr(layer, "view_functions", None)) is not None:
            endpoint, parameters = _match(layer, scope, path)
            return Served(functions.get(endpoint), (endpoint,) if endpoint else (), parameters)
    return Served()


def registered(app: object) -> Iterator[Registered]:
    """Return the views of the application that stands inside of the middleware, as far as it shows them."""
    for layer in _layers(app):
        for endpoint, view in getattr(layer, "view_functions", {}).items():
            yield Registered(view, (endpoint,))
        yield from _endpoints(getattr(layer, "routes", ()))


def _endpoints(routes: Iterable[Any]) -> Iterator[Registered]:
    for route in routes:
        endpoint = getattr(route, "endpoint", None)
        yield Registered(endpoint, (getattr(route, "name", None), getattr(endpoint, "__name__", None)))
        for handler in getattr(route, "route_handlers", ()):
            view = getattr(handler, "fn", None)
            yield Registered(view, (getattr(handler, "name", None), _name(view)))
        # FastAPI keeps an included router as it was given.
        yield from _endpoints(getattr(getattr(route, "original_router", route), "routes", None) or ())


def _layers(app: object) -> Iterator[Any]:
    for _ in range(_MOST_LAYERS):
        if app is None:
            return
        # Quart's application is reached by its method `asgi_app`, and a middleware keeps what is inside as `app`.
        app = getattr(app, "__self__", app)
        yield app
        app = getattr(app, "app", None)


def _match(app: Any, scope: AsgiScope, path: str) -> tuple[str | None, Mapping[str, Any]]:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    try:
        adapter = app.url_map.bind(host, path_info=path)
        found: tuple[str, Mapping[str, Any]] = adapter.match(
            method=scope.get("method", "GET"), websocket=scope["type"] == "websocket"
        )
    except Exception:  # noqa: BLE001
        # No route, another method, a redirect, or no such map at all.
        return None, {}
    return found
