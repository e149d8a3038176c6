"""What holds of the tables of every kind of database, as commands see them: for modules with ``make_database``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from xr2_web.outbox import Claim, Entry, Outbox
from xr2_web.outbox.store import Changed, Failed, Store

OTHER = "another12345"


def made(trace_id: str, user_id: str = "1", made_at: float = 1000.0) -> Entry:
    return Entry(trace_id, "sign_up", b'{"user_id":"%s"}' % user_id.encode(), made_at)


def claimed(outbox: Outbox) -> Claim:
    claim = outbox.claim()
    assert claim is not None
    return claim


def store_of(outbox: Outbox, *, others: bool = False) -> Store:
    (store,) = outbox.stores(others=others)
    return store


@pytest.fixture
def ours(make_database: Callable[..., Any]) -> Any:
    """An outbox with two events of different users, and a dead letter."""
    outbox = make_database()
    outbox.put(made("evt_dead"))
    outbox.bury(claimed(outbox), "404: not defined")
    outbox.put(made("evt_1"))
    outbox.put(made("evt_2", "2", 900.0))
    outbox.tend(None)
    return outbox


@pytest.fixture
def theirs(make_database: Callable[..., Any]) -> Any:
    """An outbox of another installation, with one event, in the same tables."""
    outbox = make_database(installation=OTHER)
    outbox.put(made("evt_other"))
    return outbox


def traces(store: Store) -> list[str]:
    return sorted(row.entry.trace_id for row in store.waiting())


def test_a_survey_counts_what_is_ours_and_names_the_rest(ours: Any, theirs: Any) -> None:
    survey = store_of(ours).survey()

    (our_place,) = (each for each in survey.places if each.is_ours)
    (their_place,) = (each for each in survey.places if not each.is_ours)
    assert (our_place.pending, our_place.dead, our_place.oldest) == (2, 1, 900.0)
    assert our_place.reasons == {"404: not defined": 1}
    assert our_place.is_alive is None
    assert (their_place.pending, their_place.dead) == (1, 0)
    assert survey.left_alone == []


def test_empty_tables_are_surveyed_too(make_database: Callable[..., Any]) -> None:
    survey = store_of(make_database()).survey()

    assert [(each.pending, each.dead, each.oldest) for each in survey.places] == [(0, 0, None)]


def test_what_waits_and_what_is_dead_is_ours_unless_more_is_asked_for(ours: Any, theirs: Any) -> None:
    (letter,) = store_of(ours).letters()

    assert traces(store_of(ours)) == ["evt_1", "evt_2"]
    assert traces(store_of(ours, others=True)) == ["evt_1", "evt_2", "evt_other"]
    assert (letter.entry, letter.attempts, letter.reason) == (made("evt_dead"), 1, "404: not defined")


def test_what_is_of_a_user_is_forgotten(ours: Any, theirs: Any) -> None:
    changed = store_of(ours).forget(lambda body: b'"1"' in body)

    assert changed == Changed(events=1, letters=1)
    assert traces(store_of(ours, others=True)) == ["evt_2", "evt_other"]
    assert list(store_of(ours).letters()) == []


def test_a_dead_letter_that_is_sent_once_more_waits_again(ours: Any) -> None:
    changed = store_of(ours).requeue(lambda letter: letter.entry.trace_id == "evt_dead")

    assert changed == Changed(letters=1)
    assert traces(store_of(ours)) == ["evt_1", "evt_2", "evt_dead"]
    assert list(store_of(ours).letters()) == []


def test_only_the_chosen_dead_letters_are_dropped(ours: Any) -> None:
    none = store_of(ours).drop(lambda letter: letter.reason == "503")
    one = store_of(ours).drop(lambda letter: letter.reason.startswith("404"))

    assert (none, one) == (Changed(), Changed(letters=1))
    assert list(store_of(ours).letters()) == []


def test_more_than_is_read_at_a_time_is_dealt_with(
    make_database: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xr2_web.table.store.CHUNK", 2)
    outbox = make_database()
    for number in range(5):
        outbox.put(made(f"evt_{number}", str(number % 2)))

    changed = store_of(outbox).forget(lambda body: b'"0"' in body)

    assert changed == Changed(events=3)
    assert traces(store_of(outbox)) == ["evt_1", "evt_3"]


async def test_where_the_database_cannot_be_used_that_is_told(make_database: Callable[..., Any]) -> None:
    """On an event loop, for one."""
    store = store_of(make_database())

    survey, changed = store.survey(), store.forget(lambda body: True)

    assert survey.places == []
    assert "cannot be read: Declined" in survey.left_alone[0].why
    assert (changed.events, len(changed.undone)) == (0, 1)
    with pytest.raises(Failed, match="cannot be read"):
        list(store.waiting())
