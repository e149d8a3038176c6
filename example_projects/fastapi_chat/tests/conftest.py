from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat.adviser import Adviser, get_adviser
from chat.main import create_app
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.local_xr2 import LocalXr2
from xr2_web.runtime import Runtime
from xr2_web.starlette import Xr2Middleware

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"


@pytest.fixture
def local_xr2() -> Iterator[LocalXr2]:
    with LocalXr2(PROMPTS) as server:
        yield server


@pytest.fixture
def environment(local_xr2: LocalXr2, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("XR2_API_KEY", local_xr2.api_key)
    monkeypatch.setenv("XR2_BASE_URL", local_xr2.base_url)
    monkeypatch.setenv("XR2_OUTBOX", "memory")
    return monkeypatch


@pytest.fixture
def app(environment: pytest.MonkeyPatch) -> FastAPI:
    app = create_app()
    app.dependency_overrides[get_adviser] = lambda: Adviser(pause=0)
    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.fixture
def arrived(app: FastAPI, local_xr2: LocalXr2) -> Callable[[], list[dict[str, Any]]]:
    """Return the events that xR2 has, once nothing is on its way any more."""

    def events() -> list[dict[str, Any]]:
        assert runtime_of(app).flush(10)
        return local_xr2.events()

    return events


def runtime_of(app: FastAPI) -> Runtime:
    layer: Any = app.middleware_stack
    while not isinstance(layer, Xr2Middleware):
        layer = layer.app
    return layer.runtime
