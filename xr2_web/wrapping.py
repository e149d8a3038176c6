"""Wrapping any callable so that somebody sees what it returned: one shell for each kind of callable.

The wrapper keeps the signature, and a generator stays a generator. The watcher enters once, at the call, or at the
first step of a generator; an exception of the wrapped callable passes through untouched, and it is never called twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

HANDLERS = ("get", "head", "options", "trace", "post", "put", "patch", "delete")

_MOST_LAYERS = 50


class Call(NamedTuple):
    """One finished call, or one response, as the callables of ``track`` see it."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    request: Any = None
    exception: BaseException | None = None


class Watcher(Protocol):
    """Who wants to see the calls of a function."""

    def enter(self) -> Any:
        """Take what must be remembered from the moment of the call."""

    def leave(self, entered: Any, call: Call, function: Callable[..., Any]) -> None:
        """See a call that returned normally; ``function`` is the wrapper."""

    async def aleave(self, entered: Any, call: Call, function: Callable[..., Any]) -> None:
        """See a call of async code that returned normally."""


def wrap(function: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    """Return ``function`` watched, of the same kind and with the same signature."""
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(wrap(function.__func__, watcher))
    if not callable(function):
        raise TypeError(f"a {type(function).__name__} cannot be watched; decorate a function, a method or a class")
    wrapper = _shell_for(function)(function, watcher)
    functools.update_wrapper(wrapper, function)
    with contextlib.suppress(NameError, ValueError, TypeError):
        # FastAPI before 0.123 looks the names of annotations up in the module of the wrapper, which is this one.
        wrapper.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return wrapper


def wrap_handlers(owner: type, watcher: Watcher, methods: frozenset[str]) -> None:
    """Watch the handlers of a class-based view that serve one of ``methods`` (capitals).

    Raises ``TypeError`` where there are none: the event could never happen.
    """
    found = [name for name in HANDLERS if callable(getattr(owner, name, None))]
    counting = [name for name in found if name.upper() in methods]
    if not counting:
        handlers = ", ".join(sorted(map(str.lower, methods)))
        hint = "say methods={'GET'} if opening the page is the event" if found else "decorate the method that counts"
        raise TypeError(f"{owner.__qualname__} has none of the handlers {handlers}; {hint}")
    for name in counting:
        setattr(owner, name, wrap(inspect.getattr_static(owner, name), watcher))


def is_behind(function: object, view: object, method: str) -> bool:
    """Say whether ``function`` is ``view``, or what its decorators, partials or class lead to for ``method``."""
    for layer in _layers(view):
        if layer is function:
            return True
        owner = layer if isinstance(layer, type) else getattr(layer, "view_class", getattr(layer, "cls", None))
        if any(each is function for each in _layers(getattr(owner, method.lower(), None))):
            return True
    return False


def _layers(callable_object: object) -> Iterator[object]:
    """Go down through decorators, partials and bound methods; not for ever, where one leads back to itself."""
    for _ in range(_MOST_LAYERS):
        if callable_object is None:
            return
        callable_object = getattr(callable_object, "__func__", callable_object)
        yield callable_object
        callable_object = getattr(callable_object, "__wrapped__", getattr(callable_object, "func", None))


def _shell_for(function: Callable[..., Any]) -> Callable[[Callable[..., Any], Watcher], Callable[..., Any]]:
    called = _called(function)
    if inspect.isasyncgenfunction(called):
        return _async_generator
    if inspect.isgeneratorfunction(called):
        return _generator
    return _coroutine if _is_coroutine_function(called) else _function


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that really runs: through partials, and the ``__call__`` of objects."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function):
        return function
    return type(function).__call__


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    # Before Python 3.12 asgiref and asyncio mark functions that return coroutines in their own way.
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    is_marked = mark is not None and getattr(function, "_is_coroutine", None) is mark
    return is_marked or inspect.iscoroutinefunction(function)


def _function(function: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        entered = watcher.enter()
        result = function(*args, **kwargs)
        if type(result) is CoroutineType:  # a decorator below hid an async function
            return finished(entered, result, args, kwargs)
        watcher.leave(entered, Call(args, kwargs, result), wrapper)
        return result

    async def finished(entered: Any, awaitable: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = await awaitable
        await watcher.aleave(entered, Call(args, kwargs, result), wrapper)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        entered = watcher.enter()
        result = await function(*args, **kwargs)
        await watcher.aleave(entered, Call(args, kwargs, result), wrapper)
        return result

    return wrapper


def _generator(function: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        entered = watcher.enter()
        result = yield from function(*args, **kwargs)
        watcher.leave(entered, Call(args, kwargs, result), wrapper)
        return result

    return wrapper


def _async_generator(function: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        entered = watcher.enter()
        inner = function(*args, **kwargs)
        try:
            item = await anext(inner)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as exc:  # noqa: BLE001
                    item = await inner.athrow(exc)
                else:
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            pass
        finally:
            await inner.aclose()
        await watcher.aleave(entered, Call(args, kwargs, None), wrapper)

    return wrapper
