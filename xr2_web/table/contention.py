"""Others who are in the way: which errors of a driver say only that, and for how long a request waits for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 0.25
"""Seconds that a request waits for another that puts an event, or, in SQLite, for another who writes at all."""

_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available (PostgreSQL, appendix A)."""

_MYSQL = frozenset({1205, 1213})
"""A lock was not to be had in time; deadlock (MariaDB's error codes)."""


def is_contention(error: BaseException | None) -> bool:
    """Tell whether what the driver raised is the victim's lot of a deadlock, or a lock of somebody else's."""
    if error is None:
        return False
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return True
    if getattr(error, "sqlstate", None) in _SQLSTATES:
        return True
    return bool(error.args) and error.args[0] in _MYSQL


@contextmanager
def impatient(execute: Callable[[str], Any]) -> Iterator[None]:
    """Have a connection of SQLite wait for others no longer than a request may, for a block; it may be anybody's."""
    before = execute("PRAGMA busy_timeout").fetchone()[0]
    execute(f"PRAGMA busy_timeout = {min(before, round(PATIENCE * 1000))}")
    try:
        yield
    finally:
        execute(f"PRAGMA busy_timeout = {before}")
