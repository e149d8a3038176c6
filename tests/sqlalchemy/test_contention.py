"""Others are in the way: SQLite has one writer at a time."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert
from sqlalchemy.orm import Session

from xr2_web.sqlalchemy.outbox import DatabaseOutbox

from ..outbox.conftest import entry
from .conftest import Kept
from .orders import Order
from .shop import Shop


@pytest.mark.parametrize("place", ["sqlite+pysqlite", "sqlite+aiosqlite"], indirect=True)
def test_an_event_waits_for_another_writer_of_sqlite_for_a_moment_and_its_order_as_before(
    shop: Shop, outbox: DatabaseOutbox, kept: Kept, engine: Engine
) -> None:
    """The connection is the application's."""
    seen: list[tuple[str, int]] = []

    def look(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("BEGIN", "INSERT")):
            cursor.execute("PRAGMA busy_timeout")
            seen.append((" ".join(statement.split()[:3]), cursor.fetchone()[0]))

    def body(session: Session) -> None:
        outbox.write(session.connection(), entry())
        session.execute(insert(Order).values(id=1))

    event.listen(engine, "before_cursor_execute", look)
    shop.transact(body)

    assert seen == [("BEGIN IMMEDIATE", 250), ("INSERT INTO xr2_web_event", 250), ("INSERT INTO orders", 5000)]
    assert kept.in_table() == ["sign_up"]
