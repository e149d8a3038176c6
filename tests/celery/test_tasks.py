"""Each run of a task has a scope of its own, which is its sender's visitor, whatever becomes of the run."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, Task, chain, chord, group
from celery.exceptions import Ignore, Reject
from celery.signals import task_received

import xr2_web
from xr2_web import get_prompt, track_event
from xr2_web.celery import HEADER
from xr2_web.runtime import Runtime
from xr2_web.scope import Scope, bind, bound

from ..local_xr2 import LocalXr2
from ..visits import Door
from .seeing import NOBODY, seen, value

Sight = tuple[str | None, str | None, str | None]


@pytest.fixture
def look(task: Callable[..., Any]) -> Any:
    """A task that returns the visitor whom it sees."""

    @task
    def look(*args: Any) -> Sight:
        return seen()

    return look


@pytest.fixture
def between() -> Iterator[list[Scope | None]]:
    """What was bound in the worker's thread each time that it received a task, which is between two runs."""
    found: list[Scope | None] = []

    def receive(**_: Any) -> None:
        found.append(bound())

    task_received.connect(receive, weak=False)
    yield found
    task_received.disconnect(receive)


@contextlib.contextmanager
def visit(runtime: Runtime, user_id: object = 7) -> Iterator[Sight]:
    """A request that has fetched a prompt, and what a task should see of its visitor."""
    with Door(runtime).visit(user_id=user_id):
        get_prompt("welcome")
        yield seen()


class TestTheVisitor:
    def test_is_that_of_the_request_which_sent_the_task(self, look: Any, runtime: Runtime) -> None:
        with visit(runtime) as expected:
            result = look.delay()

        assert value(result) == expected
        assert None not in expected

    def test_is_nobody_where_no_scope_was_bound(self, look: Any, runtime: Runtime) -> None:
        with visit(runtime):
            first = look.delay()

        second = look.delay()

        assert value(first) != NOBODY
        assert value(second) == NOBODY

    def test_is_the_one_bound_by_hand(self, look: Any, runtime: Runtime) -> None:
        with xr2_web.scope(trace_id="a-trace", user_id=7, session_id="a-session"):
            result = look.delay()

        assert value(result) == ("a-trace", "7", "a-session")

    def test_is_each_ones_own_in_each_task(self, look: Any, runtime: Runtime) -> None:
        expected, results = [], []
        for number in range(20):
            with visit(runtime, number) as visitor:
                expected.append(visitor)
                results.append(look.delay())

        assert list(map(value, results)) == expected
        assert len(set(expected)) == 20

    def test_comes_later_too(self, look: Any, runtime: Runtime) -> None:
        with visit(runtime) as expected:
            result = look.apply_async(countdown=0.05)

        assert value(result) == expected

    def test_comes_beside_headers_of_the_senders_own(self, task: Callable[..., Any], runtime: Runtime) -> None:
        @task(bind=True)
        def look(self: Task, /) -> list[Any]:
            return [self.request.headers["mine"], seen()]

        with visit(runtime) as expected:
            result = look.apply_async(headers={"mine": "1"})

        assert value(result) == ("1", list(expected))

    def test_comes_in_messages_of_the_old_protocol(self, app: Celery, look: Any, runtime: Runtime) -> None:
        sender = Celery(broker="memory://", set_as_current=False, fixups=[])
        sender.conf.update(task_protocol=1, task_default_queue=app.conf.task_default_queue)

        with visit(runtime) as expected:
            task_id = sender.send_task(look.name).id

        assert value(app.AsyncResult(task_id)) == expected

    def test_is_seen_by_the_handlers_of_a_task(self, task: Callable[..., Any], runtime: Runtime, look: Any) -> None:
        heard: dict[str, Sight] = {}

        class Recording(Task):
            def before_start(self, *_: Any) -> None:
                heard["before_start"] = seen()

            def on_success(self, *_: Any) -> None:
                heard["on_success"] = seen()

            def on_failure(self, *_: Any) -> None:
                heard["on_failure"] = seen()

            def on_retry(self, *_: Any) -> None:
                heard["on_retry"] = seen()

            def after_return(self, *_: Any) -> None:
                heard["after_return"] = seen()

        @task(base=Recording, bind=True, max_retries=1, default_retry_delay=0)
        def work(self: Task, *, fails: bool) -> None:
            if fails:
                raise self.retry()

        with visit(runtime) as expected:
            results = [work.delay(fails=True), work.delay(fails=False)]
            after = look.delay()

        results[0].get(timeout=10, interval=0.005, propagate=False, disable_sync_subtasks=False)
        value(results[1])
        value(after)
        assert set(heard) == {"before_start", "on_success", "on_failure", "on_retry", "after_return"}
        assert set(heard.values()) == {expected}


