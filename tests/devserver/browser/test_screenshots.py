"""What the README shows: each page while a story is told on it.

The pictures are kept in the folder that XR2_TEST_SCREENSHOTS names, else among pytest's temporary files; those of the
README are made by ``XR2_TEST_SCREENSHOTS=docs/images pytest tests/devserver/browser/test_screenshots.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xr2_web.demo.examples import find_projects

from ...local_xr2 import LocalXr2
from .conftest import App

SCALE = {"width": 1200, "height": 800}
SHOP = {"source_name": "django_shop"}


@pytest.fixture
def prompts() -> Path:
    """The tea shop's."""
    return find_projects() / "prompts"


@pytest.fixture
def story(app: App) -> str:
    """Tell of a few dozen visitors, of one whose event is misspelt, and of Ada; return the trace of her purchase."""
    for number in range(48):
        visitor = {"session_id": f"visitor-{number}", "user_id": str(number), **SHOP}
        trace = app.fetch(**SHOP)
        if number % 3 == 0 or number % 4 == 1:
            app.send(trace, "sign_up", **visitor)
        if number % 6 == 5:
            app.send(app.fetch("product", **SHOP), "purchase_completed", value=14.5, currency="EUR", **visitor)
    ben = {"session_id": "Jl3uPH9g3CjuB9QE", **SHOP}
    app.send(app.fetch("product", **SHOP), "purchase_complete", value=14.5, currency="EUR", **ben)
    ada = {"session_id": "wgUDg_jJ2uSgnZwJ", "user_id": "17", **SHOP}
    app.send(app.fetch(**SHOP), "sign_up", **ada)
    bought = app.fetch("product", **SHOP)
    for _ in range(2):
        app.send(bought, "purchase_completed", value=48, currency="EUR", metadata={"order_id": "A-1001"}, **ada)
    return bought


@pytest.fixture
def keep(tmp_path: Path, page: Any) -> Iterator[Callable[..., None]]:
    """A function that keeps a picture of the page under a name, of the part that is seen or of all of it."""
    folder = Path(os.environ.get("XR2_TEST_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size(SCALE)
    kept = []

    def keep(name: str, path: str, *, is_whole: bool = True) -> None:
        page.goto(path)
        page.wait_for_selector('.connection[data-state="open"]')
        kept.append(folder / f"{name}.png")
        page.screenshot(path=kept[-1], full_page=is_whole)

    yield keep
    assert all(each.stat().st_size > 10_000 for each in kept)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_tells_its_part(page: Any, app: App, story: str, keep: Callable[..., None], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    suffix = "" if scheme == "light" else "-dark"

    keep(f"live{suffix}", "/", is_whole=False)
    first, second = page.locator("article.visit").all()[:2]
    assert "48 EUR" in first.inner_text()
    assert "duplicate, not counted" in first.inner_text()
    assert "The nearest name is purchase_completed" in second.inner_text()

    keep(f"prompt{suffix}", "/prompts/welcome")
    assert "version_b against version_a" in page.locator(".verdict").first.inner_text()

    keep(f"trace{suffix}", f"/traces/{story}")
    assert story in page.locator("h1").inner_text()

    app.breaks({"503": 0.2, "slow": {"rate": 0.1, "seconds": 1}})
    keep(f"chaos{suffix}", "/chaos")
    assert "503 for 20 %, slow (1 s) for 10 %" in page.locator("#steered").inner_text()


def test_the_empty_page_says_how_to_begin(page: Any, local: LocalXr2, keep: Callable[..., None]) -> None:
    keep("empty", "/")

    assert local.base_url in page.locator("#empty").inner_text()
