"""The tables of ``OUTBOX = "database"``: events that wait, and dead letters.

Times are seconds since the epoch; all but ``made_at``, the sender's own, by the clock of the database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql

from ..values import EVENT_NAME_LENGTH, TRACE_ID_LENGTH

metadata = MetaData()


def _kept() -> list[Column[Any]]:
    """Return the columns of what is known of an event wherever it is kept."""
    return [
        # SQLite numbers rows by itself only where the key is an INTEGER.
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        # A short hash of the server and the key it was made for: it is never sent with another.
        Column("installation", String(12), nullable=False),
        Column("trace_id", String(TRACE_ID_LENGTH), nullable=False),
        Column("event_name", String(EVENT_NAME_LENGTH), nullable=False),
        # What MySQL calls BLOB ends one byte before the largest event does.
        Column("body", LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb"), nullable=False),
        Column("made_at", Double, nullable=False),
        Column("attempts", Integer, nullable=False),
    ]


# Whatever the database's own defaults are: names of events may be in any script, and transactions are needed.
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in ("mysql", "mariadb")
    for name, value in (("engine", "InnoDB"), ("charset", "utf8mb4"))
}

events = Table(
    "xr2_web_event",
    metadata,
    *_kept(),
    # One that a courier has taken is due again when its lease ends.
    Column("due_at", Double, nullable=False),
    # Who has taken it last; empty where nobody has, or it was put back.
    Column("token", String(16), nullable=False),
    # No unique key: its check would wait for the end of another visitor's transaction.
    Index("xr2_web_event_due", "installation", "due_at", "id"),
    Index("xr2_web_event_trace", "trace_id"),
    **_OPTIONS,
)
"""Events that wait."""

dead_letters = Table(
    "xr2_web_deadletter",
    metadata,
    *_kept(),
    Column("reason", Text, nullable=False),
    Column("died_at", Double, nullable=False),
    **_OPTIONS,
)
"""Events that xR2 has refused, and why."""
