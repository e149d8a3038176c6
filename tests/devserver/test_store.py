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


@pytest.mark.parametrize("version", [0, 1])
def test_a_file_that_several_make_at_once_keeps_what_each_has_written(tmp_path: Path, version: int) -> None:
    for number in range(5):
        path = tmp_path / f"state-{number}.sqlite3"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")

        def write(which: int, path: Path = path) -> None:
            with closing(Store(path)) as store, store.transaction():
                store.add_trace(trace(which))

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(write, range(6)))

        with closing(Store(path)) as store:
            assert {each.trace_id for each in store.history()[0]} == {f"evt_{which}" for which in range(6)}


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


def test_no_two_states_of_any_store_have_one_revision(tmp_path: Path) -> None:
    path, seen = tmp_path / "state.sqlite3", []
    with closing(Store(path)) as one, closing(Store(path)) as other:
        seen.append(one.revision())
        for number in range(2):
            other.add_trace(trace(1))
            seen.append(one.revision())
            other.add_attempt(accepted("evt_1"))
            seen.append(one.revision())
            if not number:
                other.clear()
                seen.append(one.revision())
    with closing(Store()) as another:
        seen.append(another.revision())

    empty, *filled, emptied, again, more, another_empty = seen
    assert emptied == empty
    assert len({empty, *filled, again, more, another_empty}) == 6


def test_the_revision_stays_while_nothing_happens(store: Store) -> None:
    store.add_trace(trace(1))

    assert store.revision() == store.revision()


def test_what_looks_at_a_file_neither_waits_for_a_writer_nor_sees_half_of_a_step(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store, ThreadPoolExecutor(1) as thread, store.transaction():
        store.add_trace(trace(1))

        assert thread.submit(store.select, "SELECT * FROM traces").result(timeout=5) == []


def test_one_moment_shows_one_state(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        with store.one_moment():
            before = store.select("SELECT count(*) FROM traces")[0][0]
            store.add_trace(trace(1))
            assert store.select("SELECT count(*) FROM traces")[0][0] == before

        assert store.select("SELECT count(*) FROM traces")[0][0] == before + 1


def test_the_requests_of_an_ab_test_are_counted_also_when_their_traces_have_left(store: Store) -> None:
    for number in range(3):
        variant = "version_a" if number else "version_b"
        store.add_trace(Trace(f"evt_ab_{number}", "welcome", 1, "tests", 0.0, "tone", variant))
    store.add_trace(Trace("evt_other", "welcome", 1, "tests", 0.0, "length", "version_a"))
    for number in range(TRACES_KEPT):
        store.add_trace(trace(number))

    assert store.trace("evt_ab_0") is None
    assert store.served("welcome", "tone") == {"version_a": 2, "version_b": 1}
    assert store.served("product", "tone") == {}


def test_forgetting_everything_begins_an_ab_test_anew(store: Store) -> None:
    store.add_trace(Trace("evt_1", "welcome", 1, "tests", 0.0, "tone", "version_a"))

    store.clear()

    assert store.served("welcome", "tone") == {}
