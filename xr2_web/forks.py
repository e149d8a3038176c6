"""What threads and forks need of each other: a lock that no fork leaves locked, and work that no fork cuts in two."""

from __future__ import annotations

import os
from threading import RLock
from weakref import WeakSet


class ForkLock:
    """A reentrant lock that is free in a forked child, whichever thread of the parent held it at the fork."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = RLock()


holding_off_forks: RLock = RLock()
"""Held while a thread imports: in a child forked in the middle the module would stay locked and half made."""


def _renew_all() -> None:
    for lock in list(_locks):
        lock._renew()


_locks: WeakSet[ForkLock] = WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
    os.register_at_fork(
        before=holding_off_forks.acquire,
        after_in_parent=holding_off_forks.release,
        after_in_child=holding_off_forks.release,
    )
