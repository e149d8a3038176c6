"""Many couriers at one table."""

from __future__ import annotations

import time
from functools import partial
from threading import Barrier, Thread

from sqlalchemy import Engine, insert

from xr2_web.sqlalchemy import events
from xr2_web.sqlalchemy.clock import database_clock

from .conftest import Kept, MakeDatabase

LIKE_ALL = {"installation": "0123456789ab", "event_name": "sign_up", "body": b"{}", "attempts": 0, "token": ""}


def test_twenty_relays_share_two_thousand_events(make_database: MakeDatabase, plain: Engine, kept: Kept) -> None:
    """Fault: 100 relays on 10,000 rows."""
    traces = [f"evt_{number}" for number in range(2000)]
    with plain.begin() as connection:
        connection.execute(
            insert(events), [{"trace_id": each, "made_at": 0, "due_at": 0, **LIKE_ALL} for each in traces]
        )
    now = partial(database_clock, plain.dialect.name)
    relays = [make_database(clock=time.monotonic, now=now, between=lambda *_: 0.1) for _ in range(20)]
    start = Barrier(len(relays))
    delivered: list[str] = []

    def relay(number: int) -> None:
        start.wait()
        while relays[number].counts().pending:
            while claim := relays[number].claim():
                delivered.append(claim.entry.trace_id)
                relays[number].done(claim)
            relays[number].tend(None)

    threads = [Thread(target=relay, args=(number,)) for number in range(len(relays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(delivered) == sorted(traces)
    assert kept.in_table() == []
