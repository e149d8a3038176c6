"""Which errors of a database driver say only that others were in the way: the same succeeds a moment later."""

from __future__ import annotations

import sqlite3

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
