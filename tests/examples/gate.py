"""A gate before the local xR2, at which requests of one kind wait until it is opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from ..local_xr2 import LocalXr2
from ..scripted_server import Connection, Received, ScriptedServer, answer

PATIENCE_SECONDS = 30.0


class Gate:
    """Passes every request on to the local xR2, those to ``path`` when it is open."""

    def __init__(self, local_xr2: LocalXr2, path: str) -> None:
        self._client = httpx.Client(base_url=local_xr2.base_url)
        self._line = f"POST {path} "
        self._is_open = threading.Event()
        self._changed = threading.Condition()
        self._waiting = 0
        self.base_url = ""

    def open(self) -> None:
        """Let everybody through from now on."""
        self._is_open.set()

    def wait_until_waiting(self, count: int) -> None:
        """Wait until so many stand before the gate at once."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting >= count, PATIENCE_SECONDS), f"only {self._waiting}"

    def serve(self, connection: Connection) -> None:
        """Serve a connection."""
        while (request := connection.read_request()) is not None:
            if request.line.startswith(self._line):
                self._hold()
            connection.send(self._pass_on(request))

    def _hold(self) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
        self._is_open.wait(PATIENCE_SECONDS)
        with self._changed:
            self._waiting -= 1

    def _pass_on(self, request: Received) -> bytes:
        method, path, _ = request.line.split()
        headers = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        answered = self._client.request(method, path, content=request.body, headers=headers)
        return answer(answered.status_code, answered.content)


@contextmanager
def gate(local_xr2: LocalXr2, path: str) -> Iterator[Gate]:
    """Stand before the local xR2 for a block, shut at first."""
    made = Gate(local_xr2, path)
    with made._client, ScriptedServer(made.serve) as server:
        made.base_url = server.base_url
        try:
            yield made
        finally:
            made.open()
