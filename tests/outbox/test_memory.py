"""What the outbox in memory does beyond the compliance suite."""

from __future__ import annotations

from xr2_web.outbox.memory import MOST_DEAD, MemoryOutbox

from .conftest import entry


def test_dead_letters_are_bounded() -> None:
    outbox = MemoryOutbox(10)

    for number in range(MOST_DEAD + 10):
        outbox.put(entry(number))
        claim = outbox.claim()
        assert claim is not None
        outbox.bury(claim, "refused")

    assert outbox.counts() == (0, MOST_DEAD)
