from __future__ import annotations

import pytest

from xr2_web.devserver.prompt_file import parse
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


def test_windows_line_ends_are_read() -> None:
    version = parsed("---\r\nversion = 3\r\n---\r\nsystem:\r\nBe kind.\r\nuser:\r\nHi\r\n")

    assert (version.version_number, version.system_prompt, version.user_prompt) == (3, "Be kind.", "Hi")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("---\nversion = 2\nHi", "no closing line"),
        ("---\nversion = \n---\nHi", "front matter: "),
        ("---\nversion = 0\n---\nHi", r"\$\.version"),
        ('---\nstatus = "live"\n---\nHi', "live"),
        ("---\nverison = 2\n---\nHi", "verison"),
        ("---\nvariables = [{required = true}]\n---\nHi", "name"),
        ("Hi\nuser:\nHello", "two texts of the role user"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parsed(text)
