"""The clock of the database: the one that all hosts who share a table agree on."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Double, literal_column

# Not UNIX_TIMESTAMP(NOW(6)): where the server's time zone has a summer, an hour of each year is there twice.
_MYSQL = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) * 1e-6)"

_SECONDS = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    # Not CLOCK_TIMESTAMP(): with a volatile function no index is used. Not NOW(): a transaction may last.
    "postgresql": "CAST(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) AS DOUBLE PRECISION)",
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}

DIALECTS = frozenset(_SECONDS)
"""The databases whose clock can be read."""


def database_clock(dialect: str) -> ColumnElement[float]:
    """Return the seconds since the epoch, as the database finds them while it runs the statement."""
    return literal_column(_SECONDS[dialect], Double())
