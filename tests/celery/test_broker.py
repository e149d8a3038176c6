"""How a message gets into the broker: by a deadline, on disk there and confirmed, and never again by chance."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from amqp.exceptions import MessageNacked
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from xr2_web.celery.broker import Broker

from ..scripted_server import Connection, ScriptedServer
from .brokers import BROKERS, NO_RABBITMQ, RABBITMQ, Relay, app_with, in_rabbitmq

GIVEN_UP = (OSError, OperationalError, RedisError)


@pytest.fixture(params=BROKERS)
def configuration(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with request.param() as configuration:
        yield configuration


@pytest.fixture
def rabbitmq() -> Iterator[dict[str, Any]]:
    with in_rabbitmq() as configuration:
        yield configuration


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def waiting(app: Celery) -> list[Any]:
    """Take the messages that wait in the app's queue."""
    found = []
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[app.conf.task_default_queue](connection.default_channel)
        while (message := queue.get(no_ack=True)) is not None:
            found.append(message)
    return found


def test_what_was_sent_is_in_the_queue(configuration: dict[str, Any]) -> None:
    app = app_with(configuration)
    broker = Broker(app, time.monotonic)

    for number in range(3):
        broker.send("a.task", (number,), until=in_seconds(5))
    broker.close()

    assert [message.payload[0] for message in waiting(app)] == [[0], [1], [2]]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_accepts_and_never_answers_is_given_up_in_time(scheme: str) -> None:
    """Protects the limits that a connection gets."""
    with ScriptedServer(Connection.hang) as hanging:
        app = app_with({"broker_url": f"{scheme}://127.0.0.1:{hanging.port}//"})
        broker = Broker(app, time.monotonic)
        until = in_seconds(0.4)

        with pytest.raises(GIVEN_UP):
            broker.send("a.task", (), until=until)

        assert time.monotonic() < until
        assert hanging.connections > 0


@pytest.mark.parametrize("broker_of", BROKERS)
@pytest.mark.parametrize("queue", ["the same", "another"])
def test_a_broker_that_falls_silent_is_given_up_in_time(broker_of: Any, queue: str) -> None:
    """Before a declaration, and before a confirmation."""
    with broker_of() as configuration, Relay(configuration["broker_url"]) as relay:
        app = app_with({**configuration, "broker_url": relay.url})
        app.conf.task_routes = {"another": {"queue": f"xr2_web_tests_{uuid.uuid4().hex}"}}
        broker = Broker(app, time.monotonic)
        broker.send("the same", (), until=in_seconds(0.8))
        relay.stall()
        until = in_seconds(0.8)

        with pytest.raises(GIVEN_UP):
            broker.send(queue, (), until=until)

        assert time.monotonic() < until


def test_a_connection_that_was_ended_meanwhile_is_made_anew_at_once(configuration: dict[str, Any]) -> None:
    with Relay(configuration["broker_url"]) as relay:
        app = app_with({**configuration, "broker_url": relay.url})
        broker = Broker(app, time.monotonic)
        broker.send("a.task", (0,), until=in_seconds(5))
        relay.cut()

        broker.send("a.task", (1,), until=in_seconds(5))
        broker.close()

        assert [message.payload[0] for message in waiting(app)] == [[0], [1]]


def test_where_one_connection_was_ended_the_others_are_not_tried(configuration: dict[str, Any]) -> None:
    with Relay(configuration["broker_url"]) as relay:
        broker = Broker(app_with({**configuration, "broker_url": relay.url}), time.monotonic)
        for seconds in (10, 2):  # the first could wait too long for the second
            broker.send("a.task", (), until=in_seconds(seconds))
        each = relay.connections // 2
        relay.cut()
        before = relay.connections

        for _ in range(2):
            broker.send("a.task", (), until=in_seconds(10))
        broker.close()

        assert relay.connections - before == each


def test_one_that_is_collected_hangs_up(configuration: dict[str, Any]) -> None:
    with Relay(configuration["broker_url"]) as relay:
        broker = Broker(app_with({**configuration, "broker_url": relay.url}), time.monotonic)
        broker.send("a.task", (), until=in_seconds(5))

        del broker

        assert relay.until_ended()


