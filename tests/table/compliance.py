"""The compliance suite of all outboxes, over one in a table. Wants the fixture ``make_database``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from xr2_web.outbox import Outbox
from xr2_web.outbox.backed import Backed
from xr2_web.outbox.memory import MemoryOutbox

from ..outbox.conftest import Clock, MakeOutbox, entry, taken
from ..outbox.test_compliance import *  # noqa: F403


@pytest.fixture
def make_outbox(make_database: Callable[..., Outbox]) -> MakeOutbox:
    """As an application has it: what the table cannot take another outbox does, events of finalizers for one."""

    def make(most: int, clock: Clock) -> Outbox:
        spare = MemoryOutbox(most, clock=clock)
        return Backed(make_database(most), spare, what="the table", instead="memory", clock=clock)

    return make


@pytest.fixture
def outbox(make_outbox: MakeOutbox, clock: Clock) -> Outbox:
    return make_outbox(10_000, clock)


def test_a_due_retry_goes_before_newer_events(outbox: Outbox, clock: Clock) -> None:
    """Newer than its due date: the table is read in the order in which events are due."""
    outbox.put(entry(1))
    outbox.retry(taken(outbox), 1.0)
    clock.now += 1.0
    outbox.put(entry(2))

    first = taken(outbox)

    assert first.entry == entry(1)


@pytest.fixture
def for_each_thread() -> int:
    return 50
