"""SQLAlchemy: events that wait for the commit of the transaction in which they are made, and are written in it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ..engines import Engine as OutboxEngine
from ..engines import offer_engine
from ..errors import ConfigurationError
from ..loops import is_on_a_loop
from .clock import DIALECTS
from .line import line_to
from .outbox import new_database
from .tables import dead_letters, events, metadata
from .transactions import Sessions, follow_transactions

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["create_tables", "dead_letters", "events", "follow_transactions", "keep_events", "metadata"]


def keep_events(engine: Engine | AsyncEngine, sessions: Sessions) -> None:
    """Have ``OUTBOX = "database"`` keep events in the database of ``engine``. Call it once, at start.

    Events made in transactions of the ``sessions``, which are followed (see ``follow_transactions``), are written
    into the table ``xr2_web_event`` just before these commit, so that each stands or falls with its order; all others
    over connections of their own, which are no part of the engine's pool. The engine may be another than that of the
    sessions, as long as both name the same database.

    Events are delivered from threads. With an ``AsyncEngine`` these connect through its driver on event loops of their
    own, two of them, which works with asyncpg, aiosqlite, aiomysql and psycopg; none of its connections is shared. For
    SQLite in memory events wait in memory. Raises ``ConfigurationError`` for other databases than SQLite, PostgreSQL,
    MySQL and MariaDB.
    """
    found = _sync(engine)
    if found.dialect.name not in DIALECTS:
        raise ConfigurationError([f"events cannot be kept in {found.dialect.name}; it is one of {sorted(DIALECTS)}"])
    follow_transactions(sessions)
    offer_engine("database", OutboxEngine(partial(new_database, found)))


def create_tables(engine: Engine | AsyncEngine) -> None:
    """Create the two tables where they are missing. Migrations do it better: ``metadata`` is for Alembic.

    In async code: ``await connection.run_sync(xr2_web.sqlalchemy.metadata.create_all)``. Raises ``RuntimeError`` there.
    """
    if is_on_a_loop():
        raise RuntimeError("on an event loop: await connection.run_sync(xr2_web.sqlalchemy.metadata.create_all)")
    line = line_to(_sync(engine))
    try:
        for is_last in (False, False, True):
            try:
                return line.run(_create, as_one=True)
            except DBAPIError:  # another process that starts has made one since we looked
                if is_last:
                    raise
    finally:
        line.close()


def _sync(engine: Any) -> Engine:
    # Known by what it has: SQLAlchemy's asyncio cannot be imported where greenlet is not installed.
    found: Engine = getattr(engine, "sync_engine", engine)
    return found


def _create(connection: Any) -> None:
    metadata.create_all(connection)