def test_a_connection_is_used_again(configuration: dict[str, Any]) -> None:
    with Relay(configuration["broker_url"]) as relay:
        broker = Broker(app_with({**configuration, "broker_url": relay.url}), time.monotonic)
        broker.send("a.task", (), until=in_seconds(5))
        connections = relay.connections

        for _ in range(5):
            broker.send("a.task", (), until=in_seconds(5))
        broker.close()

        assert relay.connections == connections


def test_one_that_could_wait_past_the_end_is_not_used_at_the_end(configuration: dict[str, Any]) -> None:
    """Protects the exit within SHUTDOWN_TIMEOUT."""
    with Relay(configuration["broker_url"]) as relay:
        broker = Broker(app_with({**configuration, "broker_url": relay.url}), time.monotonic)
        broker.send("a.task", (), until=in_seconds(10))
        connections = relay.connections

        broker.send("a.task", (), until=in_seconds(2))
        broker.close()

        assert relay.connections > connections


def test_a_silent_broker_does_not_hold_up_hanging_up(configuration: dict[str, Any]) -> None:
    with Relay(configuration["broker_url"]) as relay:
        broker = Broker(app_with({**configuration, "broker_url": relay.url}), time.monotonic)
        broker.send("a.task", (), until=in_seconds(10))
        relay.stall()
        began = time.monotonic()

        broker.close()

        assert time.monotonic() - began < 1


@NO_RABBITMQ
class TestRabbitMq:
    def test_a_message_is_kept_on_disk_whatever_the_app_asks_for(self, rabbitmq: dict[str, Any]) -> None:
        app = app_with({**rabbitmq, "task_default_delivery_mode": "transient"})
        broker = Broker(app, time.monotonic)

        broker.send("a.task", (), until=in_seconds(5))
        broker.close()

        assert [message.properties["delivery_mode"] for message in waiting(app)] == [2]

    def test_what_no_queue_takes_was_not_sent(self, rabbitmq: dict[str, Any]) -> None:
        app = app_with(rabbitmq)
        app.conf.task_routes = {"a.task": {"exchange": "amq.topic", "routing_key": f"nobody.{uuid.uuid4().hex}"}}
        broker = Broker(app, time.monotonic)

        with pytest.raises(Exception, match="NO_ROUTE"):
            broker.send("a.task", (), until=in_seconds(5))

    def test_what_the_broker_refuses_to_keep_was_not_sent(self, rabbitmq: dict[str, Any]) -> None:
        """Protects the confirmation: without one a message that RabbitMQ turns away counts as sent."""
        app = app_with(rabbitmq)
        name = rabbitmq["task_default_queue"]
        full = {"x-max-length": 1, "x-overflow": "reject-publish"}
        app.conf.task_queues = [Queue(name, routing_key=name, queue_arguments=full)]
        broker = Broker(app, time.monotonic)
        broker.send("a.task", (), until=in_seconds(5))

        with pytest.raises(OperationalError) as refused:
            broker.send("a.task", (), until=in_seconds(5))

        assert isinstance(refused.value.__cause__, MessageNacked)

    def test_a_forked_child_does_not_hang_up_for_its_parent(self, rabbitmq: dict[str, Any]) -> None:
        """What the child collects must not end a connection that it shares with its parent."""
        with Relay(RABBITMQ) as relay:
            program = f"""
import gc, os, time
from celery import Celery
from xr2_web.celery.broker import Broker
app = Celery(set_as_current=False, fixups=[], broker={relay.url!r})
app.conf.task_default_queue = {rabbitmq["task_default_queue"]!r}
broker = Broker(app, time.monotonic)
broker.send("a.task", (), until=time.monotonic() + 8)
if (child := os.fork()) == 0:
    del broker, app
    gc.collect()
    os._exit(0)
os.waitpid(child, 0)
broker.send("a.task", (), until=time.monotonic() + 8)
broker.close()
"""
            environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            subprocess.run([sys.executable, "-c", program], check=True, timeout=30, env=environ)

            assert relay.connections == 1
