from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from xr2_web.errors import VariableError
from xr2_web.models import (
    CheckAPIKeyResponse,
    EventResponse,
    Prompt,
    PromptContentResponse,
    Receipt,
    RenderedPrompt,
    Response,
    Trace,
)

MOMENT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
PROMPT = Prompt(
    slug="welcome",
    source_name="tests",
    version_number=3,
    status="production",
    system_prompt="You are SECRET.",
    user_prompt="Greet {{name}}, SECRET.",
    assistant_prompt="Hello SECRET",
    variables=[{"name": "name", "required": True, "description": "SECRET"}],
    prompt_model_config={"model": "SECRET"},
    created_at=MOMENT,
    trace_id="evt_1",
)
EVENT = EventResponse("success", "e1", "t1", "sign_up", "2026-05-01T12:00:00Z", False)


class TestReprs:
    @pytest.mark.parametrize(
        "shown",
        [
            PROMPT,
            PROMPT.render({"name": "SECRET"}),
            Response(data=PROMPT),
            Response(data=PROMPT.render({"name": "SECRET"})),
            Response(error="no", status_code=404, cause=VariableError("SECRET")),
        ],
    )
    def test_no_text_of_a_prompt_and_no_value_shows(self, shown: object) -> None:
        assert "SECRET" not in f"{shown!r} {shown}"

    def test_what_tells_prompts_apart_shows(self) -> None:
        assert "slug='welcome'" in repr(PROMPT)
        assert "version_number=3" in repr(PROMPT)
        assert "trace_id='evt_1'" in repr(PROMPT)


class TestResponse:
    def test_it_is_true_when_ok(self) -> None:
        good, bad = Response(data=EVENT), Response(error="", status_code=500)

        assert (good.ok, bool(good), bad.ok, bool(bad)) == (True, True, False, False)

    def test_a_failed_call_as_plain_data(self) -> None:
        response = Response(error="no", status_code=404, retry_after=5, cause=VariableError("x"))

        assert response.to_dict() == {"ok": False, "error": "no", "status_code": 404}

    @pytest.mark.parametrize("data", [EVENT, CheckAPIKeyResponse(ok=True, user="ada")])
    def test_a_good_call_as_plain_data(self, data: Any) -> None:
        assert Response(data=data).to_dict() == {"ok": True, "data": dataclasses.asdict(data)}

    def test_a_prompt_as_plain_data_is_what_the_server_sent(self) -> None:
        plain = Response(data=PROMPT).to_dict()

        assert json.loads(json.dumps(plain)) == plain
        assert "is_fallback" not in plain["data"]
        assert plain["data"]["created_at"] == "2026-05-01T12:00:00.123456Z"
        assert plain["data"]["prompt_model_config"] == {"model": "SECRET"}
        assert plain["data"]["variables"] == PROMPT.variables


class TestPrompt:
    def test_the_reference_clients_name_is_the_same_class(self) -> None:
        assert PromptContentResponse is Prompt

    def test_rendering_fills_all_texts_and_keeps_the_trace(self) -> None:
        rendered = PROMPT.render({"name": "Ada"})

        assert rendered == RenderedPrompt(
            "You are SECRET.", "Greet Ada, SECRET.", "Hello SECRET", "evt_1", {"name": "Ada"}
        )

    def test_a_missing_required_variable_raises_only_when_strict(self) -> None:
        with pytest.raises(VariableError) as caught:
            PROMPT.render()

        assert caught.value.missing_variables == ["name"]
        assert PROMPT.render(strict=False).user_prompt == "Greet {{name}}, SECRET."

    def test_it_gives_the_messages_of_every_provider(self) -> None:
        prompt = Prompt("p", system_prompt="Be kind.", user_prompt="Hi {{name}}", variables=[{"name": "name"}])
        values = {"name": "Ada"}
        user = {"role": "user", "content": "Hi Ada"}

        assert prompt.messages(values) == [{"role": "system", "content": "Be kind."}, user]
        assert prompt.to_openai(values) == prompt.messages(values)
        assert prompt.to_anthropic(values) == {"system": "Be kind.", "messages": [user]}
        assert prompt.to_gemini(values) == {
            "system_instruction": {"parts": [{"text": "Be kind."}]},
            "contents": [{"role": "user", "parts": [{"text": "Hi Ada"}]}],
        }


@pytest.mark.parametrize(
    "value", [PROMPT, EVENT, PROMPT.render({"name": "x"}), Response(data=1), Trace("s", "t", 1, 2), Receipt(True)]
)
def test_values_are_frozen_and_have_no_dict(value: Any) -> None:
    assert not hasattr(value, "__dict__")
    for name in (each for each in dir(value) if not each.startswith("_")):
        with pytest.raises((AttributeError, TypeError)):
            setattr(value, name, "other")


def test_a_receipt_is_true_when_accepted() -> None:
    assert Receipt(accepted=True)
    assert not Receipt(accepted=False, reason="full")
