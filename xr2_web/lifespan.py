"""The lifespan half of ASGI: what waits is delivered when the server says that it shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .runtime import Runtime

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
InThread = Callable[[Callable[[], None]], Awaitable[None]]


def closing(runtime: Runtime, send: Send, in_thread: InThread = asyncio.to_thread) -> Send:
    """Return ``send`` for an application that answers lifespan itself: close before its last word.

    ``in_thread`` is how to wait for a thread, where the event loop may be another than asyncio's.
    """

    async def forward(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await in_thread(runtime.close)
        await send(message)

    return forward


async def answer(runtime: Runtime, receive: Receive, send: Send) -> None:
    """Answer lifespan for an application that does not know it."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await closing(runtime, send)({"type": "lifespan.shutdown.complete"})
            return
