"""The database is down, or hangs: at the insert, at the claim, at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from threading import Thread

import pytest
from sqlalchemy import Engine, create_engine

import xr2_web
from xr2_web import Receipt
from xr2_web.outbox import Declined, Entry, Put
from xr2_web.outbox.backed import LOOK_AGAIN, Backed
from xr2_web.outbox.folder import installation
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.runtime import Runtime
from xr2_web.sqlalchemy import keep_events
from xr2_web.sqlalchemy.line import PATIENCE
from xr2_web.sqlalchemy.outbox import DatabaseOutbox

from ..conftest import RuntimeMaker
from ..local_xr2 import LocalXr2
from ..outbox.conftest import Clock, entry, taken
from .conftest import Kept, MakeDatabase
from .databases import Database
from .gate import Gate
from .shop import Shop

pytestmark = pytest.mark.parametrize(
    "place", ["postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql"], indirect=True
)


@pytest.fixture
def gate(place: Database, plain: Engine) -> Iterator[Gate]:
    gate = Gate(place.plain_url.host or "", place.plain_url.port or 0)
    yield gate
    gate.close()


@pytest.fixture
def engine(place: Database, gate: Gate) -> Engine:
    return create_engine(place.url.set(host="127.0.0.1", port=gate.port))


@pytest.fixture
def runtime(shop: Shop, make_runtime: RuntimeMaker) -> Runtime:
    keep_events(shop.engine, shop.sessions)
    return make_runtime(outbox="database")


def fetched(runtime: Runtime) -> str:
    with xr2_web.scope(runtime=runtime):
        return xr2_web.get_prompt("welcome").trace_id or ""


def arrived(local_xr2: LocalXr2) -> set[str]:
    return {event["event_name"] for event in local_xr2.events()}


def test_down_at_the_insert_it_leaves_the_event_to_the_spool(
    runtime: Runtime, gate: Gate, kept: Kept, local_xr2: LocalXr2
) -> None:
    """Fault: database down at the insert (spool takes it)."""
    gate.shut()

    with xr2_web.scope(runtime=runtime):
        xr2_web.get_prompt("welcome")
        receipt = xr2_web.track_event("paid")
    flushed = runtime.flush(10)

    assert receipt == Receipt(accepted=True)
    assert (flushed.left, arrived(local_xr2), kept.in_table()) == (0, {"paid"}, [])


def test_back_again_it_gets_what_another_took(
    make_database: MakeDatabase, clock: Clock, gate: Gate, kept: Kept
) -> None:
    backed = Backed(make_database(), MemoryOutbox(10, clock=clock), what="the table", instead="memory", clock=clock)
    gate.shut()
    put = backed.put(entry())

    gate.open()
    clock.now += LOOK_AGAIN
    backed.tend(None)

    assert put is Put.ACCEPTED
    assert kept.in_table() == ["sign_up"]


def test_down_at_the_claim_it_keeps_the_events(
    runtime: Runtime, plain: Engine, gate: Gate, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault: database down at the claim."""
    elsewhere = DatabaseOutbox(plain, installation(local_xr2.base_url, local_xr2.api_key), most_events=10)
    trace_id = fetched(runtime)
    body = {"trace_id": trace_id, "event_name": "paid", "source_name": "elsewhere"}
    elsewhere.put(Entry(trace_id, "paid", json.dumps(body).encode(), time.time()))
    elsewhere.close()
    gate.shut()
    runtime.flush(0.5)
    before = arrived(local_xr2)

    gate.open()
    flushed = runtime.flush(20)

    assert before == set()
    assert (runtime.counts["delivered"], flushed.left, arrived(local_xr2)) == (1, 0, {"paid"})
    assert "xr2_web.outbox_failed: the table xr2_web_event" in caplog.text


def test_hanging_it_has_one_request_wait_and_no_other(make_database: MakeDatabase, clock: Clock, gate: Gate) -> None:
    outbox = make_database(clock=time.monotonic)
    backed = Backed(outbox, MemoryOutbox(10, clock=clock), what="the table", instead="memory", clock=clock)
    backed.put(entry(1))
    gate.block()
    victim = Thread(target=backed.put, args=(entry(2),))
    victim.start()
    assert gate.holds.wait(10)

    began = time.monotonic()
    puts = [backed.put(entry(number)) for number in range(3, 103)]
    seconds = time.monotonic() - began
    gate.open()
    victim.join()

    assert puts == [Put.ACCEPTED] * 10 + [Put.FULL] * 90
    # One for as long as a request may wait for another, and none after it.
    assert seconds < 2.0
    assert backed.counts().pending == 12


def test_hanging_it_does_not_hold_up_the_end(make_database: MakeDatabase, gate: Gate) -> None:
    outbox = make_database(clock=time.monotonic)
    outbox.put(entry())
    outbox.done(taken(outbox))
    gate.block()
    victim = Thread(target=outbox.oldest)
    victim.start()
    assert gate.holds.wait(10)

    began = time.monotonic()
    with pytest.raises(Declined):
        outbox.counts()
    outbox.close()
    seconds = time.monotonic() - began
    gate.open()
    victim.join()

    assert seconds < 2 * PATIENCE


class Answer:
    """What somebody gets who asks a database that hangs, if he gets any while it does."""

    def __init__(self, ask: Callable[[], object], gate: Gate) -> None:
        self.given: object = None
        thread = Thread(target=self._run, args=(ask,))
        gate.block()
        thread.start()
        thread.join(10)
        self.is_late = thread.is_alive()
        gate.open()
        thread.join()

    def _run(self, ask: Callable[[], object]) -> None:
        try:
            self.given = ask()
        except Exception as exc:  # noqa: BLE001
            self.given = type(exc)


def test_hanging_it_is_not_counted_for_long(
    outbox: DatabaseOutbox, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xr2_web.table.hanging.ANSWERED_WITHIN", 0.2)
    outbox.put(entry())

    answer = Answer(outbox.counts, gate)

    assert not answer.is_late
    assert answer.given is TimeoutError


def test_hanging_it_is_not_told_for_long_what_has_left(
    outbox: DatabaseOutbox, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xr2_web.table.hanging.ANSWERED_WITHIN", 0.2)
    outbox.put(entry())
    outbox.done(taken(outbox))

    answer = Answer(outbox.close, gate)

    assert not answer.is_late
