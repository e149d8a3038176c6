"""A time limit that is over in the middle of our code is the task's, and no failure of ours."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xr2_web import track, track_event
from xr2_web.outbox import Entry, Put
from xr2_web.outbox.backed import Backed
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.runtime import Runtime

from .visits import Door

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no such signal here")

ENTRY = Entry("evt_1", "sign_up", b"{}", 1000.0)


class TimeIsUp(Exception):
    """What the limits of RQ and Celery raise, wherever the code happens to be."""


def time_is_up(*_: object) -> None:
    raise TimeIsUp


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, time_is_up)
    yield
    signal.signal(signal.SIGALRM, before)


def end(*_: Any) -> Any:
    """Have the limit be over here."""
    signal.raise_signal(signal.SIGALRM)


class Ending(dict[str, Any]):
    """Metadata in the reading of which the limit is over."""

    items = end  # type: ignore[assignment]


@pytest.mark.parametrize(
    "report",
    [
        lambda: track_event("sign_up", trace_id="evt_1", metadata=Ending(plan="pro")),
        track("sign_up", value=end)(lambda: None),
        track("sign_up", when=end)(lambda: None),
        track("sign_up", metadata=lambda call: Ending(plan="pro"))(lambda: None),
    ],
    ids=["track_event", "a field", "when", "metadata of a function"],
)
def test_it_ends_the_task_while_an_event_is_made(runtime: Runtime, report: Callable[[], object]) -> None:
    with Door(runtime).visit(), pytest.raises(TimeIsUp):
        report()


def test_it_ends_the_task_while_an_event_is_written_and_is_no_failure_of_the_disk() -> None:
    class Slow(MemoryOutbox):
        def put(self, entry: Entry) -> Put:
            end()
            return super().put(entry)

    outbox = Backed(Slow(10), MemoryOutbox(10), what="the spool", instead="memory")

    with pytest.raises(TimeIsUp):
        outbox.put(ENTRY)

    assert outbox.is_well
    assert outbox.counts() == (0, 0)


def test_what_raises_by_itself_is_still_a_receipt(runtime: Runtime) -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise TimeIsUp

    with Door(runtime).visit():
        receipt = track_event("sign_up", trace_id="evt_1", metadata=Broken(plan="pro"))

    assert receipt.reason == "invalid"
