from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from .servers import PROJECTS


@pytest.fixture
def local_xr2() -> Iterator[LocalXr2]:
    """A local xR2 with the prompts and the event definitions of the example projects."""
    with LocalXr2(PROJECTS / "prompts") as server:
        yield server


@pytest.fixture
def environ(local_xr2: LocalXr2, tmp_path: Path) -> dict[str, str]:
    """The environment of an application; on a busy machine it waits for prompts and deliveries."""
    return {
        "XR2_API_KEY": local_xr2.api_key,
        "XR2_BASE_URL": local_xr2.base_url,
        "XR2_PROMPT_DEADLINE": "30",
        "XR2_SHUTDOWN_TIMEOUT": "20",
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "SHOP_SECRET_KEY": "a key of the tests that is long enough for everyone",
        "PROBE_GO_ON": str(tmp_path / "go_on"),
    }
