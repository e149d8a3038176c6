"""A server on loopback that says yes to everything, in a process of its own and too light to be what is measured.

Needs httptools. It is no xR2, which is what `xr2-web dev` is for.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httptools

ACCEPTED = (
    b'{"status":"success","event_id":"5b0c5c2e-6f0e-4f6b-9f5e-0c1f7f0c9a11","trace_id":"00000000-0000-4000-8000-000000000000",'
    b'"event_name":"purchase_completed","timestamp":"2026-11-26T12:00:00Z","is_duplicate":false}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + str(len(ACCEPTED)).encode() + b"\r\n\r\n"
) + ACCEPTED


class Sink(NamedTuple):
    """A running sink, seen from the process that started it."""

    base_url: str


@contextmanager
def sink(*, delay: float = 0.0) -> Iterator[Sink]:
    """Run a sink that answers each request after ``delay`` seconds."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs, delay), daemon=True)
    process.start()
    try:
        yield Sink(f"http://127.0.0.1:{ours.recv()}")
    finally:
        process.terminate()
        process.join()


def _serve(starter: Any, delay: float) -> None:
    asyncio.run(_run(starter, delay))


async def _run(starter: Any, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(delay, loop), "127.0.0.1", 0, backlog=1024)
    starter.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Protocol(asyncio.Protocol):
    """One connection. ``on_message_complete`` is what httptools calls."""

    def __init__(self, delay: float, loop: asyncio.AbstractEventLoop) -> None:
        self._delay = delay
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._delay:
            self._loop.call_later(self._delay, self._transport.write, ANSWER)
        else:
            self._transport.write(ANSWER)
