"""An xR2 with every fault that a network can have, as a process of its own that keeps a journal of all it saw.

It serves on the port that it says first. A line on its standard input makes it well for good, the end of that input
ends it. The journal has a line for each request: what became of it, the trace, the event name.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

REFUSED_NAME = "undefined_event"
COUNTED = frozenset({"answered 200", "counted, then closed", "counted, never answered"})
"""What becomes of a request that xR2 then has; all else is a fault, or the refusal of an event name."""

REFUSED = "answered 400"

SHARES: dict[str, float] = {
    "answered 200": 95.0,
    "answered 503": 2.0,
    "answered 500 with HTML": 1.0,
    "reset": 1.0,
    "counted, then closed": 0.8,
    "counted, never answered": 0.2,
}
"""In a hundred requests. Who is not answered waits for ten seconds, and has eight threads in all."""

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def answer(status: int, body: object) -> bytes:
    """Return the bytes of a whole answer: JSON, or HTML where the body is text."""
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Xr2:
    """Answers every connection as its mood is; ``seed`` decides what goes wrong when."""

    def __init__(self, journal: TextIO, seed: int) -> None:
        self._journal = journal
        self._random = random.Random(seed)
        self._seen: set[tuple[str, str]] = set()
        self._connections: set[Connection] = set()
        self._is_well = False
        self._is_busy = False
        self._limits = 0
        # Bound and never listening: it keeps the port, and so the base URL, while nobody listens there.
        self._placeholder = _bound(0)
        self.port: int = self._placeholder.getsockname()[1]
        self._listener: asyncio.Server | None = None

    async def listen(self) -> None:
        """Come (back) to the port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self), sock=_bound(self.port), backlog=512)

    def go_away(self) -> None:
        """Leave the port, and cut all connections."""
        if self._listener is not None:
            self._listener.close()
        for each in list(self._connections):
            each.reset()

    def recover(self) -> None:
        """Let nothing go wrong any more; undefined events stay undefined."""
        self._is_well = True

    async def change_moods(self) -> None:
        """Have a bad time every few seconds, of each kind in turn, until recovered."""
        moods = [self._be_busy, self._be_limited, self._be_away]
        while not self._is_well:
            self._random.shuffle(moods)
            for mood in moods:
                await asyncio.sleep(self._random.uniform(0.5, 2.0))
                if not self._is_well:
                    await mood()

    def opened(self, connection: Connection) -> None:
        """Know a connection."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def take(self, connection: Connection, body: bytes) -> None:
        """Do to a request what chance, the mood and its event name say."""
        event = json.loads(body)
        key = (event["trace_id"], event["event_name"])
        outcome = self._outcome(event["event_name"])
        self._journal.write("\t".join((outcome, *key)) + "\n")
        is_duplicate = key in self._seen
        if outcome in COUNTED:
            self._seen.add(key)
        match outcome:
            case "answered 200":
                connection.send(answer(200, _taken(event, is_duplicate=is_duplicate)))
            case "answered 400":
                connection.send(answer(400, {"detail": {"message": f"event {REFUSED_NAME!r} is not defined"}}))
            case "answered 429":
                connection.send(answer(429, {"detail": "Too many requests", "retry_after": 1}))
            case "answered 500 with HTML":
                connection.send(answer(500, "<html>Something broke</html>"))
            case "answered 503":
                connection.send(answer(503, {"detail": "busy"}))
            case "reset":
                connection.reset()
            case "counted, then closed":
                connection.close()

    def _outcome(self, event_name: str) -> str:
        if not self._is_well:
            if self._limits:
                self._limits -= 1
                return "answered 429"
            if self._is_busy:
                return "answered 503"
            outcome = self._random.choices(list(SHARES), list(SHARES.values()))[0]
            if outcome not in COUNTED:
                return outcome
        else:
            outcome = "answered 200"
        return REFUSED if event_name == REFUSED_NAME else outcome

    async def _be_busy(self) -> None:
        self._is_busy = True
        await asyncio.sleep(self._random.uniform(0.5, 1.5))
        self._is_busy = False

    async def _be_limited(self) -> None:
        self._limits = 2

    async def _be_away(self) -> None:
        self._journal.write("gone away\t\t\n")
        self.go_away()
        await asyncio.sleep(self._random.uniform(0.5, 3.0))
        await self.listen()


class Connection(asyncio.Protocol):
    """Requests of one connection, one after the other."""

    def __init__(self, xr2: Xr2) -> None:
        self._xr2 = xr2
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._xr2.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._xr2.closed(self)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0 and not self._transport.is_closing():
            length = _LENGTH.search(self._pending, 0, end)
            end += 4
            whole = end + (int(length[1]) if length else 0)
            if len(self._pending) < whole:
                return
            body, self._pending = self._pending[end:whole], self._pending[whole:]
            self._xr2.take(self, body)

    def send(self, data: bytes) -> None:
        """Send an answer."""
        self._transport.write(data)

    def close(self) -> None:
        """End in good order."""
        self._transport.close()

    def reset(self) -> None:
        """End with a TCP reset."""
        connected: socket.socket = self._transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _taken(event: dict[str, str], *, is_duplicate: bool) -> dict[str, object]:
    key = {name: event[name] for name in ("trace_id", "event_name")}
    return {
        "status": "success",
        "event_id": "1",
        "timestamp": "2026-01-01T00:00:00Z",
        "is_duplicate": is_duplicate,
    } | key


async def serve(journal: TextIO, seed: int, say: Callable[[str], object]) -> None:
    """Serve until the standard input ends."""
    loop = asyncio.get_running_loop()
    xr2 = Xr2(journal, seed)
    await xr2.listen()
    say(f"http://127.0.0.1:{xr2.port}\n")
    moods = asyncio.create_task(xr2.change_moods())
    await loop.run_in_executor(None, sys.stdin.readline)
    xr2.recover()
    await moods
    say("well\n")
    await loop.run_in_executor(None, sys.stdin.read)
    xr2.go_away()


def _say(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", encoding="utf-8") as journal:
        asyncio.run(serve(journal, int(sys.argv[2]), _say))
