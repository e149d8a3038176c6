"""A local xR2 inside the test process, on a free loopback port."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

from xr2_web.devserver import Library, Store, create_app, serving
from xr2_web.devserver.journal import event_entry, journal

PROMPTS = Path(__file__).parent / "prompts"


class LocalXr2:
    """A context manager that serves ``prompts`` (default: ``welcome`` and ``product``) from a daemon thread.

    Nothing is kept after it; ``traces()``, ``refused()`` and ``events()`` say what has arrived so far.
    """

    api_key = "xr2_dev_tests"

    def __init__(self, prompts: Path = PROMPTS, *, clock: Callable[[], float] = time.time) -> None:
        self._store = Store()
        app = create_app(Library(prompts), store=self._store, clock=clock)
        self._server = serving.make_server(app)
        self._listener = serving.listen("127.0.0.1", 0)
        self._thread = Thread(target=self._server.run, args=([self._listener],), daemon=True, name="local-xr2")
        self.base_url = serving.base_url(self._listener)

    def __enter__(self) -> LocalXr2:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._listener.close()
        self._store.close()

    def traces(self) -> list[dict[str, Any]]:
        """Return every trace with its events, newest last, as ``/api/local/traces`` does."""
        return journal(*self._store.history())["traces"]

    def refused(self) -> list[dict[str, Any]]:
        """Return every refused event that belongs to no trace, newest last."""
        return journal(*self._store.history())["refused"]

    def events(self) -> list[dict[str, Any]]:
        """Return the accepted events, without duplicates, in the order of their arrival, each with its slug."""
        traces, attempts = self._store.history()
        slugs: dict[str | None, str] = {trace.trace_id: trace.slug for trace in traces}
        return [
            {**event_entry(attempt), "slug": slugs[attempt.trace_id]}
            for attempt in attempts
            if attempt.refused is None and not attempt.is_duplicate
        ]

    def clear(self) -> None:
        """Forget all traces and events."""
        self._store.clear()
