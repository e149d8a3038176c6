"""Server-sent events: a part of a page is sent whole whenever what it shows has changed.

Whole, because a page that missed something is right again with the next one, whatever it missed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable

from starlette.concurrency import run_in_threadpool

PAUSE = 0.2
"""Seconds between two looks at the revision, so that a page is sent at most five times a second."""
_LONGEST_PAUSE = 0.8
_IDLENESS = 8
"""How many times longer than rendering a part took nothing is rendered: arrivals leave time to the endpoints."""
_HEARTBEAT = 15.0
_PARTS_KEPT = 20

_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class Stream:
    """Send to any number of pages; those that show the same part share its rendering.

    ``revision`` is asked, in a thread, for a text that differs whenever a part may.
    """

    def __init__(self, revision: Callable[[], str]) -> None:
        self._revision = revision
        self._closed = 0
        self._rendered: dict[object, tuple[str, asyncio.Task[str]]] = {}

    def close(self) -> None:
        """Have every stream that is open end within a second."""
        self._closed += 1

    async def follow(self, part: object, render: Callable[[], str], *, seen: str | None) -> AsyncGenerator[str, None]:
        """Yield what is sent to a page that shows ``part`` and has ``seen`` a revision.

        ``part`` is a hashable name of what ``render`` returns.
        """
        closed = self._closed
        yield "retry: 1000\n\n"
        silent_since = time.monotonic()
        while closed == self._closed:
            began = time.monotonic()
            revision = await run_in_threadpool(self._revision)
            if revision != seen:
                seen = revision
                yield _message(revision, await self._render(part, render, revision))
                silent_since = time.monotonic()
            elif began - silent_since > _HEARTBEAT:
                yield ":\n\n"
                silent_since = began
            took = time.monotonic() - began
            await asyncio.sleep(min(max(PAUSE, _IDLENESS * took), _LONGEST_PAUSE))

    async def _render(self, part: object, render: Callable[[], str], revision: str) -> str:
        known, task = self._rendered.get(part, ("", None))
        if task is None or known != revision:
            task = asyncio.create_task(run_in_threadpool(render))
            self._rendered[part] = revision, task
            if len(self._rendered) > _PARTS_KEPT:
                del self._rendered[next(iter(self._rendered))]
        try:
            # A page that leaves does not take the rendering from the others.
            return await asyncio.shield(task)
        except Exception:
            if self._rendered.get(part) == (revision, task):  # and not a later one, that others wait for
                del self._rendered[part]
            raise


def _message(revision: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in _LINE_ENDS.split(text))
    return f"event: change\nid: {revision}\n{lines}\n"
