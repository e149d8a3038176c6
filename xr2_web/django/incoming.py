"""A Django request as the core sees it.

The user is found without a query where possible, and without marking the session as accessed: that would add
``Vary: Cookie`` to a page that does not vary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from ..behind import attributes, enclosed, is_behind, layers
from ..incoming import WAITING
from ..loops import is_on_a_loop

_UNKNOWN = object()


class Incoming:
    """Shows an ``HttpRequest``."""

    __slots__ = ("native",)

    def __init__(self, request: HttpRequest) -> None:
        self.native: HttpRequest = request

    @property
    def method(self) -> str:
        return self.native.method or ""

    @property
    def path(self) -> str:
        return self.native.path_info

    @property
    def route_names(self) -> tuple[str, ...]:
        match = self.native.resolver_match
        return (match.view_name,) if match is not None and match.view_name else ()

    @property
    def route_parameters(self) -> dict[str, Any]:
        match = self.native.resolver_match
        return {} if match is None else dict(match.kwargs)

    def header(self, name: str) -> str | None:
        return self.native.headers.get(name)

    def cookie(self, name: str) -> str | None:
        return self.native.COOKIES.get(name)

    def session(self, name: str) -> Any:
        session: Any = getattr(self.native, "session", None)
        if session is None or session.session_key is None:
            return None
        if not hasattr(session, "_session_cache") and is_on_a_loop():
            return WAITING
        accessed = session.accessed
        found = session.get(name)
        session.accessed = accessed
        return found

    async def asession(self, name: str) -> Any:
        session: Any = getattr(self.native, "session", None)
        if session is None or session.session_key is None:
            return None
        accessed = session.accessed
        found = await session.aget(name)
        session.accessed = accessed
        return found

    def user(self) -> Any:
        """Return the primary key of the user, from what is loaded already where anything is."""
        found = self._loaded_user()
        return self.session(SESSION_KEY) if found is _UNKNOWN else found

    async def auser(self) -> Any:
        found = self._loaded_user()
        return await self.asession(SESSION_KEY) if found is _UNKNOWN else found

    def serves(self, function: object) -> bool:
        match = self.native.resolver_match
        if match is None:
            return False
        found = operations(match.func)
        views = (match.func, *(each.view_func for each in found if self.method in each.methods))
        return any(is_behind(function, view, self.method) for view in views)

    def is_response(self, result: object) -> bool:
        return isinstance(result, HttpResponseBase)

    def _loaded_user(self) -> Any:
        """Return the key of a user object that is there already; login() and logout() put one there."""
        attributes = vars(self.native)
        user = attributes.get("user")
        if isinstance(user, LazyObject):
            wrapped = user.__dict__["_wrapped"]
            user = attributes.get("_acached_user") if wrapped is empty else wrapped
            return _UNKNOWN if user is None else _key(user)
        return _key(user)


def operations(view: object) -> Iterator[Any]:
    """Find the operations of django-ninja that one view of its own serves, by method; it holds what leads to them."""
    for layer in layers(view):
        # A method before django-ninja 1.5, a closure since.
        for held in (getattr(layer, "__self__", None), *enclosed(layer)):
            # Any view may hold something that has operations, of a bank or of a hospital, or only looks like it.
            found = attributes(held).get("operations")
            if isinstance(found, list):
                yield from (each for each in found if attributes(each).keys() >= {"view_func", "methods"})


def _key(user: Any) -> Any:
    if user is None or not user.is_authenticated:
        return None
    found = getattr(user, "pk", None)
    # Django REST framework lets a user be anything.
    return getattr(user, "id", None) if found is None else found
