"""What a worker does with the message of an event: send it, publish it again, or keep it as a dead letter."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject
from celery.signals import worker_shutdown

from xr2_web.celery import install
from xr2_web.celery.handover import Handover
from xr2_web.celery.letters import DELIVER, Letter
from xr2_web.celery.tasks import MOST_PASSES
from xr2_web.default import started
from xr2_web.outbox import Claim, Entry
from xr2_web.outbox.folder import installation
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.pacing import Chance
from xr2_web.runtime import Runtime
from xr2_web.settings import Settings

from ..conftest import RuntimeMaker
from ..scripted_server import Connection, ScriptedServer, answer
from ..visits import DAY, Clock
from .brokers import app_with

KEY = "xr2_dev_letters"
TAKEN = {
    "status": "success",
    "event_id": "1",
    "trace_id": "evt_1",
    "event_name": "bought",
    "timestamp": "2026-01-01T00:00:00Z",
    "is_duplicate": False,
}


class Server(ScriptedServer):
    """xR2 that gives the answers in turn, whatever the connection, and then takes every event."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        super().__init__(self._serve_each)

    def _serve_each(self, connection: Connection) -> None:
        while connection.read_request() is not None:
            taken = answer(200, json.dumps(TAKEN).encode())
            connection.send(self._answers.pop(0) if self._answers else taken)

    def names(self) -> list[str]:
        return [json.loads(request.body)["event_name"] for request in self.requests]


@pytest.fixture
def app() -> Celery:
    """An app whose queue is in memory; nobody works on it."""
    app = app_with({"broker_url": "memory://", "task_default_queue": uuid.uuid4().hex})
    install(app)
    return app


@pytest.fixture
def work_for(make_runtime: RuntimeMaker) -> Iterator[Callable[..., Runtime]]:
    """Return the runtime of a worker."""

    def work_for(server: Server | None = None, **keywords: Any) -> Runtime:
        address = "http://127.0.0.1:9" if server is None else server.base_url
        made = make_runtime(**{"api_key": KEY, "base_url": address, "outbox": "celery", **keywords})
        started(made)
        return made

    yield work_for
    worker_shutdown.send(sender=None)


