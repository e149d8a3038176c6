"""What threads and forks need of each other: a lock that no fork leaves locked, and work that no fork cuts in two."""

from __future__ import annotations

import logging  # noqa: F401 - its fork hook is to run after ours: who imports may wait for its lock
import os
import sys
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary, WeakSet


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


def new_uncut_lock() -> RLock:
    """Return a reentrant lock that no other thread has while one forks: that one waits until it is released.

    For work in foreign code that has locks of its own, as SQLite's allocator has: for these a child that is forked in
    the middle of it waits for ever. Who takes two takes the older one first, and nothing that imports waits for one.
    """
    lock = RLock()
    _uncut[lock] = None
    return lock


holding_off_forks: RLock = RLock()
"""Held while a thread imports: in a child forked in the middle the module would stay locked and half made."""


def is_before_fork() -> bool:
    """Tell whether this is uWSGI's master, where no thread may run.

    It forks its workers behind Python's back: where another thread has the interpreter at that moment, all of the
    worker waits for that thread, which is not there.
    """
    uwsgi = _uwsgi()
    return uwsgi is not None and uwsgi.worker_id() == 0


def is_heir() -> bool:
    """Tell whether this is uWSGI's first worker, in its first life, which sends what its master has left to it."""
    uwsgi = _uwsgi()
    return uwsgi is not None and uwsgi.worker_id() == 1 and not uwsgi.workers()[0]["respawn_count"]


def _uwsgi() -> Any:
    """Return uWSGI's module, which is there where it runs the application."""
    found = sys.modules.get("uwsgi")
    return found if hasattr(found, "worker_id") and hasattr(found, "workers") else None


def _renew_all() -> None:
    for lock in list(_locks):
        lock._renew()


def _hold_uncut() -> None:
    _held.extend(_taken(lock) for lock in list(_uncut))


def _taken(lock: RLock) -> RLock:
    lock.acquire()
    return lock


def _release_uncut() -> None:
    # Forgotten before they are released: then the next thread that forks begins to hold them.
    held = _held[::-1]
    _held.clear()
    for lock in held:
        lock.release()


_locks: WeakSet[ForkLock] = WeakSet()
_uncut: WeakKeyDictionary[RLock, None] = WeakKeyDictionary()
_held: list[RLock] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
    os.register_at_fork(
        before=holding_off_forks.acquire,
        after_in_parent=holding_off_forks.release,
        after_in_child=holding_off_forks.release,
    )
    # Registered last, hence held first: who has one of these may come to import, who imports takes none of them.
    os.register_at_fork(before=_hold_uncut, after_in_parent=_release_uncut, after_in_child=_release_uncut)
