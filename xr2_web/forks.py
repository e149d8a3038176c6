"""What threads and forks need of each other: a lock that no fork leaves locked, and work that no fork cuts in two."""

from __future__ import annotations

import logging  # noqa: F401 - its fork hook is to run after ours: who imports may wait for its lock
import os
import sys
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

PATIENCE = 0.05
"""Seconds that who forks waits for a lock while it holds others."""


def ForkLock() -> RLock:  # noqa: N802 - as ``threading.RLock``, which is none of Python's classes either
    """Return a reentrant lock that is free in a forked child, whichever thread of the parent held it at the fork.

    It is the interpreter's own: an exception that a signal's handler raises comes before or after what that does, while
    within an ``__enter__`` in Python it would leave the lock locked for ever.
    """
    lock = RLock()
    _locks.add(lock)
    return lock


def new_uncut_lock() -> RLock:
    """Return a reentrant lock that no other thread has while one forks: that one waits until it is released.

    For work in foreign code that has locks of its own, as SQLite's allocator has: for these a child that is forked in
    the middle of it waits for ever. Who takes two takes the older one first.
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
        lock._at_fork_reinit()  # type: ignore[attr-defined]


def _hold_all() -> None:
    missed: RLock | None = holding_off_forks
    while missed is not None:
        missed = _missed_after(missed)


def _missed_after(first: RLock) -> RLock | None:
    """Take a lock, however long that takes, and then all others; where one does not come free, return it and take none.

    Its owner may wait for one of those: a finalizer, which can run in the middle of an import, tracks an event.
    """
    first.acquire()
    taken = [first]
    for lock in (holding_off_forks, *list(_uncut)):
        if not lock.acquire(timeout=PATIENCE):
            _release(taken)
            return lock
        taken.append(lock)
    _held.extend(taken)
    return None


def _release_all() -> None:
    # Forgotten before they are released: then the next thread that forks begins to hold them.
    held = _held[:]
    _held.clear()
    _release(held)


def _release(locks: list[RLock]) -> None:
    for lock in reversed(locks):
        lock.release()


_locks: WeakSet[RLock] = WeakSet()
_uncut: WeakKeyDictionary[RLock, None] = WeakKeyDictionary()
_held: list[RLock] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
    os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_release_all)
