"""A property made once, however many threads ask for it first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from .forks import ForkLock

T = TypeVar("T")

_making = ForkLock()


class once(Generic[T]):
    """Like ``functools.cached_property`` with a lock: no second object is made, and no fork leaves it locked.

    That of Python 3.11 has a lock too, but one that a child forked meanwhile waits for in vain.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> once[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> once[T] | T:
        if instance is None:
            return self
        with _making:
            made = instance.__dict__
            if self._name not in made:
                made[self._name] = self._make(instance)
            value: T = made[self._name]
            return value
