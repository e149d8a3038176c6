"""A client for any ASGI application that can leave while the response is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from xr2_web.scope import bound

T = TypeVar("T")


class Connection:
    """One POST without a body, over which a client takes the messages before number ``stop_at``.

    Up to version 2.3 of the ASGI specification a server says that it left in ``receive`` alone, and what is being
    sent blocks; from 2.4 on sending fails.
    """

    def __init__(
        self, path: str, headers: Mapping[str, str], *, version: str = "2.3", stop_at: float = float("inf")
    ) -> None:
        self.sent: list[dict[str, Any]] = []
        self.scope = http_scope("POST", path, headers, version)
        self._stop_at = stop_at
        self._is_gone = asyncio.Event()
        self._is_requested = False

    async def run(self, app: Any) -> None:
        await app(self.scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._is_requested:
            await self._is_gone.wait()
            return {"type": "http.disconnect"}
        self._is_requested = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if len(self.sent) >= self._stop_at:
            self._is_gone.set()
            if self.scope["asgi"]["spec_version"] == "2.4":
                raise OSError("gone")
            await asyncio.Event().wait()


async def abandon(app: Any, path: str, headers: Mapping[str, str]) -> None:
    """POST, take the headers and the first part of the body, and leave while the second is being sent."""
    await Connection(path, headers, stop_at=3).run(app)


def http_scope(method: str, path: str, headers: Mapping[str, str], version: str = "2.3") -> dict[str, Any]:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": version},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"testserver"), *((k.lower().encode(), v.encode()) for k, v in headers.items())],
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
    }


class HeldConnection:
    """One POST whose client takes the body part by part, on a loop that is shared by all of them.

    ``send`` of each part blocks until the next is asked for, as it does where a client reads slowly.
    """

    def __init__(self, app: Any, path: str, headers: Mapping[str, str], loop: asyncio.AbstractEventLoop) -> None:
        self.bound_after: object = "the application has not returned"
        self._scope = http_scope("POST", path, headers)
        self._loop = loop
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._wanted = asyncio.Semaphore(0)
        self._is_gone = asyncio.Event()
        self._is_blocked = asyncio.Event()
        self._is_requested = False
        self._task = loop.create_task(self._run(app))

    def part(self) -> str:
        """Return the next part of the body, which is never empty before the end."""
        self._wanted.release()
        return (self._wait_for(self._parts.get()) or b"").decode()

    def rest(self) -> str:
        """Return all that is left."""
        return "".join(iter(self.part, ""))

    def close(self) -> None:
        """Go away, as the protocol has it: ``receive`` says so, and what is being sent blocks for ever."""
        self._is_gone.set()
        self._wait_for(asyncio.wait([self._task]))

    def drop(self) -> None:
        """Cancel the application while it sends."""
        self._wait_for(self._is_blocked.wait())
        self._task.cancel()
        self._wait_for(asyncio.wait([self._task]))

    def _wait_for(self, awaitable: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, 5))

    async def _run(self, app: Any) -> None:
        try:
            await app(self._scope, self._receive, self._send)
        finally:
            self.bound_after = bound()
            self._parts.put_nowait(None)

    async def _receive(self) -> dict[str, Any]:
        if not self._is_requested:
            self._is_requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._is_gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            self._is_blocked.set()
            await self._wanted.acquire()
            self._is_blocked.clear()
            self._parts.put_nowait(message["body"])
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            # Servers say so once the response is complete, and Litestar waits for it.
            self._is_gone.set()
