"""Real workers: each pool, each way in which a run ends, and every event at xR2 when a process has gone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from xr2_web import get_prompt
from xr2_web.celery import install
from xr2_web.runtime import Runtime

from ..local_xr2 import LocalXr2
from ..scripted_server import Connection, ScriptedServer, answer
from ..visits import Door
from .brokers import NO_REDIS, in_redis
from .seeing import NOBODY, seen, value
from .workers import Workers, on_disk

Seen = tuple[str | None, str | None, str | None]

POOLS = {
    "prefork": ("--pool", "prefork", "--concurrency", "2"),
    "threads": ("--pool", "threads", "--concurrency", "4"),
    "solo": ("--pool", "solo"),
}
if find_spec("gevent") is not None:
    POOLS["gevent"] = ("--pool", "gevent", "--concurrency", "4")

Apps = Callable[[str], Celery]


@pytest.fixture(scope="module")
def app_of(_local_xr2: LocalXr2, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apps]:
    """Return the app of a sender to one kind of worker, which is started on first use and serves all tests."""
    install()
    environ = {"XR2_API_KEY": _local_xr2.api_key, "XR2_BASE_URL": _local_xr2.base_url}
    started: dict[str, Celery] = {}
    with ExitStack() as stack:
        workers = stack.enter_context(Workers())

        def app_of(kind: str) -> Celery:
            if kind not in started:
                folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
                is_redis = kind.endswith("over Redis")
                configuration = stack.enter_context(in_redis()) if is_redis else on_disk(folder)
                started[kind] = workers.start(configuration, folder, environ, *POOLS[kind.partition(" ")[0]])
            return started[kind]

        yield app_of
        workers.stop()


@pytest.fixture(params=[*POOLS, pytest.param("prefork over Redis", marks=NO_REDIS)])
def shop(app_of: Apps, request: pytest.FixtureRequest) -> Celery:
    return app_of(request.param)


def soon(condition: Callable[[], bool], within: float = 20) -> bool:
    """Wait until a condition holds that another process makes true."""
    end = time.monotonic() + within
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def whose(local_xr2: LocalXr2, name: str) -> list[Seen]:
    """Return whose the events of a name are that have arrived."""
    found = [event for event in local_xr2.events() if event["event_name"] == name]
    return [(event["trace_id"], event["user_id"], event["session_id"]) for event in found]


class TestEachPool:
    def test_a_task_is_its_visitors_and_the_next_is_nobodys(
        self, shop: Celery, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        with Door(runtime).visit(user_id=7):
            get_prompt("welcome")
            expected = seen()
            results = [shop.send_task("shop.look"), shop.send_task("shop.buy", [20])]
        after = [shop.send_task("shop.look") for _ in range(8)]

        (_, found), _ = map(value, results)
        assert tuple(found) == expected
        assert {tuple(value(result)[1]) for result in after} == {NOBODY}
        assert soon(lambda: whose(local_xr2, "bought") == [expected])

    def test_many_visitors_at_once_each_have_their_own(
        self, shop: Celery, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        """Trap 28, for tasks."""
        expected, looks = [], []
        for number in range(20):
            with Door(runtime).visit(user_id=number):
                get_prompt("welcome")
                expected.append(seen())
                looks.append(shop.send_task("shop.look"))
                shop.send_task("shop.buy", [number])

        assert [tuple(value(look)[1]) for look in looks] == expected
        assert soon(lambda: len(whose(local_xr2, "bought")) == 20)
        assert set(whose(local_xr2, "bought")) == set(expected)

    def test_whatever_becomes_of_a_task_only_the_one_that_returns_is_reported(
        self, shop: Celery, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        sent = {}
        for outcome in ("exception", "ignore", "reject", "retry"):
            with Door(runtime).visit(user_id=outcome):
                get_prompt("welcome")
                sent[outcome] = seen(), shop.send_task("shop.unlucky", [outcome])
        after = [shop.send_task("shop.look") for _ in range(8)]

        with pytest.raises(LookupError):
            value(sent["exception"][1])
        # Its result is not asked for: the next try may have succeeded before the other child notes that it retries.
        expected, _ = sent["retry"]
        assert {tuple(value(result)[1]) for result in after} == {NOBODY}
        assert soon(lambda: whose(local_xr2, "was_lucky") == [expected])

    def test_what_a_task_fetches_itself_is_what_it_reports(self, shop: Celery, local_xr2: LocalXr2) -> None:
        trace_ids = [value(shop.send_task("shop.recommend")) for _ in range(3)]

        assert soon(lambda: len(whose(local_xr2, "recommended")) == 3)
        assert {(trace_id, user_id) for trace_id, user_id, _ in whose(local_xr2, "recommended")} == {
            (trace_id, None) for trace_id in trace_ids
        }


def test_a_task_that_reaches_its_soft_time_limit_is_its_visitors_to_the_end(
    app_of: Apps, runtime: Runtime, local_xr2: LocalXr2
) -> None:
    shop = app_of("prefork")
    with Door(runtime).visit(user_id=7):
        get_prompt("welcome")
        expected = seen()
        result = shop.send_task("shop.dawdle")

    with pytest.raises(SoftTimeLimitExceeded):
        value(result)

    assert {tuple(value(shop.send_task("shop.look"))[1]) for _ in range(4)} == {NOBODY}
    assert soon(lambda: whose(local_xr2, "hurried") == [expected])
    assert whose(local_xr2, "dawdled") == []


def test_a_worker_of_a_django_project_works_with_the_settings_of_the_project(
    runtime: Runtime, local_xr2: LocalXr2, tmp_path: Path
) -> None:
    install()
    environ = {
        "DJANGO_SETTINGS_MODULE": "django_settings",
        "SHOP_API_KEY": local_xr2.api_key,
        "SHOP_XR2": local_xr2.base_url,
    }
    with Workers() as workers:
        shop = workers.start(on_disk(tmp_path), tmp_path, environ, *POOLS["prefork"])

        with Door(runtime).visit(user_id=7):
            get_prompt("welcome")
            expected = seen()
            shop.send_task("shop.buy", [20])

        assert soon(lambda: whose(local_xr2, "bought") == [expected])


class TestTheEndOfAProcess:
    """A child that is recycled sleeps a second and ends with ``os._exit``; what takes longer to leave must be waited
    for."""

    MANY = 12
    SECONDS_EACH = 0.2

    @pytest.fixture
    def slow_xr2(self) -> Iterator[ScriptedServer]:
        delivered = {
            "status": "success",
            "event_id": "1",
            "trace_id": "a-trace",
            "event_name": "many",
            "timestamp": "2026-01-01T00:00:00Z",
            "is_duplicate": False,
        }

        def script(connection: Connection) -> None:
            while connection.read_request() is not None:
                connection.pause(self.SECONDS_EACH)
                connection.send(answer(200, json.dumps(delivered).encode()))

        with ScriptedServer(script) as server:
            yield server

    @pytest.fixture
    def environ(self, slow_xr2: ScriptedServer) -> dict[str, str]:
        return {
            "XR2_API_KEY": LocalXr2.api_key,
            "XR2_BASE_URL": slow_xr2.base_url,
            "XR2_CONCURRENCY": "1",
            "XR2_SHUTDOWN_TIMEOUT": "15",
        }

    def names(self, server: ScriptedServer) -> set[str]:
        return {json.loads(request.body)["event_name"] for request in server.requests}

    def test_by_its_number_of_tasks_loses_no_event(
        self, slow_xr2: ScriptedServer, environ: dict[str, str], tmp_path: Path
    ) -> None:
        with Workers() as workers:
            options = (*POOLS["prefork"], "--max-tasks-per-child", "1")
            shop = workers.start(on_disk(tmp_path), tmp_path, environ, *options)

            first = value(shop.send_task("shop.report_many", ["recycled", self.MANY]))
            assert soon(lambda: len(self.names(slow_xr2)) == self.MANY)
            second = value(shop.send_task("shop.report_many", ["again", 1]))

            assert first != second

    def test_by_a_warm_shutdown_loses_no_event_in_any_pool(
        self, slow_xr2: ScriptedServer, environ: dict[str, str], tmp_path: Path
    ) -> None:
        with Workers() as workers:
            for pool, options in POOLS.items():
                folder = tmp_path / pool
                folder.mkdir()
                shop = workers.start(on_disk(folder), folder, environ, *options)
                value(shop.send_task("shop.report_many", [pool, self.MANY]))

            workers.stop()

        assert self.names(slow_xr2) == {f"{pool}-{number}" for pool in POOLS for number in range(self.MANY)}