class TestEachOutcome:
    @pytest.fixture
    def work(self, task: Callable[..., Any]) -> Any:
        @task(bind=True, max_retries=1, default_retry_delay=0)
        def work(self: Task, outcome: str) -> Sight:
            get_prompt("welcome")
            match outcome:
                case "exception":
                    raise LookupError
                case "retry":
                    raise self.retry()
                case "ignore":
                    raise Ignore
                case "reject":
                    raise Reject(requeue=False)
            return seen()

        return work

    @pytest.mark.parametrize("outcome", ["success", "exception", "retry", "ignore", "reject", "revoked"])
    def test_leaves_nothing_bound(
        self, work: Any, look: Any, runtime: Runtime, between: list[Scope | None], outcome: str
    ) -> None:
        """Trap 23, in a worker: protects the unbinding after each run."""
        expires = datetime.now(UTC) - timedelta(seconds=1) if outcome == "revoked" else None
        with visit(runtime):
            work.apply_async([outcome], expires=expires)

        after = [value(look.delay()), value(look.delay())]

        assert after == [NOBODY, NOBODY]
        assert len(between) >= 2
        assert set(between) == {None}

    def test_leaves_nothing_bound_that_a_task_bound_and_forgot(
        self, task: Callable[..., Any], look: Any, runtime: Runtime, between: list[Scope | None]
    ) -> None:
        @task
        def careless() -> None:
            scope = Scope.by_hand(runtime)
            scope.given_user_id = "7"
            bind(scope)

        value(careless.delay())

        assert [value(look.delay()), value(look.delay())] == [NOBODY, NOBODY]
        assert between[-1] is None


class TestAForeignHeader:
    WRONG = (
        "",
        "not JSON",
        "{}",
        "null",
        '"text"',
        "[[[]]]",
        '[[["welcome", "a-trace", "1", 1]]]',
        '[[["welcome", "", 1, 1]]]',
        json.dumps([[["welcome", "t" * 101, 1, 1]]]),
        json.dumps([[], "s" * 101]),
        "[" * 5_000,
        "\ud800",
        5,
        True,
        {"user_id": "7"},
        [[], "a-session", "7", True],
    )

    @pytest.mark.parametrize("header", WRONG, ids=lambda header: str(header)[:30])
    def test_is_told_and_the_task_runs_without(
        self, look: Any, runtime: Runtime, caplog: pytest.LogCaptureFixture, header: Any
    ) -> None:
        with caplog.at_level(logging.WARNING):
            results = [look.apply_async(headers={HEADER: header}) for _ in range(2)]
            found = [value(result) for result in results]

        assert found == [NOBODY, NOBODY]
        assert runtime.counts["bad_header"] == 2
        assert len([record for record in caplog.records if "bad_header" in record.getMessage()]) == 1

    def test_loses_a_user_id_that_cannot_be_sent(self, look: Any, runtime: Runtime) -> None:
        header = json.dumps([[["welcome", "a-trace", 1, 2**33]], "a-session", "7" * 256])

        result = look.apply_async(headers={HEADER: header})

        assert value(result) == ("a-trace", None, "a-session")

    def test_never_brings_an_address_into_an_event(self, look: Any, runtime: Runtime) -> None:
        header = json.dumps([[], None, "wendolyn@example.com"])

        result = look.apply_async(headers={HEADER: header})

        assert value(result)[1] == runtime.seal.pseudonym("wendolyn@example.com")


class TestRetries:
    @pytest.mark.parametrize("kind", ["by itself", "automatic"])
    def test_each_try_starts_as_the_first_did(self, task: Callable[..., Any], runtime: Runtime, kind: str) -> None:
        tries: list[Sight] = []

        @task(bind=True, max_retries=3, default_retry_delay=0, autoretry_for=(LookupError,))
        def work(self: Task) -> int:
            tries.append(seen())
            get_prompt("product")
            if len(tries) == 3:
                return len(tries)
            if kind == "by itself":
                raise self.retry()
            raise LookupError

        with visit(runtime) as expected:
            result = work.delay()

        assert value(result) == 3
        assert tries == [expected] * 3

    def test_a_try_of_nobodys_leaves_nothing_to_the_next(self, task: Callable[..., Any], runtime: Runtime) -> None:
        tries: list[Sight] = []

        @task(bind=True, max_retries=1, default_retry_delay=0)
        def work(self: Task) -> None:
            tries.append(seen())
            get_prompt("welcome")
            if len(tries) == 1:
                raise self.retry()

        value(work.delay())

        assert tries == [NOBODY, NOBODY]


