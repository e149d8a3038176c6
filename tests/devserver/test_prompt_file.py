from __future__ import annotations

import pytest

from xr2_web.devserver.prompt_file import escape, parse
from xr2_web.devserver.prompts import Version
from xr2_web.errors import ConfigurationError


def parsed(text: str) -> Version:
    return parse(text, slug="welcome", changed_at=0.0)


def test_text_alone_is_the_user_prompt_of_version_1_in_production() -> None:
    assert parsed("Greet {{name}}.\n") == Version("welcome", 1, "production", user_prompt="Greet {{name}}.")


def test_front_matter_says_what_the_version_is() -> None:
    version = parsed(
        '---\nversion = 2\nstatus = "draft"\nab_test = "tone"\n'
        'variables = ["name", {name = "plan", required = true, default = "free", type = "str"}]\n'
        "[model_config]\ntemperature = 0.7\n---\nHi"
    )

    assert (version.version_number, version.status, version.ab_test) == (2, "draft", "tone")
    assert version.variables == ({"name": "name"}, {"name": "plan", "required": True, "default": "free", "type": "str"})
    assert version.model_config == {"temperature": 0.7}


def test_role_lines_start_the_texts_of_the_roles() -> None:
    version = parsed("system:\nBe kind.\n\nAlways.\nuser:\n  Greet {{name}}.\nassistant:\nHello")

    assert version.system_prompt == "Be kind.\n\nAlways."
    assert version.user_prompt == "  Greet {{name}}."
    assert version.assistant_prompt == "Hello"


def test_a_role_word_inside_a_line_is_text() -> None:
    version = parsed("The user: greet them.\nsystem: be kind")

    assert version.user_prompt == "The user: greet them.\nsystem: be kind"
    assert version.system_prompt is None


def test_a_backslash_makes_text_of_a_line_that_names_a_role() -> None:
    version = parsed("Write:\n\\user:\n\\\\system: \n\\n: \\user: x\nsystem:\nBe kind.")

    assert version.user_prompt == "Write:\nuser:\n\\system: \n\\n: \\user: x"
    assert version.system_prompt == "Be kind."


@pytest.mark.parametrize(
    "text", ["user:", "a\nsystem: \t\nb", "\\user:", "\\\\assistant:\nuser:\n\\user: x", "User:", "\\", " user:"]
)
def test_any_text_can_stand_in_a_body(text: str) -> None:
    version = parsed(f"system:\n{escape(text)}\nuser:\n{escape(text)}")

    assert (version.system_prompt, version.user_prompt) == (text, text)


@pytest.mark.parametrize(
    "text",
    [
        "---\nmodel: googleai/gemini-2.5-flash\ninput:\n  schema:\n    name: string\n---\nHi {{name}}",
        "---\ninput:\n  default: {a: 1}\n---\nHi",
        "---\r\n# ours = no\r\nmodel: m\r\n---\r\nHi",
        '{{role "system"}}\nBe kind.',
        "Hi\n{{ role 'model' }}\nHello",
        "<<<dotprompt:role:user>>>\nHi",
    ],
)
def test_a_dotprompt_file_is_told_from_ours(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"this is a dotprompt file: xr2-web prompts import"):
        parsed(text)


def test_a_text_of_ours_may_be_about_dotprompt() -> None:
    assert parsed('---\nversion = 2\n---\nWrite {{role "user"}}.').user_prompt == 'Write {{role "user"}}.'


@pytest.mark.parametrize(
    "text",
    ['---\nstatus = "draft"\nmodel: m\n---\nHi', "---\n[model_config]\nmodel: m\n---\nHi", "---\nmodel\n---\nHi"],
)
def test_a_mistake_in_ours_is_no_dotprompt_file(text: str) -> None:
    with pytest.raises(ConfigurationError, match="front matter: "):
        parsed(text)


def test_windows_line_ends_are_read() -> None:
    version = parsed("---\r\nversion = 3\r\n---\r\nsystem:\r\nBe kind.\r\nuser:\r\nHi\r\n")

    assert (version.version_number, version.system_prompt, version.user_prompt) == (3, "Be kind.", "Hi")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("---\nversion = 2\nHi", "no closing line"),
        ("---\nversion = \n---\nHi", "front matter: "),
        ("---\nversion = 0\n---\nHi", r"\$\.version"),
        ('---\nstatus = "live"\n---\nHi', "status must be one of draft, .*, and is 'live'"),
        ("---\nversion = 2\nstatus = \n---\nHi", "line 3"),
        ('---\nvariables = ["a", "b", {name = "a"}]\n---\nHi', "two variables of the name a"),
        ("---\nverison = 2\n---\nHi", "verison"),
        ("---\nweight = 0\n---\nHi", "weight must be above 0 .*, and is 0; to serve only the other version"),
        ("---\nweight = -1\n---\nHi", "weight must be above 0"),
        ("---\nweight = nan\n---\nHi", "weight must be above 0"),
        ("---\nweight = 1_000_001\n---\nHi", "at most 1,000,000"),
        ('---\nweight = "3"\n---\nHi', r"\$\.weight"),
        ("---\nab_test_requests = 0\n---\nHi", r"\$\.ab_test_requests"),
        ("---\nvariables = [{required = true}]\n---\nHi", "name"),
        ("Hi\nuser:\nHello", r"two texts of the role user; a line that is text has a backslash before it: \\user:"),
        ("", "it holds no text"),
        ("---\nversion = 2\n---\n\nsystem:\n \n", "it holds no text"),
        pytest.param("---\nmodel_config.a = " + "[" * 50_000 + "\n---\nHi", "front matter: ", id="nested too deeply"),
        pytest.param("---\nversion = " + "9" * 5_000 + "\n---\nHi", "front matter: ", id="a number too long"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parsed(text)
