"""What an error of SQLite says of a spool file."""

from __future__ import annotations

import sqlite3


def is_busy(exc: Exception) -> bool:
    """Tell whether an error means only that somebody else is at the file: it may be had in a moment."""
    return getattr(exc, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def is_damage(exc: sqlite3.Error) -> bool:
    """Tell whether an error means that the file itself is broken."""
    return getattr(exc, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
