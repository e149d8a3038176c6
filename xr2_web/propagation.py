"""Carrying a scope where no context follows: into threads and executors of one's own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .scope import Scope, bind, bound, unbind

P = ParamSpec("P")
R = TypeVar("R")


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """Carry the scope bound now, and nothing else of the context, into a thread or an executor."""
    scope = bound()
    if inspect.iscoroutinefunction(function):
        return _propagated_coroutine(function, scope)

    @functools.wraps(function)
    def propagated(*args: P.args, **kwargs: P.kwargs) -> R:
        token = bind(scope)
        try:
            return function(*args, **kwargs)
        finally:
            unbind(token)

    return propagated


def _propagated_coroutine(function: Callable[..., Any], scope: Scope | None) -> Callable[..., Any]:
    @functools.wraps(function)
    async def propagated(*args: Any, **kwargs: Any) -> Any:
        token = bind(scope)
        try:
            return await function(*args, **kwargs)
        finally:
            unbind(token)

    return propagated
