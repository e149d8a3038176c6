from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from xr2_web.devserver import Library, Store, create_app

NOW = 1_800_000_000.0


class Visitor:
    """A caller with a good key, and a clock that the test moves."""

    def __init__(self, folder: Path, store: Store, **options: Any) -> None:
        self.now = NOW
        self.folder = folder
        app = create_app(Library(folder), store=store, clock=lambda: self.now, **options)
        self.http = TestClient(app, base_url="http://127.0.0.1:8765", headers={"Authorization": "Bearer xr2_dev_1"})

    def write(self, **files: str) -> None:
        """Write prompt files, named by slug and, after two underscores, by variant."""
        for name, text in files.items():
            (self.folder / f"{name.replace('__', '.')}.prompt").write_text(text)

    def define(self, events: str) -> None:
        """Write ``events.toml``."""
        (self.folder / "events.toml").write_text(events)

    def fetch(self, slug: str = "welcome", **options: Any) -> Any:
        """Ask for a prompt."""
        return self.http.post("/api/v1/get-prompt", json={"slug": slug, "source_name": "tests", **options})

    def trace_id(self) -> str:
        """Fetch ``welcome`` and return its trace id."""
        return str(self.fetch().json()["trace_id"])

    def send(self, trace_id: str, event_name: str = "sign_up", **options: Any) -> Any:
        """Report an event."""
        event = {"trace_id": trace_id, "event_name": event_name, "source_name": "tests", **options}
        return self.http.post("/api/v1/events", json=event)

    def journal(self) -> Any:
        """Return what was recorded."""
        return self.http.get("/api/local/traces").json()


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store()) as store:
        yield store


@pytest.fixture
def visitor(tmp_path: Path, store: Store) -> Visitor:
    """A visitor of a folder that holds one prompt, ``welcome``, and defines no events."""
    visitor = Visitor(tmp_path, store)
    visitor.write(welcome="Greet {{name}}.")
    return visitor
