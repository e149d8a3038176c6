"""Events that are made inside of a transaction stand and fall with it, and nothing of ours can break it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from xr2_web.django.models import Event
from xr2_web.django.outbox import DatabaseOutbox
from xr2_web.outbox import Declined, Entry, Put
from xr2_web.runtime import Runtime
from xr2_web.scope import Scope

from ..outbox.conftest import entry


class Undone(Exception):
    pass


@contextmanager
def undone(alias: str) -> Iterator[None]:
    """An atomic block, or a savepoint, that is rolled back."""
    try:
        with transaction.atomic(using=alias):
            yield
            raise Undone
    except Undone:
        pass


def order(alias: str, number: int) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("INSERT INTO shop_order (id) VALUES (%s)", [number])


def orders(alias: str) -> list[int]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT id FROM shop_order ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def names() -> list[str]:
    return [event.event_name for event in Event.objects.order_by("id")]


class Committed:
    """What is to be called at the commit."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def committed() -> Committed:
    return Committed()


@pytest.fixture
def table(alias: str) -> Iterator[Callable[[str], None]]:
    """Does something to the table of events, and undoes it at the end."""
    undo: list[str] = []

    def do(statement: str, back: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement)
        undo.append(back)

    yield do
    connections[alias].close()
    for back in undo:
        with connections[alias].cursor() as cursor:
            cursor.execute(back)


@pytest.fixture
def hide_table(table: Callable[..., None]) -> Callable[[], None]:
    """Make it look as if nobody had migrated."""

    def hide() -> None:
        table("ALTER TABLE xr2_web_event RENAME TO hidden", "ALTER TABLE hidden RENAME TO xr2_web_event")

    return hide


def test_the_event_is_written_by_the_transaction_of_the_order(
    outbox: DatabaseOutbox, alias: str, committed: Committed
) -> None:
    with transaction.atomic(using=alias):
        order(alias, 1)
        is_enlisted = outbox.enlist(entry(), None, committed)
        before = (names(), outbox.claim(), committed.times)

    after = outbox.claim()

    assert is_enlisted
    assert before == (["sign_up"], None, 0)
    assert after is not None
    assert (after.entry, committed.times, orders(alias)) == (entry(), 1, [1])


def test_a_rollback_takes_the_event_along(outbox: DatabaseOutbox, alias: str, committed: Committed) -> None:
    with undone(alias):
        order(alias, 1)
        outbox.enlist(entry(), None, committed)

    assert (names(), orders(alias), committed.times) == ([], [], 0)


def test_the_rollback_of_a_savepoint_takes_its_event_along_and_no_other(
    outbox: DatabaseOutbox, alias: str, committed: Committed
) -> None:
    with transaction.atomic(using=alias):
        order(alias, 1)
        outbox.enlist(entry(1, "kept"), None, committed)
        with undone(alias):
            order(alias, 2)
            outbox.enlist(entry(2, "dropped"), None, committed)

    assert (names(), orders(alias), committed.times) == (["kept"], [1], 1)


def test_an_event_whose_savepoint_was_rolled_back_may_be_made_again(
    outbox: DatabaseOutbox, alias: str, committed: Committed
) -> None:
    with transaction.atomic(using=alias):
        with undone(alias):
            outbox.enlist(entry(), None, committed)
        outbox.enlist(entry(), None, committed)

    assert (names(), committed.times) == (["sign_up"], 1)


@pytest.mark.parametrize("is_put_before", [False, True])
def test_a_duplicate_inside_of_the_block_makes_no_second_row(
    outbox: DatabaseOutbox, alias: str, committed: Committed, is_put_before: bool
) -> None:
    if is_put_before:
        outbox.put(entry())

    with transaction.atomic(using=alias):
        are_enlisted = [outbox.enlist(entry(), None, committed) for _ in range(2)]
        order(alias, 1)

    assert are_enlisted == [True, True]
    assert (names(), orders(alias)) == (["sign_up"], [1])


def test_visitors_do_not_wait_for_each_others_transactions(
    make_database: Callable[..., DatabaseOutbox], alias: str, committed: Committed
) -> None:
    """A unique constraint would have the second wait for the first, whose key may be the same."""
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    outbox = make_database()

    def visit() -> None:
        with transaction.atomic(using=alias):
            outbox.enlist(entry(), None, committed)
        connections[alias].close()

    with transaction.atomic(using=alias):
        outbox.enlist(entry(), None, committed)
        other = Thread(target=visit)
        other.start()
        other.join(10)
        has_waited = other.is_alive()
    other.join()

    assert not has_waited
    assert names() == ["sign_up", "sign_up"]


def test_names_that_differ_in_case_are_two_events(outbox: DatabaseOutbox) -> None:
    """MariaDB compares text without regard to case by default."""
    puts = [outbox.put(entry(1, name)) for name in ("sign_up", "Sign_Up", "sign_up ")]

    assert puts == [Put.ACCEPTED] * 3


def test_outside_of_a_transaction_nothing_is_enlisted(outbox: DatabaseOutbox, alias: str, committed: Committed) -> None:
    orders(alias)

    assert not outbox.enlist(entry(), None, committed)


def test_with_transactions_in_two_databases_the_event_waits_for_both(
    outbox: DatabaseOutbox, alias: str, committed: Committed
) -> None:
    with transaction.atomic(using=alias), transaction.atomic(using="default"):
        is_enlisted = outbox.enlist(entry(), None, committed)
    connections["default"].close()

    assert not is_enlisted


