from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local_xr2 import LocalXr2
from xr2_web.django.installation import installation

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"


@pytest.fixture(autouse=True)
def local_xr2(settings: Any) -> Iterator[LocalXr2]:
    with LocalXr2(PROMPTS) as server:
        settings.XR2 = {"API_KEY": server.api_key, "BASE_URL": server.base_url, "OUTBOX": "memory"}
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        yield server


@pytest.fixture
def arrived(local_xr2: LocalXr2) -> Callable[[], list[dict[str, Any]]]:
    """Return the events that xR2 has, once nothing is on its way any more."""

    def events() -> list[dict[str, Any]]:
        assert installation().runtime.flush(10)
        return local_xr2.events()

    return events
