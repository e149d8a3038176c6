"""A client that leaves while the response is under way, against any ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any


def http_scope(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
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


async def abandon(app: Any, path: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """POST, take the first part of the body, and disconnect while the second is being sent.

    Up to version 2.3 of the ASGI specification a server says so in ``receive`` alone.
    """
    sent: list[dict[str, Any]] = []
    is_gone = asyncio.Event()
    requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for request in requests:
            return request
        await is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if [each["type"] for each in sent].count("http.response.body") > 1:
            is_gone.set()
            await asyncio.Event().wait()  # the socket takes no more

    await app(http_scope("POST", path, headers), receive, send)
    return sent
