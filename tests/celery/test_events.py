"""What tasks report and fetch belongs to the visitor whose request sent them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, Task, shared_task

from xr2_web import get_prompt, track, track_event
from xr2_web.runtime import Runtime
from xr2_web.scope import bound

from ..conftest import RuntimeMaker
from ..local_xr2 import LocalXr2
from ..visits import Door
from .seeing import NOBODY, seen, value


@pytest.fixture
def arrived(runtime: Runtime, local_xr2: LocalXr2) -> Callable[[], list[dict[str, Any]]]:
    """Return the events that have arrived when everything was delivered."""

    def arrived() -> list[dict[str, Any]]:
        assert runtime.flush().left == 0
        return local_xr2.events()

    return arrived


def whose(event: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    return event["trace_id"], event["user_id"], event["session_id"]


class TestTrackEvent:
    @pytest.fixture
    def report(self, task: Callable[..., Any]) -> Any:
        @task
        def report(name: str, user_id: int | None = None) -> str | None:
            return track_event(name, user_id=user_id).reason

        return report

    def test_in_a_task_is_the_visitors(self, report: Any, runtime: Runtime, arrived: Callable[[], Any]) -> None:
        with Door(runtime).visit(user_id=7):
            get_prompt("welcome")
            expected = seen()
            result = report.delay("reported")

        assert value(result) is None
        assert [whose(event) for event in arrived()] == [expected]

    def test_in_an_eager_task_waits_for_the_transaction_that_it_runs_in(self, report: Any, runtime: Runtime) -> None:
        waiting: list[Callable[[], None]] = []

        with Door(runtime).visit():
            get_prompt("welcome")
            bound().enter_transaction(lambda callback: waiting.append(callback) or True)
            result = report.apply(args=["reported"])

        assert value(result) == "pending"
        assert len(waiting) == 1

    def test_in_a_task_of_nobodys_has_no_trace(self, report: Any, runtime: Runtime, arrived: Callable[[], Any]) -> None:
        with Door(runtime).visit():
            get_prompt("welcome")
            value(report.delay("of the visitor"))

        reason = value(report.delay("of nobody"))

        assert reason == "no_trace"
        assert [event["event_name"] for event in arrived()] == ["of the visitor"]

    def test_without_consent_has_neither_session_nor_user(
        self, report: Any, make_runtime: RuntimeMaker, runtime: Runtime, arrived: Callable[[], Any]
    ) -> None:
        asking = make_runtime(consent=lambda request: False)

        with Door(asking).visit(user_id=7):
            trace_id = get_prompt("welcome").trace_id
            value(report.delay("reported", user_id=7))

        assert [whose(event) for event in arrived()] == [(trace_id, None, None)]


class TestGetPrompt:
    def test_binds_to_the_run_of_the_task(
        self, task: Callable[..., Any], runtime: Runtime, arrived: Callable[[], Any]
    ) -> None:
        @task
        def work() -> list[Any]:
            trace_id = get_prompt("welcome").trace_id
            track_event("greeted")
            return [trace_id, get_prompt("welcome").trace_id]

        runs = [value(work.delay()), value(work.delay())]

        assert [len(set(run)) for run in runs] == [1, 1]
        assert sorted(event["trace_id"] for event in arrived()) == sorted([runs[0][0], runs[1][0]])

    def test_in_a_task_is_not_bound_to_the_request(self, task: Callable[..., Any], runtime: Runtime) -> None:
        @task
        def work() -> None:
            get_prompt("welcome")

        with Door(runtime).visit() as visit:
            value(work.delay())
            assert seen() == NOBODY

        assert visit.token is None


class TestTrack:
    def test_below_the_tasks_decorator_reports_what_returned(
        self, task: Callable[..., Any], runtime: Runtime, arrived: Callable[[], Any]
    ) -> None:
        @task
        @track("bought", value=lambda call: call.result, currency="EUR")
        def buy(price: int) -> int:
            return price * 2

        with Door(runtime).visit(user_id=7):
            get_prompt("welcome")
            expected = seen()
            result = buy.delay(5)

        assert value(result) == 10
        assert [(whose(event), event["value"]) for event in arrived()] == [(expected, 10)]

    def test_keeps_the_signature_that_celery_checks(self, task: Callable[..., Any], runtime: Runtime) -> None:
        @task
        @track("bought")
        def buy(price: int) -> None: ...

        with pytest.raises(TypeError, match="price"):
            buy.delay()

    def test_reports_nothing_of_a_task_that_fails(
        self, task: Callable[..., Any], runtime: Runtime, arrived: Callable[[], Any]
    ) -> None:
        @task
        @track("bought")
        def buy() -> None:
            raise LookupError

        with Door(runtime).visit():
            get_prompt("welcome")
            result = buy.delay()

        with pytest.raises(LookupError):
            value(result)
        assert arrived() == []

    @pytest.mark.parametrize("kind", ["by itself", "automatic"])
    def test_reports_a_task_that_is_tried_again_once(
        self, task: Callable[..., Any], runtime: Runtime, arrived: Callable[[], Any], kind: str
    ) -> None:
        tries: list[int] = []

        @task(bind=True, max_retries=3, default_retry_delay=0, autoretry_for=(LookupError,))
        @track("bought", value=lambda call: call.result)
        def buy(self: Task) -> int:
            tries.append(1)
            if len(tries) == 3:
                return len(tries)
            if kind == "by itself":
                raise self.retry()
            raise LookupError

        with Door(runtime).visit(user_id=7):
            get_prompt("welcome")
            expected = seen()
            result = buy.delay()

        assert value(result) == 3
        assert [(whose(event), event["value"]) for event in arrived()] == [(expected, 3)]

    def test_on_the_run_of_a_task_class_reports_it(
        self, app: Celery, task: Callable[..., Any], runtime: Runtime, arrived: Callable[[], Any]
    ) -> None:
        class Buying(Task):
            @track("bought")
            def run(self, price: int) -> None: ...

        with Door(runtime).visit():
            trace_id = get_prompt("welcome").trace_id
            app.register_task(Buying()).apply([5])

        assert [event["trace_id"] for event in arrived()] == [trace_id]


class TestTrackAboveTheTasksDecorator:
    """Celery has registered the bare function, and what stands in the module would have no ``delay``."""

    def test_is_refused_without_making_the_task(self) -> None:
        lazy = Celery("lazy", set_as_current=False, fixups=[], autofinalize=False)

        with pytest.raises(TypeError, match=r"place @track below the decorator of the task"):

            @track("bought")
            @lazy.task
            def buy() -> None: ...

    def test_is_refused_on_a_shared_task(self) -> None:
        with pytest.raises(TypeError, match=r"place @track below the decorator of the task"):

            @track("bought")
            @shared_task(name="tests.shared_buy")  # it stays known to every app that is made from now on
            def buy() -> None: ...

    def test_is_refused_on_a_task_that_is_made(self, app: Celery, task: Callable[..., Any]) -> None:
        @task
        def buy() -> None: ...

        with pytest.raises(TypeError, match=r"place @track below the decorator of the task"):
            track("bought")(buy)
