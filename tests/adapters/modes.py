"""The modes that the contract runs in, as parameters of the ``mode`` fixture."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest


@dataclass(frozen=True)
class Mode:
    """One way in which one framework serves views."""

    name: str
    needs: tuple[str, ...]
    module: str
    site: str

    def site_class(self) -> Any:
        return getattr(import_module(f".{self.module}", __package__), self.site)

    @property
    def parameter(self) -> Any:
        missing = [name for name in self.needs if find_spec(name) is None]
        marks = [pytest.mark.skip(reason=f"{missing[0]} is not installed")] if missing else []
        return pytest.param(self, id=self.name, marks=marks)


def _modes(*modes: Mode) -> list[Any]:
    return [mode.parameter for mode in modes]


_DJANGO, _FLASK = ("django", "pytest_django"), ("flask", "flask_login", "asgiref")
_STARLETTE, _FASTAPI = ("starlette", "httpx2"), ("fastapi", "httpx2")
_LITESTAR, _QUART = ("litestar", "cryptography", *_STARLETTE), ("quart", *_STARLETTE)

DJANGO_SYNC = _modes(
    Mode("django-wsgi-sync", _DJANGO, "django_sites", "WsgiSync"),
    Mode("django-asgi-sync", _DJANGO, "django_sites", "AsgiSync"),
)
DJANGO_ASYNC = _modes(
    Mode("django-wsgi-async", _DJANGO, "django_sites", "WsgiAsync"),
    Mode("django-asgi-async", _DJANGO, "django_sites", "AsgiAsync"),
)
DJANGO = [*DJANGO_SYNC, *DJANGO_ASYNC]
FLASK = _modes(
    Mode("flask-sync", _FLASK, "flask_sites", "FlaskSync"),
    Mode("flask-async", _FLASK, "flask_sites", "FlaskAsync"),
)
STARLETTE = _modes(
    Mode("starlette-async", _STARLETTE, "starlette_sites", "StarletteAsync"),
    Mode("starlette-thread", _STARLETTE, "starlette_sites", "StarletteThread"),
)
FASTAPI = _modes(
    Mode("fastapi-async", _FASTAPI, "fastapi_sites", "FastApiAsync"),
    Mode("fastapi-sync", _FASTAPI, "fastapi_sites", "FastApiSync"),
)
LITESTAR = _modes(
    Mode("litestar-async", _LITESTAR, "litestar_sites", "LitestarAsync"),
    Mode("litestar-thread", _LITESTAR, "litestar_sites", "LitestarThread"),
    Mode("litestar-outside", _LITESTAR, "litestar_sites", "LitestarOutside"),
)
QUART = _modes(
    Mode("quart-async", _QUART, "quart_sites", "QuartAsync"),
    Mode("quart-thread", _QUART, "quart_sites", "QuartThread"),
)
ASGI = [*STARLETTE, *FASTAPI, *LITESTAR, *QUART]
ALL = [*DJANGO, *FLASK, *ASGI]
