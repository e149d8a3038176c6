"""A client for any ASGI application that can leave while the response is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any


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