def letter(runtime: Runtime, number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return what a message for this installation says."""
    body = json.dumps({"trace_id": f"evt_{number}", "event_name": f"bought-{number}"}).encode()
    entry = Entry(f"evt_{number}", f"bought-{number}", body, runtime.chance.wall())
    ours = installation(runtime.settings.base_url, runtime.settings.api_key)
    return {**Letter.of(ours, entry, 0)._asdict(), **changes}


def deliver(app: Celery, written: Any, **delivery_info: Any) -> None:
    """Run the task, as a worker does that was given the message so."""
    task = app.tasks[DELIVER]
    task.push_request(delivery_info=delivery_info)
    try:
        task.run(written)
    finally:
        task.pop_request()


def waiting(app: Celery) -> list[tuple[dict[str, Any], float]]:
    """Take the messages that wait in the queue: what each says, and the seconds until it is due."""
    found = []
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[app.conf.task_default_queue](connection.default_channel)
        queue.declare()
        while (message := queue.get(no_ack=True)) is not None:
            eta = message.headers["eta"]
            ahead = datetime.fromisoformat(eta).timestamp() - time.time() if eta else 0.0
            found.append((message.payload[0][0], ahead))
    return found


def test_a_pause_is_kept_without_asking_the_server_again(app: Celery, work_for: Callable[..., Runtime]) -> None:
    with Server(answer(429, b'{"detail": "slow down", "retry_after": 300}')) as server:
        runtime = work_for(server)

        for number in range(3):
            deliver(app, letter(runtime, number))
        messages = waiting(app)

        assert server.names() == ["bought-0"]
    assert [(each["event_name"], each["attempts"]) for each, _ in messages] == [
        ("bought-0", 0),  # what was asked to wait was no attempt
        ("bought-1", 0),
        ("bought-2", 0),
    ]
    assert all(29 < ahead <= 60 for _, ahead in messages[1:])


def test_a_refused_key_keeps_every_event(app: Celery, work_for: Callable[..., Runtime]) -> None:
    with Server(answer(401, b'{"detail": "Invalid API key"}')) as server:
        runtime = work_for(server)

        for number in range(3):
            deliver(app, letter(runtime, number))

        assert len(server.requests) == 1
    assert sorted(each["event_name"] for each, _ in waiting(app)) == ["bought-0", "bought-1", "bought-2"]


def test_the_budget_of_the_machine_holds_in_workers_too(app: Celery, work_for: Callable[..., Runtime]) -> None:
    with Server() as server:
        runtime = work_for(server, rate_limit="10/min")

        for number in range(12):
            deliver(app, letter(runtime, number))
        messages = waiting(app)

        assert len(server.requests) == 10
    assert [(each["event_name"], each["attempts"]) for each, _ in messages] == [("bought-10", 0), ("bought-11", 0)]
    assert all(0 < ahead <= 60 for _, ahead in messages)


def test_however_long_it_has_failed_a_message_is_never_due_in_more_than_a_minute(
    app: Celery, work_for: Callable[..., Runtime]
) -> None:
    """A far ETA is given to another worker, too, when the broker's visibility timeout is over."""
    with Server(answer(503, b"{}")) as server:
        runtime = work_for(server)

        deliver(app, letter(runtime, attempts=50))
        [(message, ahead)] = waiting(app)

    assert message["attempts"] == 51
    assert ahead <= 60


def test_after_thirty_days_an_event_is_tried_once_more_and_dropped(
    app: Celery, work_for: Callable[..., Runtime]
) -> None:
    with Server(answer(503, b"{}")) as server:
        runtime = work_for(server)

        deliver(app, letter(runtime, made_at=time.time() - 31 * DAY))

        assert len(server.requests) == 1
    assert waiting(app) == []
    assert runtime.counts["expired"] == 1


def test_an_event_that_no_message_can_hold_is_a_dead_letter_and_holds_up_no_other(app: Celery) -> None:
    outbox = MemoryOutbox(10)
    chance = Chance()
    handover = Handover(outbox, lambda: None, app=app, installation="ours", count=lambda outcome: None, chance=chance)
    outbox.put(Entry("evt_1", "bought", b"\xff", time.time()))
    outbox.put(Entry("evt_2", "bought", b"{}", time.time()))

    for _ in range(2):
        claim = handover.take(chance.monotonic() + 10)
        assert isinstance(claim, Claim)
        handover.deliver(claim, chance.monotonic() + 10)
    handover.close()

    assert outbox.counts() == (0, 1)
    assert [message["trace_id"] for message, _ in waiting(app)] == ["evt_2"]


def test_one_that_claims_to_be_of_the_future_grows_old_like_all(app: Celery, work_for: Callable[..., Runtime]) -> None:
    with Server(answer(503, b"{}")) as server:
        runtime = work_for(server)

        deliver(app, letter(runtime, made_at=time.time() + 1e9))
        [(message, _)] = waiting(app)

    assert message["made_at"] <= time.time()


@pytest.mark.parametrize(
    "changes",
    [
        {"made_at": float("nan")},
        {"made_at": "yesterday"},
        {"attempts": float("inf")},
        {"attempts": None},
        {"body": 1},
        {"body": "\ud800"},
        {"body": "x" * 70_000},
        {"trace_id": ""},
        {"event_name": ["bought"]},
        {"installation": 7},
        {"key": "of another release"},
    ],
    ids=str,
)
def test_what_is_no_event_is_counted_and_dropped(
    app: Celery, work_for: Callable[..., Runtime], changes: dict[str, Any]
) -> None:
    with Server() as server:
        runtime = work_for(server)

        deliver(app, letter(runtime, **changes))

        assert server.requests == []
    assert waiting(app) == []
    assert runtime.counts == {"bad_letter": 1}


@pytest.mark.parametrize("written", [None, "text", [], {}])
def test_what_is_no_message_of_ours_is_dropped(app: Celery, work_for: Callable[..., Runtime], written: Any) -> None:
    runtime = work_for()

    deliver(app, written)

    assert waiting(app) == []
    assert runtime.counts == {"bad_letter": 1}


@pytest.mark.parametrize(("redelivered", "told"), [(False, 1), (True, 0)])
def test_what_a_killed_worker_may_have_sent_is_no_repeated_conversion(
    app: Celery, work_for: Callable[..., Runtime], redelivered: bool, told: int
) -> None:
    """A kill between the server's yes and the acknowledgement has the broker give the message out again."""
    with Server(answer(200, json.dumps({**TAKEN, "is_duplicate": True}).encode())) as server:
        runtime = work_for(server)

        deliver(app, letter(runtime), redelivered=redelivered)

    assert runtime.counts["delivered"] == 1
    assert runtime.counts.get("duplicate_at_server", 0) == told


class TestTheEventOfAnotherInstallation:
    def test_is_passed_on_unsent(self, app: Celery, work_for: Callable[..., Runtime]) -> None:
        with Server() as server:
            runtime = work_for(server)

            deliver(app, letter(runtime, installation="another"))
            [(message, ahead)] = waiting(app)

            assert server.requests == []
        assert (message["installation"], message["attempts"], message["passes"]) == ("another", 0, 1)
        assert ahead < 2

    def test_comes_less_often_up_to_once_a_minute(self, app: Celery, work_for: Callable[..., Runtime]) -> None:
        runtime = work_for()

        deliver(app, letter(runtime, installation="another", passes=MOST_PASSES - 1))
        [(_, ahead)] = waiting(app)

        assert 29 < ahead <= 60

    def test_is_a_dead_letter_when_nobody_wants_it(self, app: Celery, work_for: Callable[..., Runtime]) -> None:
        """After a change of the key nobody is left who could send it; retried, it goes out with the new one."""
        runtime = work_for(outbox=lambda settings: MemoryOutbox(10))

        deliver(app, letter(runtime, installation="another", passes=MOST_PASSES))

        assert waiting(app) == []
        assert runtime._here().outbox.counts().dead == 1

    def test_is_passed_on_for_ever_where_xr2_is_off(self, app: Celery, work_for: Callable[..., Runtime]) -> None:
        runtime = work_for(enabled=False)

        deliver(app, letter(runtime, passes=MOST_PASSES))

        assert [each["passes"] for each, _ in waiting(app)] == [MOST_PASSES + 1]


class TestWhereTheBrokerIsDown:
    """Fault: an engine that is down. It is when a worker has to publish an event again."""

    @pytest.fixture
    def app(self) -> Celery:
        app = app_with({"broker_url": "redis://127.0.0.1:9/0"})
        install(app)
        return app

    def test_the_outbox_of_the_worker_keeps_it(self, app: Celery, work_for: Callable[..., Runtime]) -> None:
        with Server(answer(503, b"{}")) as server:
            runtime = work_for(server)

            deliver(app, letter(runtime))

            assert runtime.flush(0).left == 1

    def test_one_that_is_kept_already_is_kept_once(self, app: Celery, work_for: Callable[..., Runtime]) -> None:
        with Server(answer(503, b"{}"), answer(503, b"{}")) as server:
            runtime = work_for(server)

            for _ in range(2):
                deliver(app, letter(runtime))

            assert runtime.flush(0).left == 1

    def test_it_goes_back_to_the_broker_where_the_outbox_is_full(
        self, app: Celery, work_for: Callable[..., Runtime]
    ) -> None:
        with Server(answer(503, b"{}"), answer(503, b"{}")) as server:
            runtime = work_for(server, outbox_max_events=1)
            deliver(app, letter(runtime, 1))

            with pytest.raises(Reject) as rejected:
                deliver(app, letter(runtime, 2))

        assert rejected.value.requeue

    def test_another_installations_goes_back_to_the_broker(self, app: Celery, work_for: Callable[..., Runtime]) -> None:
        runtime = work_for()

        with pytest.raises(Reject) as rejected:
            deliver(app, letter(runtime, installation="another"))

        assert rejected.value.requeue
        assert runtime.flush(0).left == 0


class FailingOutbox(MemoryOutbox):
    """An outbox that keeps no dead letters."""

    def __init__(self, chosen: Settings) -> None:
        super().__init__(chosen.outbox_max_events)

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        raise OSError("no space")


def test_a_dead_letter_that_cannot_be_kept_is_not_lost(
    app: Celery, work_for: Callable[..., Runtime], caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk. An exception would have Celery acknowledge the message, and forget the event."""
    with Server(answer(404, b'{"detail": "event not defined"}')) as server:
        runtime = work_for(server, outbox=FailingOutbox)

        with caplog.at_level(logging.ERROR):
            deliver(app, letter(runtime))

    assert [each["event_name"] for each, _ in waiting(app)] == ["bought-1"]
    assert "xr2_web.delivery_failed: OSError" in caplog.text


def test_a_clock_that_is_put_forward_drops_nothing(app: Celery, make_runtime: RuntimeMaker) -> None:
    clock = Clock()
    with Server() as server:
        runtime = make_runtime(api_key=KEY, base_url=server.base_url, outbox="celery")
        started(runtime)
        written = letter(runtime)
        deliver(app, letter(runtime, 2))
        clock.ahead = 365 * DAY

        deliver(app, written)

        assert server.names() == ["bought-2", "bought-1"]
    worker_shutdown.send(sender=None)
