"""Schemathesis asks what the document of the server allows and what it does not, and compares the answers with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from xr2_web.devserver import Library, Store, create_app

pytest.importorskip("schemathesis", reason="schemathesis is not installed", exc_type=ModuleNotFoundError)

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

KEY = {"Authorization": "Bearer xr2_dev_tests"}
EXAMPLES = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("prompts")
    (folder / "welcome.prompt").write_text("Greet {{name}}.")
    with closing(Store()) as store:
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(Library(folder), store=store, hosts=None))


def ask(operation: Any, mode: GenerationMode, **known: Any) -> set[int]:
    """Make requests, in every second of which the body has what is ``known``; return the statuses that came."""
    seen = set()

    @EXAMPLES
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps_to_its_document(case: Any) -> None:
        if known and len(case.body["source_name"]) % 2:
            case.body = {**case.body, **known}
        seen.add(case.call_and_validate(headers=KEY).status_code)

    keeps_to_its_document()
    return seen


def test_the_key_is_checked_as_the_document_says(described: Any) -> None:
    assert ask(described["/api/v1/check-api-key"]["GET"], GenerationMode.POSITIVE) == {200}


def test_prompts_are_served_as_the_document_says(described: Any) -> None:
    operation = described["/api/v1/get-prompt"]["POST"]

    assert ask(operation, GenerationMode.POSITIVE, slug="welcome", version_number=None, status=None) == {200, 404}


def test_events_are_taken_as_the_document_says(described: Any) -> None:
    fetch = described["/api/v1/get-prompt"]["POST"].Case(
        body={"slug": "welcome", "source_name": "tests"}, media_type="application/json"
    )
    trace_id = fetch.call(headers=KEY).json()["trace_id"]

    assert ask(described["/api/v1/events"]["POST"], GenerationMode.POSITIVE, trace_id=trace_id) == {200, 404}


@pytest.mark.parametrize("path", ["/api/v1/get-prompt", "/api/v1/events"])
def test_what_the_document_forbids_is_refused_as_it_says(described: Any, path: str) -> None:
    statuses = ask(described[path]["POST"], GenerationMode.NEGATIVE)

    assert 422 in statuses
    assert 200 not in statuses
