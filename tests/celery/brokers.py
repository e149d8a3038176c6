"""The brokers of the tests, which Celery finds in Redis and RabbitMQ, and a way to them that can break."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery
from kombu import Connection

REDIS = os.environ.get("XR2_TEST_REDIS", "redis://127.0.0.1:6379/15")
RABBITMQ = os.environ.get("XR2_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


def address_of(url: str) -> tuple[str, int]:
    """Return host and port."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or {"redis": 6379}.get(parts.scheme, 5672)


def answers(url: str) -> bool:
    """Say whether anybody listens there."""
    try:
        socket.create_connection(address_of(url), timeout=1).close()
    except OSError:
        return False
    return True


NO_REDIS = pytest.mark.skipif(not answers(REDIS), reason=f"no Redis answers at {REDIS}")
NO_RABBITMQ = pytest.mark.skipif(not answers(RABBITMQ), reason=f"no RabbitMQ answers at {RABBITMQ}")


@contextmanager
def in_redis() -> Iterator[dict[str, Any]]:
    """Yield the configuration of Celery for a broker in Redis, of which nothing is left behind."""
    from redis import Redis

    prefix = f"xr2_web_tests_{uuid.uuid4().hex}_"
    try:
        yield {"broker_url": REDIS, "broker_transport_options": {"global_keyprefix": prefix}}
    finally:
        with Redis.from_url(REDIS) as redis:
            for key in redis.scan_iter(f"{prefix}*"):
                redis.delete(key)


@contextmanager
def in_rabbitmq() -> Iterator[dict[str, Any]]:
    """Yield the configuration of Celery for a queue of its own in RabbitMQ, of which nothing is left behind."""
    queue = f"xr2_web_tests_{uuid.uuid4().hex}"
    # The heartbeat has a worker without work look up often, for a signal to end.
    try:
        yield {"broker_url": RABBITMQ, "task_default_queue": queue, "broker_heartbeat": 1}
    finally:
        with Connection(RABBITMQ) as broker:
            broker.default_channel.queue_delete(queue)
            broker.default_channel.exchange_delete(queue)


BROKERS = [
    pytest.param(in_redis, marks=NO_REDIS, id="Redis"),
    pytest.param(in_rabbitmq, marks=NO_RABBITMQ, id="RabbitMQ"),
]


def app_with(configuration: dict[str, Any]) -> Celery:
    """Return an app that sends into a broker."""
    app = Celery("sender", set_as_current=False, fixups=[])
    app.conf.update(configuration)
    return app


class Relay:
    """A way to a broker that can be cut, and that can stall: then it takes what is sent, and passes nothing on."""

    def __init__(self, url: str) -> None:
        self._target = address_of(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._is_flowing = Event()
        self._is_flowing.set()
        self.connections = 0
        host, port = self._target
        self.url = url.replace(f"{host}:{port}", f"127.0.0.1:{self._listener.getsockname()[1]}")

    def __enter__(self) -> Relay:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        self._is_flowing.set()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for each in [self._listener, *self._sockets]:
            each.close()

    def cut(self) -> None:
        """End all connections."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def until_ended(self) -> bool:
        """Wait until all connections are over."""
        for thread in self._threads[1:]:
            thread.join(5)
        return not any(thread.is_alive() for thread in self._threads[1:])

    def stall(self) -> None:
        """Pass on nothing any more."""
        self._is_flowing.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                self._run(self._pump, near, far)
                self._run(self._pump, far, near)

    def _run(self, work: Callable[..., None], *args: socket.socket) -> None:
        thread = Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._is_flowing.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
