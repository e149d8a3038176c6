"""No accepted event is lost, whatever is killed and whatever fails.

Some seconds of it in the usual run; ``XR2_TEST_CHAOS_MINUTES=10`` makes it ten minutes.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from .ledger import Ledger
from .server import REFUSED_NAME
from .supervisor import Plan, run

MINUTES = float(os.environ.get("XR2_TEST_CHAOS_MINUTES", "0"))


def test_no_accepted_event_is_lost_among_kills_and_faults(tmp_path: Path) -> None:
    """SIGKILL in a loop at random moments with several processes, at a server with every fault that it can have."""
    if MINUTES:
        wanted, plan = 10_000 * MINUTES, new_plan(tmp_path, "spool", seconds=60 * MINUTES, processes=4, rate=60)
    else:
        wanted, plan = 1_000, new_plan(tmp_path, "spool", seconds=13, processes=3, rate=100)

    books = run(plan)

    show(books)
    assert books.complaints == ()
    assert books.lost == frozenset()
    assert not books.waiting
    assert books.wrongly_dead == frozenset()
    assert len(books.accepted) >= wanted
    assert books.kills >= plan.seconds * 0.8
    assert {"gone away", "answered 429", "answered 503", "reset"} <= books.outcomes.keys()


def test_the_books_show_what_an_outbox_in_memory_loses(tmp_path: Path) -> None:
    books = run(new_plan(tmp_path, "memory", seconds=8, processes=2, rate=100))

    show(books)
    assert books.complaints == ()
    assert {event_name for _, event_name in books.lost} == {"sign_up", REFUSED_NAME}
    assert books.arrived


def new_plan(folder: Path, outbox: str, *, seconds: float, processes: int, rate: float) -> Plan:
    return Plan(folder, outbox, seconds=seconds, processes=processes, rate=rate, seed=random.randrange(1_000_000))


def show(books: Ledger) -> None:
    sys.stdout.write(f"\n{books.table()}\n")
