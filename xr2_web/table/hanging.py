"""A database that hangs: nobody can interrupt a driver that waits for it, but who has asked need not wait as well."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from ..forks import is_before_fork
from ..outbox import Declined

T = TypeVar("T")

ANSWERED_WITHIN = 3.0
"""Seconds in all for which who counts what is there waits for the database, and who ends."""


class Ending(Declined):
    """No thread can be started any more: the interpreter exits."""


def in_time(work: Callable[[], T]) -> T:
    """Do something in a thread of its own. Raises ``TimeoutError`` where it takes too long, and then it goes on.

    Raises ``Ending`` where nothing was begun. In uWSGI's master, where no thread may run, it takes what it takes.
    """
    if is_before_fork():
        return work()
    future: Future[T] = Future()
    try:
        # No ``Thread``, the start of which waits until it runs: that may be long in a busy process.
        _thread.start_new_thread(_settle, (future, work))
    except RuntimeError as exc:
        raise Ending("the interpreter exits") from exc
    try:
        return future.result(ANSWERED_WITHIN)
    except TimeoutError:
        if future.done():
            raise
        raise TimeoutError(f"the database has not answered within {ANSWERED_WITHIN:g} s") from None


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as exc:  # noqa: BLE001 - who has asked raises it, if it still waits
        future.set_exception(exc)
