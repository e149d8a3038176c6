"""What is behind a view: through decorators, careful and careless ones, partials, bound methods and classes."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

_DISPATCHERS = ("dispatch", "dispatch_request")
"""What the class-based views of Django, Starlette and Flask have for every method."""

_MOST_LAYERS = 50

_TAKES_ANYTHING = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def is_behind(function: object, view: object, method: str) -> bool:
    """Say whether ``function`` is ``view``, or what its decorators, partials or class lead to for ``method``."""
    for layer in layers(view):
        if layer is function:
            return True
        owner = layer if isinstance(layer, type) else getattr(layer, "view_class", getattr(layer, "cls", None))
        for name in _handlers_of(method):
            if any(each is function for each in layers(getattr(owner, name, None))):
                return True
    return False


def _handlers_of(method: str) -> tuple[str, ...]:
    # Every framework lets ``get`` answer a HEAD where there is no ``head``.
    return (method.lower(), "get" if method == "HEAD" else "", *_DISPATCHERS)


def layers(callable_object: object) -> Iterator[object]:
    """Go down through decorators, partials and bound methods; not for ever, where one leads back to itself."""
    waiting = [callable_object]
    for _ in range(_MOST_LAYERS):
        if not waiting:
            return
        layer = waiting.pop(0)
        if layer is not None:
            yield layer
            waiting += _below(layer)


def _below(layer: Any) -> Iterable[object]:
    for name in ("__func__", "__wrapped__", "func"):
        inner = getattr(layer, name, None)
        if inner is not None:
            return [inner]
    runs = called(layer)
    if not inspect.isfunction(runs):
        return []
    if runs is layer:
        return _held(runs, enclosed(runs))
    return [runs, *_held(runs, attributes(layer).values())]


def _held(function: FunctionType, held: Iterable[object]) -> Iterable[object]:
    """Return what a decorator of the careless kind decorates: it says nothing of it, but holds it all the same.

    It is known by what it takes, which is anything. What a view holds may be functions that it merely calls.
    """
    takes_anything = (function.__code__.co_flags & _TAKES_ANYTHING) == _TAKES_ANYTHING
    return [each for each in held if callable(each) and not _is_proxy(each)] if takes_anything else ()


def _is_proxy(held: object) -> bool:
    """Say whether it pretends to be of another class: to look into it would load a user, or begin a session."""
    return any("__class__" in vars(kind) for kind in type(held).__mro__[:-1])


def enclosed(function: object) -> Iterator[object]:
    """Return what a function took along from where it was defined."""
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # it holds nothing yet
            yield cell.cell_contents


def attributes(holder: object) -> Mapping[str, Any]:
    """Return what an object itself holds, past every proxy: looking into a lazy user would cost a query."""
    try:
        found: Mapping[str, Any] = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return {}
    return found


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that really runs: through partials, and the ``__call__`` of objects."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function):
        return function
    return type(function).__call__
