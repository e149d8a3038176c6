"""Response bodies that see the scope while they are produced, and tell when they have left as a whole.

The scope is bound again for each step: a token that crosses a ``yield`` would bring one visitor's scope back to
life in the request of another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from .scope import Scope, bind, unbind

Finish = Callable[[bool], None]
"""Told once whether the body was produced to its end."""


class Body:
    """An iterable body, with its ``close``."""

    def __init__(self, body: Iterable[Any], scope: Scope, finish: Finish) -> None:
        self._body = body
        self._steps: Iterator[Any] | None = None
        self._scope = scope
        self._finish: Finish | None = finish

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        token = bind(self._scope)
        try:
            if self._steps is None:
                self._steps = iter(self._body)
            return next(self._steps)
        except StopIteration:
            self._end(is_complete=True)
            raise
        finally:
            unbind(token)

    def close(self) -> None:
        """Close the body; one that was not read to its end counts as aborted."""
        token = bind(self._scope)
        try:
            if (close := getattr(self._body, "close", None)) is not None:
                close()
        finally:
            self._end(is_complete=False)
            unbind(token)

    def _end(self, *, is_complete: bool) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(is_complete)


class AsyncBody:
    """An async iterable body, with its ``aclose``."""

    def __init__(self, body: AsyncIterator[Any], scope: Scope, finish: Finish) -> None:
        self._body = body
        self._scope = scope
        self._finish: Finish | None = finish

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        token = bind(self._scope)
        try:
            return await anext(self._body)
        except StopAsyncIteration:
            self._end(is_complete=True)
            raise
        finally:
            unbind(token)

    async def aclose(self) -> None:
        """Close the body; one that was not read to its end counts as aborted."""
        token = bind(self._scope)
        try:
            if (aclose := getattr(self._body, "aclose", None)) is not None:
                await aclose()
        finally:
            self.close()
            unbind(token)

    def close(self) -> None:
        """Note that no more is asked for; frameworks call it without waiting."""
        self._end(is_complete=False)

    def _end(self, *, is_complete: bool) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(is_complete)
