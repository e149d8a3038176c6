from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from shop import create_app

from tests.local_xr2 import LocalXr2

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"


@pytest.fixture
def local_xr2() -> Iterator[LocalXr2]:
    with LocalXr2(PROMPTS) as server:
        yield server


@pytest.fixture
def app(local_xr2: LocalXr2, tmp_path: Path) -> Flask:
    return create_app(
        {
            "TESTING": True,
            "DATABASE": tmp_path / "shop.sqlite3",
            "XR2_API_KEY": local_xr2.api_key,
            "XR2_BASE_URL": local_xr2.base_url,
            "XR2_OUTBOX": "memory",
        }
    )


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def arrived(app: Flask, local_xr2: LocalXr2) -> Callable[[], list[dict[str, Any]]]:
    """Return the events that xR2 has, once nothing is on its way any more."""

    def events() -> list[dict[str, Any]]:
        assert app.extensions["xr2_web"].runtime.flush(10)
        return local_xr2.events()

    return events
