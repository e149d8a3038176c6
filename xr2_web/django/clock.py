"""The clock of the database: the one that all hosts who share a table agree on."""

from __future__ import annotations

from typing import Any

from django.db import NotSupportedError
from django.db.models import Expression, FloatField

_SECONDS = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    # Not CLOCK_TIMESTAMP(): with a volatile function no index is used. Not NOW(): a transaction may last.
    "postgresql": "(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())::double precision)",
    # Not UNIX_TIMESTAMP(NOW(6)): where the server's time zone has a summer, an hour of each year is there twice.
    "mysql": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) * 1e-6)",
}

VENDORS = frozenset(_SECONDS)
"""The databases whose clock can be read; ``mysql`` is MariaDB too."""


class DatabaseClock(Expression):
    """Seconds since the epoch, read by the database while it runs the statement."""

    def __init__(self) -> None:
        super().__init__(output_field=FloatField())

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return what this database calls it."""
        if connection.vendor not in VENDORS:
            raise NotSupportedError(f"events cannot be kept in {connection.display_name}")
        return _SECONDS[connection.vendor], []
