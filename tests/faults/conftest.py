from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .sending import Clock, Sender


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(clock: Clock) -> Iterator[Callable[..., Sender]]:
    """Start a sender, by the clock of the test unless another is given."""
    started: list[Sender] = []

    def start(base_url: str, **given: Any) -> Sender:
        chance = given.pop("chance", clock.chance)
        started.append(Sender(base_url, chance, **given))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxy settings are none of the tests' business."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