def test_with_a_transaction_of_sqlalchemy_the_event_waits_for_both(
    outbox: DatabaseOutbox, alias: str, committed: Committed, runtime: Runtime
) -> None:
    class Following(Scope):
        pass

    Following.runtime = runtime
    scope = Following()
    scope.enter_transaction(lambda callback: True)

    with transaction.atomic(using=alias):
        is_enlisted = outbox.enlist(entry(), scope, committed)

    assert not is_enlisted


def test_on_an_event_loop_another_outbox_takes_the_event(
    outbox: DatabaseOutbox, alias: str, committed: Committed
) -> None:
    async def view() -> bool:
        with pytest.raises(Declined):
            outbox.put(entry())
        return outbox.enlist(entry(), None, committed)

    outside = asyncio.run(view())
    with transaction.atomic(using=alias):
        within = asyncio.run(view())
        order(alias, 1)

    assert (outside, within) == (False, False)
    assert (names(), orders(alias)) == ([], [1])


def test_a_transaction_begun_by_hand_is_left_alone(outbox: DatabaseOutbox, alias: str) -> None:
    """Django knows no commit there: the event would be gone with a rollback after it was accepted."""
    transaction.set_autocommit(False, using=alias)
    try:
        with pytest.raises(Declined):
            outbox.put(entry())
        order(alias, 1)
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)

    assert (names(), orders(alias)) == ([], [1])


def test_an_order_commits_where_the_table_is_missing(
    outbox: DatabaseOutbox, alias: str, committed: Committed, hide_table: Callable[[], None]
) -> None:
    """Trap 33: nobody has migrated. It protects the savepoint in `DatabaseOutbox.enlist`."""
    hide_table()

    with transaction.atomic(using=alias):
        order(alias, 1)
        is_enlisted = outbox.enlist(entry(), None, committed)
        order(alias, 2)

    assert (is_enlisted, orders(alias), committed.times) == (False, [1, 2], 0)


TOO_LONG = [
    Entry("t" * 101, "sign_up", b"{}", 1000.0),
    Entry("evt_1", "n" * 101, b"{}", 1000.0),
    Entry("evt_1", "sign_up", b" " * (64 * 1024 + 1), 1000.0),
]


@pytest.mark.parametrize("which", range(len(TOO_LONG)))
def test_an_order_commits_where_a_value_is_too_long(
    outbox: DatabaseOutbox, alias: str, committed: Committed, which: int
) -> None:
    """Trap 33. It protects `require_fitting`: SQLite takes anything, and MariaDB may be set to cut it."""
    with transaction.atomic(using=alias):
        order(alias, 1)
        is_enlisted = outbox.enlist(TOO_LONG[which], None, committed)
        order(alias, 2)

    with pytest.raises(Declined):
        outbox.put(TOO_LONG[which])
    assert (is_enlisted, orders(alias), names()) == (False, [1, 2], [])


def test_an_order_commits_where_the_database_refuses_a_value(
    outbox: DatabaseOutbox, alias: str, committed: Committed, table: Callable[..., None]
) -> None:
    """Trap 33: a database of an old encoding, or a trigger of somebody's. It protects the savepoint in `enlist`."""
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        body = "BEGIN SELECT RAISE(FAIL, 'no'); END"
        table(f"CREATE TRIGGER refuses BEFORE INSERT ON xr2_web_event {body}", "DROP TRIGGER refuses")
    else:
        table(
            "ALTER TABLE xr2_web_event ADD CONSTRAINT refuses CHECK (attempts > 0)",
            "ALTER TABLE xr2_web_event DROP CONSTRAINT refuses",
        )

    with transaction.atomic(using=alias):
        order(alias, 1)
        is_enlisted = outbox.enlist(entry(), None, committed)
        order(alias, 2)

    assert (is_enlisted, orders(alias), names()) == (False, [1, 2], [])


def test_in_a_transaction_that_is_lost_nothing_is_raised(
    outbox: DatabaseOutbox, alias: str, committed: Committed
) -> None:
    with undone(alias):
        order(alias, 1)
        with pytest.raises(DatabaseError), transaction.atomic(using=alias, savepoint=False):
            order(alias, 1)
        is_enlisted = outbox.enlist(entry(), None, committed)

    assert (is_enlisted, names()) == (False, [])


def test_a_callback_that_fails_leaves_the_commit_alone(
    outbox: DatabaseOutbox, alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise Undone

    with transaction.atomic(using=alias):
        order(alias, 1)
        outbox.enlist(entry(), None, fail)

    assert (names(), orders(alias)) == (["sign_up"], [1])
    assert "Undone" in caplog.text


def test_what_a_finalizer_tracks_in_the_middle_of_a_statement_waits(
    outbox: DatabaseOutbox, alias: str, committed: Committed
) -> None:
    """Another statement over the same connection would wait for ever (psycopg), or garble the conversation."""
    seen: list[Any] = []

    def within(execute: Any, *arguments: Any) -> Any:
        seen.append(outbox.enlist(entry(), None, committed))
        with pytest.raises(Declined):
            outbox.put(entry())
        return execute(*arguments)

    with transaction.atomic(using=alias), connections[alias].execute_wrapper(within):
        order(alias, 1)

    assert seen == [False]
    assert (names(), orders(alias)) == ([], [1])


def test_a_put_within_a_test_that_fails_leaves_its_transaction_usable(
    outbox: DatabaseOutbox, alias: str, hide_table: Callable[[], None]
) -> None:
    """`captureOnCommitCallbacks` runs callbacks inside the transaction of the test case."""
    hide_table()

    with transaction.atomic(using=alias):
        with pytest.raises(DatabaseError):
            outbox.put(entry())
        order(alias, 1)

    assert orders(alias) == [1]
