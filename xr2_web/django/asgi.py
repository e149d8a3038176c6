"""Lifespan for Django under ASGI, which has none of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .. import lifespan
from .installation import installation

AsgiApplication = Callable[[Any, Any, Any], Awaitable[None]]


def asgi(application: AsgiApplication) -> AsgiApplication:
    """Wrap ``get_asgi_application()`` so that waiting events are delivered when the server shuts down.

    Under uvicorn nothing else of Django's runs at that moment: ``application = asgi(get_asgi_application())``.
    """

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan.answer(installation().runtime, receive, send)
        else:
            await application(scope, receive, send)

    return wrapped
