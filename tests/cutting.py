"""Exceptions in the middle of our code, as a signal's handler raises them: a time limit of a task queue, or Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any


class TimeIsUp(Exception):
    """What a time limit raises, wherever the code happens to be."""


def is_cut_off(action: Callable[[], object], at: int) -> bool:
    """Run ``action``, and cut it off at the place with this number, counted from 0; False where it has not so many.

    The places are those where the interpreter looks for signals: as a function begins, and as a call returns.
    """
    places = iter(range(at, -1, -1))

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_return") and frame.f_code is not is_cut_off.__code__ and next(places, 0) == 0:
            sys.setprofile(None)
            raise TimeIsUp

    sys.setprofile(look)
    try:
        action()
    except TimeIsUp:
        return True
    finally:
        sys.setprofile(None)
    return False


def each_cut(new_action: Callable[[], Callable[[], object]]) -> Iterator[int]:
    """Cut a new action off at each of its places in turn, and yield the place after each."""
    for at in count():
        if not is_cut_off(new_action(), at):
            return
        yield at
