"""A real browser in front of a local xR2; its tests are skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ...local_xr2 import LocalXr2

CHROMIUM = os.environ.get("XR2_TEST_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class App:
    """The application of the developer who looks at the page: it fetches prompts and sends events."""

    def __init__(self, local: LocalXr2) -> None:
        self.base_url = local.base_url
        self._http = httpx.Client(base_url=local.base_url, headers={"Authorization": "Bearer xr2_dev_1"})

    def fetch(self, slug: str = "welcome", **options: Any) -> str:
        """Fetch a prompt and return its trace id."""
        return str(self._post("get-prompt", slug=slug, **options)["trace_id"])

    def send(self, trace_id: str, event_name: str = "sign_up", **options: Any) -> None:
        """Send an event."""
        self._post("events", trace_id=trace_id, event_name=event_name, **options)

    def breaks(self, faults: Any) -> None:
        """Have the local xR2 fail."""
        self._http.put("/api/local/chaos", json=faults).raise_for_status()

    def refused(self) -> int:
        """Ask whose key this is, and return the status of the answer."""
        return self._http.get("/api/v1/check-api-key").status_code

    def _post(self, path: str, **body: Any) -> Any:
        return self._http.post(f"/api/v1/{path}", json={"source_name": "tests", **body}).json()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; XR2_TEST_CHROMIUM can name one")
    with api.sync_playwright() as playwright:
        # Chromium's own sandbox cannot be made by root, nor in most containers; the pages are ours.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A folder with an A/B test and two defined events."""
    for number in (1, 2):
        front = f'version = {number}\nab_test = "tone"\nvariables = [{{name = "name", required = true}}]'
        (tmp_path / f"welcome.{number}.prompt").write_text(f"---\n{front}\n---\nGreet {{{{name}}}}, {number}.")
    (tmp_path / "events.toml").write_text("[sign_up]\n[purchase_completed]\n")
    return tmp_path


@pytest.fixture
def local(prompts: Path) -> Iterator[LocalXr2]:
    with LocalXr2(prompts) as local:
        yield local


@pytest.fixture
def app(local: LocalXr2) -> Iterator[App]:
    app = App(local)
    yield app
    app.close()


@pytest.fixture
def page(browser: Any, app: App) -> Iterator[Any]:
    """An empty page; a test fails with what its console complains of, a breach of the CSP among it, but for a 404."""
    context = browser.new_context(base_url=app.base_url, reduced_motion="reduce")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert [each for each in complaints if "404 (Not Found)" not in each] == []
