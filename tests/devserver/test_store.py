from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from xr2_web.devserver.store import ATTEMPTS_KEPT, TRACES_KEPT, Attempt, Store, Trace


def trace(number: int) -> Trace:
    return Trace(f"evt_{number}", "welcome", 1, "tests", fetched_at=float(number))


def accepted(trace_id: str, name: str = "sign_up") -> Attempt:
    return Attempt(1.0, trace_id, name, "tests", event_id="first")


def test_what_is_kept_comes_back_as_it_was(store: Store) -> None:
    kept = Attempt(2.0, "evt_1", "sign_up", "tests", "u", "s", 1.5, "EUR", {"a": [1, None]}, "id", True, True)
    store.add_trace(trace(1))
    store.add_attempt(kept)

    assert store.history() == ([trace(1)], [kept])


def test_a_file_outlives_its_store(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as first:
        first.add_trace(trace(1))

    with closing(Store(tmp_path / "state.sqlite3")) as second:
        assert second.trace("evt_1") == trace(1)


def test_a_file_of_another_version_begins_anew(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as first:
        first.add_trace(trace(1))
    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 99")

    with closing(Store(tmp_path / "state.sqlite3")) as second:
        assert second.history()[0] == []


def test_the_oldest_traces_leave_with_their_events(store: Store) -> None:
    for number in range(TRACES_KEPT + 2):
        store.add_trace(trace(number))
        if number < 3:
            store.add_attempt(accepted(f"evt_{number}"))

    traces, attempts = store.history()
    assert len(traces) == TRACES_KEPT
    assert [each.trace_id for each in attempts] == ["evt_2"]


def test_refusals_and_duplicates_are_bounded_and_never_push_out_an_event(store: Store) -> None:
    store.add_trace(trace(1))
    store.add_attempt(accepted("evt_1"))
    for _ in range(ATTEMPTS_KEPT + 10):
        store.add_attempt(Attempt(1.0, "evt_1", "sign_up", "tests", event_id="first", is_duplicate=True))

    assert store.accepted_id("evt_1", "sign_up") == "first"
    assert len(store.history()[1]) == ATTEMPTS_KEPT + 1


def test_the_database_itself_keeps_one_event_of_a_name(store: Store) -> None:
    store.add_attempt(accepted("evt_1"))

    with pytest.raises(sqlite3.IntegrityError):
        store.add_attempt(accepted("evt_1"))


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    def break_off() -> None:
        with store.transaction():
            store.add_trace(trace(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    assert store.history()[0] == []


def test_threads_and_stores_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    def take(store: Store) -> None:
        with store.transaction():
            if store.accepted_id("evt_1", "sign_up") is None:
                store.add_attempt(accepted("evt_1"))

    path = tmp_path / "state.sqlite3"
    with closing(Store(path)) as one, closing(Store(path)) as other, ThreadPoolExecutor(8) as threads:
        list(threads.map(take, [one, other] * 50))

        assert len(one.history()[1]) == 1
