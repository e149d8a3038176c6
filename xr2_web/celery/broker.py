"""Puts messages into the user's broker, each by a deadline, and confirmed where the broker can do that.

Celery's own connections are not used: they wait as long as the settings say, which may be for ever.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from celery import Celery

PERSISTENT = 2
"""The delivery mode of AMQP: on disk, whatever the app asks for otherwise."""

GOODBYE = 0.2
"""Seconds to wait for a broker to say goodbye, too."""


class Broker:
    """The broker of an app, as one process sees it. Threads may share it; each has a connection to itself meanwhile."""

    def __init__(self, app: Celery, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock
        self._idle: list[_Line] = []
        self._lock = threading.Lock()
        # Not at exit: that would come before the courier's last deliveries, which need the connections.
        weakref.finalize(self, _drop, self._idle, os.getpid()).atexit = False

    def send(self, task: str, args: tuple[Any, ...], *, until: float, countdown: float | None = None) -> None:
        """Publish a task; when this returns the broker has it. Raises what Celery and its transport raise."""
        line = self._idle_line(until)
        if line is not None:
            try:
                self._send_on(line, task, args, countdown)
            except Exception:  # noqa: BLE001
                # The broker, or a firewall, has ended a connection that was idle; the others may be as dead.
                _drop(self._idle, os.getpid())
            else:
                return
        self._send_on(_Line(self._app, until - self._clock()), task, args, countdown)

    def close(self) -> None:
        """Hang up, in good order while the broker answers; what is collected without it hangs up, too."""
        while self._idle:
            began = self._clock()
            self._idle.pop().close()
            if self._clock() - began >= GOODBYE:
                _drop(self._idle, os.getpid())

    def _idle_line(self, until: float) -> _Line | None:
        """Return a connection that would be given up by ``until`` if the broker hangs, as it may at exit."""
        left = until - self._clock()
        with self._lock:
            for line in self._idle:
                if line.longest_wait <= left:
                    self._idle.remove(line)
                    return line
        return None

    def _send_on(self, line: _Line, task: str, args: tuple[Any, ...], countdown: float | None) -> None:
        try:
            line.send(task, args, countdown)
        except BaseException:
            line.drop()
            raise
        with self._lock:
            self._idle.append(line)


def _drop(lines: list[_Line], pid: int) -> None:
    """Hang up at once, in the process that has called: a forked child would end its parent's connections."""
    while pid == os.getpid():
        try:
            line = lines.pop()
        except IndexError:
            return
        line.drop()


class _Line:
    """One connection, whose every step is given up after an equal share of ``seconds``."""

    STEPS = 3
    """What may wait in turn once it is connected: the declaration of the queue, the message, its confirmation."""

    def __init__(self, app: Celery, seconds: float) -> None:
        self._app = app
        # Nobody answers the heartbeats of a connection that is idle.
        self._connection = app.connection_for_write(heartbeat=0)
        hosts = max(1, len(self._connection.alt))
        self._patience = max(0.001, seconds) / (hosts + self.STEPS)
        self.longest_wait = self._patience * self.STEPS
        self._connection.connect_timeout = self._patience
        options = {**(self._connection.transport_options or {}), **self._limits(self._connection.transport.driver_type)}
        self._connection.transport_options = options
        self._retries = hosts - 1
        self._producer: Any = None

    def send(self, task: str, args: tuple[Any, ...], countdown: float | None) -> None:
        """Publish a task, connecting first where that is not done."""
        if self._producer is None:
            self._producer = self._connect()
        self._app.send_task(
            task,
            args,
            countdown=countdown,
            producer=self._producer,
            retry=False,
            ignore_result=True,
            add_to_parent=False,
            delivery_mode=PERSISTENT,
            # What no queue takes is an error of the sender, not a message that is gone.
            mandatory=True,
        )

    def close(self) -> None:
        """Hang up in good order."""
        self._bound(GOODBYE)
        self._connection.release()

    def drop(self) -> None:
        """Hang up without a word to a broker that may not answer."""
        self._connection.collect()

    def _connect(self) -> Any:
        self._connection.ensure_connection(
            max_retries=self._retries,
            interval_start=0,
            interval_step=0,
            interval_max=0,
            reraise_as_library_errors=False,
        )
        self._bound(self._patience)
        return self._app.amqp.Producer(self._connection, auto_declare=False)

    def _bound(self, seconds: float) -> None:
        if self._connection.transport.driver_name == "py-amqp":
            # Once connected it waits for ever, and takes what its own read_timeout does for an interruption.
            self._connection.connection.sock.settimeout(seconds)

    def _limits(self, driver: str) -> dict[str, Any]:
        if driver == "amqp":
            return {"confirm_publish": True}
        if driver == "redis":
            return {"socket_timeout": self._patience, "socket_connect_timeout": self._patience}
        return {}
