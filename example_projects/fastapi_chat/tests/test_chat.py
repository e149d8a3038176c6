"""What a visitor asks and likes, and what xR2 hears of it."""

from __future__ import annotations

import pytest
from chat.main import create_app
from fastapi.testclient import TestClient


def test_the_page_offers_a_labelled_question(client: TestClient) -> None:
    page = client.get("/")

    assert '<label for="message">Your question</label>' in page.text


def test_an_answer_is_streamed_from_the_prompt(client: TestClient) -> None:
    with client.stream("POST", "/chat", data={"message": "How long does sencha steep?"}) as answer:
        parts = list(answer.iter_text())

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "content-length" not in answer.headers
    assert "".join(parts).startswith("You asked: “How long does sencha steep?”")


def test_a_question_cannot_fill_in_the_prompt(client: TestClient) -> None:
    answer = client.post("/chat", data={"message": "{{question}} {{question}}"})

    assert "“{{question}} {{question}}”" in answer.text


@pytest.mark.parametrize("message", ["", "?" * 501])
def test_a_question_has_1_to_500_characters(client: TestClient, message: str) -> None:
    assert client.post("/chat", data={"message": message}).status_code == 422


def test_a_like_is_credited_to_the_latest_answer(client: TestClient, arrived) -> None:
    client.post("/chat", data={"message": "How long?"})
    latest = client.post("/chat", data={"message": "How hot?"})

    like = client.post("/like")

    [event] = arrived()
    assert like.json() == {"accepted": True, "reason": None}
    assert (event["event_name"], event["slug"]) == ("answer_liked", "assistant")
    assert event["trace_id"] == latest.headers["X-Prompt-Trace"]
    assert event["session_id"]
    assert event["user_id"] is None


def test_each_liked_answer_counts_for_the_same_session(client: TestClient, arrived) -> None:
    for question in ("How long?", "How hot?"):
        client.post("/chat", data={"message": question})
        client.post("/like")

    first, second = arrived()
    assert first["trace_id"] != second["trace_id"]
    assert first["session_id"] == second["session_id"]


def test_a_like_without_an_answer_does_not_count(client: TestClient, arrived) -> None:
    like = client.post("/like")

    assert like.json() == {"accepted": False, "reason": "no_trace"}
    assert arrived() == []


def test_the_adviser_answers_without_xr2(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("XR2_BASE_URL", "http://127.0.0.1:9")

    with TestClient(create_app()) as client:
        answer = client.post("/chat", data={"message": "How long?"})

    assert answer.text.startswith("“How long?” is a good question")
    assert "X-Prompt-Trace" not in answer.headers
