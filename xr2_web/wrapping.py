"""Wrapping any callable so that somebody sees what it returned: one shell for each kind of callable.

The wrapper keeps the signature, and a generator stays a generator. The watcher enters once, at the call, or at the
first step of a generator; an exception of the wrapped callable passes through untouched, and it is never called twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from .behind import called, layers

HANDLERS = ("get", "head", "options", "trace", "post", "put", "patch", "delete")


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


class Shell(Protocol):
    """Makes the wrapper of one kind of callable; what the watcher is shown is ``shown``, or else the wrapper."""

    def __call__(self, function: Callable[..., Any], watcher: Watcher, shown: Any = None) -> Callable[..., Any]: ...


def wrap(function: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    """Return ``function`` watched, of the same kind and with the same signature."""
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(wrap(function.__func__, watcher))
    if not callable(function):
        raise TypeError(f"a {type(function).__name__} cannot be watched; decorate a function, a method or a class")
    wrapper = _shell_for(function)(function, watcher)
    functools.update_wrapper(wrapper, function)
    with contextlib.suppress(ValueError, TypeError):  # a builtin that has none
        wrapper.__signature__ = _signature(function)  # type: ignore[attr-defined]
    return wrapper


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with its annotations resolved, as far as they can be.

    FastAPI before 0.123 looks their names up in the module of the wrapper, which is this one.
    """
    stated = inspect.unwrap(function, stop=_has_signature_of_its_own)
    if not isinstance(stated, FunctionType) or _has_signature_of_its_own(stated):
        return _resolved(inspect.signature(function), getattr(inspect.unwrap(called(function)), "__globals__", {}))
    # Kept, since Django's method_decorator decorates the same method anew for every request.
    found = _signatures.get(stated)
    if found is None:
        found = _signatures[stated] = _resolved(inspect.signature(stated), stated.__globals__)
    return found


_signatures: WeakKeyDictionary[FunctionType, inspect.Signature] = WeakKeyDictionary()


def _has_signature_of_its_own(function: object) -> bool:
    return hasattr(function, "__signature__") or isinstance(function, MethodType)


def _resolved(signature: inspect.Signature, names: dict[str, Any]) -> inspect.Signature:
    def resolved(annotation: Any) -> Any:
        # One by one: what is imported for type checkers only must not cost the others.
        with contextlib.suppress(Exception):
            return eval(annotation, names) if isinstance(annotation, str) else annotation
        return annotation

    parameters = [each.replace(annotation=resolved(each.annotation)) for each in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=resolved(signature.return_annotation))


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


def _shell_for(function: Callable[..., Any]) -> Shell:
    runs = called(function)
    if inspect.isasyncgenfunction(runs):
        return _async_generator
    if inspect.isgeneratorfunction(runs):
        return _generator
    return _coroutine if _is_coroutine_function(runs) else _function


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    # Before Python 3.12 asgiref and asyncio mark functions that return coroutines in their own way.
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    is_marked = mark is not None and getattr(function, "_is_coroutine", None) is mark
    return is_marked or inspect.iscoroutinefunction(function)


def _function(function: Callable[..., Any], watcher: Watcher, shown: Any = None) -> Callable[..., Any]:
    unfinished = _unfinished(function)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        entered = watcher.enter()
        result = function(*args, **kwargs)
        shell = unfinished.get(type(result))
        if shell is not None:
            return shell(lambda *_, **__: result, watcher, wrapper)(*args, **kwargs)
        watcher.leave(entered, Call(args, kwargs, result), wrapper)
        return result

    return wrapper


def _unfinished(function: Callable[..., Any]) -> dict[type, Shell]:
    """Return what a result may be that is still to be run, where a decorator hides of which kind the function is."""
    found = [*layers(function)]
    shells: dict[type, Shell] = {CoroutineType: _coroutine}
    # A function that is not one may return a generator too, and has done its work by then.
    if any(map(inspect.isgeneratorfunction, found)):
        shells[GeneratorType] = _generator
    if any(map(inspect.isasyncgenfunction, found)):
        shells[AsyncGeneratorType] = _async_generator
    return shells


def _coroutine(function: Callable[..., Any], watcher: Watcher, shown: Any = None) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        entered = watcher.enter()
        result = await function(*args, **kwargs)
        await watcher.aleave(entered, Call(args, kwargs, result), shown or wrapper)
        return result

    return wrapper


def _generator(function: Callable[..., Any], watcher: Watcher, shown: Any = None) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        entered = watcher.enter()
        result = yield from function(*args, **kwargs)
        watcher.leave(entered, Call(args, kwargs, result), shown or wrapper)
        return result

    return wrapper


def _async_generator(function: Callable[..., Any], watcher: Watcher, shown: Any = None) -> Callable[..., Any]:
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
        await watcher.aleave(entered, Call(args, kwargs, None), shown or wrapper)

    return wrapper