class TestCanvases:
    def test_a_chain_and_its_callbacks_are_the_visitors(
        self, task: Callable[..., Any], look: Any, runtime: Runtime
    ) -> None:
        @task
        def collect(before: list[Any]) -> list[Any]:
            return [*before, seen()]

        with visit(runtime) as expected:
            result = chain(look.s(), collect.s(), collect.s()).delay()

        *first, second, third = value(result)
        assert tuple(first) == tuple(second) == tuple(third) == expected

    def test_the_parts_of_a_group_and_the_body_of_a_chord_are_too(
        self, task: Callable[..., Any], look: Any, runtime: Runtime
    ) -> None:
        @task
        def collect(before: list[Any]) -> list[Any]:
            return [*before, seen()]

        with visit(runtime) as expected:
            result = chord(group(look.s(), look.s()))(collect.s())

        assert set(map(tuple, value(result))) == {expected}
        assert len(value(result)) == 3

    def test_a_link_and_an_errback_are_too(self, task: Callable[..., Any], look: Any, runtime: Runtime) -> None:
        heard: list[Sight] = []

        @task
        def failing() -> None:
            raise LookupError

        @task
        def hear(*_: Any) -> None:
            heard.append(seen())

        with visit(runtime) as expected:
            results = [look.apply_async(link=hear.s()), failing.apply_async(link_error=hear.s())]

        value(results[0])
        with pytest.raises(LookupError):
            value(results[1])
        value(look.delay())
        assert heard == [expected, expected]

    def test_a_task_hands_its_visitor_on_with_what_it_fetched(
        self, app: Celery, task: Callable[..., Any], look: Any, runtime: Runtime
    ) -> None:
        @task
        def outer() -> tuple[str | None, str]:
            return get_prompt("product").trace_id, look.delay().id

        with visit(runtime) as (_, user_id, session_id):
            result = outer.delay()

        trace_id, inner = value(result)
        assert value(app.AsyncResult(inner)) == (trace_id, user_id, session_id)


class TestATaskInsideOfARequest:
    """``apply()``, and every task where ``task_always_eager`` is set."""

    @pytest.fixture(params=["apply", "always eager"])
    def run(self, app: Celery, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
        if request.param == "apply":
            yield lambda task, *args: task.apply(args)
        else:
            app.conf.task_always_eager = True
            yield lambda task, *args: task.delay(*args)
            app.conf.task_always_eager = False

    def test_sees_its_visitor_in_a_scope_of_its_own(
        self, run: Callable[..., Any], task: Callable[..., Any], runtime: Runtime
    ) -> None:
        @task
        def work() -> list[Any]:
            before = seen()
            get_prompt("product")
            return [before, seen()]

        with visit(runtime) as expected:
            scope = bound()
            before, after = run(work).get()
            assert bound() is scope
            assert seen() == expected

        assert before == expected
        assert after[0] != expected[0]
        assert after[1:] == expected[1:]

    @pytest.mark.parametrize("kind", [LookupError, Ignore, Reject])
    def test_gives_the_scope_of_the_request_back_when_it_fails(
        self, run: Callable[..., Any], task: Callable[..., Any], runtime: Runtime, kind: type[Exception]
    ) -> None:
        @task
        def work() -> None:
            raise kind

        with visit(runtime):
            scope = bound()
            run(work)
            assert bound() is scope

    def test_gives_it_back_after_retries(
        self, run: Callable[..., Any], task: Callable[..., Any], runtime: Runtime
    ) -> None:
        tries: list[Sight] = []

        @task(bind=True, max_retries=2, default_retry_delay=0)
        def work(self: Task) -> None:
            tries.append(seen())
            if len(tries) < 3:
                raise self.retry()

        with visit(runtime) as expected:
            scope = bound()
            run(work)
            assert bound() is scope

        assert tries == [expected] * 3

    def test_inside_of_a_task_gives_that_ones_back(
        self, run: Callable[..., Any], task: Callable[..., Any], look: Any, runtime: Runtime
    ) -> None:
        @task
        def outer() -> list[Any]:
            get_prompt("product")
            return [seen(), run(look).result, seen()]

        with visit(runtime):
            scope = bound()
            before, inner, after = run(outer).get()
            assert bound() is scope

        assert before == inner == after

    def test_outside_of_a_request_leaves_nothing_bound(
        self, run: Callable[..., Any], look: Any, runtime: Runtime
    ) -> None:
        assert run(look).get() == NOBODY
        assert bound() is None

    def test_is_the_visitors_whose_header_it_is_given(self, look: Any, runtime: Runtime) -> None:
        header = json.dumps([[["welcome", "a-trace", 1, 2**33]], "a-session", "8"])

        with visit(runtime):
            result = look.apply(headers={HEADER: header})

        assert result.get() == ("a-trace", "8", "a-session")

    def test_works_with_the_installation_of_the_request(
        self, run: Callable[..., Any], task: Callable[..., Any], make_runtime: Any, local_xr2: LocalXr2
    ) -> None:
        @task
        def work() -> None:
            track_event("worked")

        runtime = make_runtime(source_name="the other one")
        with visit(runtime):
            run(work)

        assert runtime.flush().left == 0
        assert [event["event_name"] for event in local_xr2.events()] == ["worked"]
