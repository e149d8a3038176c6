"""Sync requests to a server that no proxy stands before: h11, the protocol of the engine, over the engine's sockets.

A courier sends one small request after the other. The engine's pool and connections cost as much again as the
protocol and the sockets together, for what is not needed here: several hosts, streams, HTTP/2, traces.
"""

from __future__ import annotations

import time
from queue import Empty, LifoQueue
from typing import Any

import h11

from .. import wire
from .address import Address
from .body import Body
from .engine import httpcore
from .network import DeadlineBackend, time_left

HEAD_BYTES = 100 * 1024
"""The largest head of an answer that is read, as in the engine."""

READ_BYTES = 64 * 1024


class Direct:
    """The connections of one process; the one that was used last is used next."""

    def __init__(self, address: Address, backend: DeadlineBackend, connections: int) -> None:
        self._address = address
        self._backend = backend
        self._is_closed = False
        self._idle: LifoQueue[_Connection | None] = LifoQueue()
        for _ in range(connections):
            self._idle.put(None)  # leave to make one

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer:
        """Return the answer; raises the engine's exceptions and those of h11."""
        try:
            connection = self._idle.get(timeout=time_left(until))
        except Empty:
            raise httpcore.PoolTimeout("all connections are busy") from None
        kept = None
        try:
            if connection is None or not connection.is_usable(self._address.idle_seconds):
                if connection is not None:
                    connection.close()
                connection = _Connection(self._address.connect(self._backend))
            answer = connection.exchange(request, self._address.opening(request))
            kept = connection if connection.is_at_rest() else None
        finally:
            if kept is None and connection is not None:
                connection.close()
            self._idle.put(kept)
            if self._is_closed:
                self.close()
        return answer

    def close(self) -> None:
        """Close all connections; those that are in use are closed when they have their answer."""
        self._is_closed = True
        idle = []
        try:
            while True:
                idle.append(self._idle.get_nowait())
        except Empty:
            pass
        for connection in idle:
            if connection is not None:
                connection.close()
            self._idle.put(None)


class _Connection:
    """One connection, for one thread at a time."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._used_at = 0.0

    def exchange(self, request: wire.Request[Any], opening: h11.Request) -> wire.Answer:
        """Send a request and return the answer to it."""
        try:
            self._stream.write(self._encoded(request, opening))
        except httpcore.WriteError:
            pass  # a server may answer, and close, before it has read everything
        while not isinstance(response := self._next_event(), h11.Response):
            pass
        body = Body(request.answer_limit)
        while isinstance(event := self._next_event(), h11.Data) and body.takes(event.data):
            pass
        return body.answer(response.status_code, response.headers)

    def is_at_rest(self) -> bool:
        """Tell, after an exchange, whether both sides are ready for another one."""
        states = self._protocol.our_state, self._protocol.their_state
        unasked, _ = self._protocol.trailing_data  # it would be taken for the answer to the next request
        if states != (h11.DONE, h11.DONE) or unasked:
            return False
        self._protocol.start_next_cycle()
        self._used_at = time.monotonic()
        return True

    def is_usable(self, idle_seconds: float) -> bool:
        """Tell whether the server has kept its side open: what it sends unasked can only be the end."""
        is_fresh = time.monotonic() < self._used_at + idle_seconds
        return is_fresh and not self._stream.get_extra_info("is_readable")

    def close(self) -> None:
        self._stream.close()

    def _encoded(self, request: wire.Request[Any], opening: h11.Request) -> bytes:
        # In one piece: the engine's two would wake the server twice.
        events: list[h11.Event] = [opening, h11.EndOfMessage()]
        if request.body is not None:
            events.insert(1, h11.Data(data=request.body))
        return b"".join(self._protocol.send(event) or b"" for event in events)

    def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._protocol.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # mypy does not narrow by an identity with a class
            data = self._stream.read(READ_BYTES)
            if not data and self._protocol.their_state is h11.SEND_RESPONSE:
                raise httpcore.RemoteProtocolError("the server ended the connection without an answer")
            self._protocol.receive_data(data)
