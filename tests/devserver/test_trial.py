"""Trying a prompt on its page."""

from __future__ import annotations

import html
import json
import re

import pytest

from .conftest import Visitor

TYPED = (
    '---\nvariables = [{name = "name", required = true}, {name = "items", type = "array"}]\n---\nHi {{name}}: {{items}}'
)


def tried(visitor: Visitor, slug: str = "welcome", **form: str) -> str:
    """Return the part of the page with the result."""
    answer = visitor.http.post(f"/prompts/{slug}", data=form, headers={"Origin": "http://127.0.0.1:8765"})
    assert answer.status_code == 200
    [result] = re.findall(r'<div id="tried".*?</section>', answer.text, re.DOTALL)
    return result


def texts(result: str) -> list[str]:
    return [html.unescape(each) for each in re.findall("<pre[^>]*>(.*?)</pre>", result, re.DOTALL)]


def fields(visitor: Visitor) -> list[str]:
    return re.findall('<textarea name="value.(.*?)"', visitor.http.get("/prompts/welcome").text)


def test_it_is_rendered_and_shown_as_each_provider_is_sent_it(visitor: Visitor) -> None:
    visitor.write(welcome="system:\nBe kind.\nuser:\nGreet {{name}}.")

    system, user, openai, anthropic, gemini = texts(tried(visitor, version="1", **{"value.name": 'Ada "L"'}))

    assert (system, user) == ("Be kind.", 'Greet Ada "L".')
    assert json.loads(openai) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": 'Greet Ada "L".'},
    ]
    assert json.loads(anthropic)["system"] == "Be kind."
    assert json.loads(gemini)["contents"] == [{"role": "user", "parts": [{"text": 'Greet Ada "L".'}]}]


def test_every_variable_of_every_version_has_a_field(visitor: Visitor) -> None:
    visitor.write(welcome="Greet {{name}} of {{place}}.", welcome__2=TYPED.replace("---\nv", "---\nversion = 2\nv", 1))

    assert fields(visitor) == ["name", "items", "place"]


def test_the_version_that_is_chosen_is_tried(visitor: Visitor) -> None:
    visitor.write(welcome__2='---\nversion = 2\nstatus = "draft"\n---\nSecond')

    assert texts(tried(visitor, version="2"))[0] == "Second"
    assert texts(tried(visitor, version="1"))[0] == "Greet {{name}}."


def test_a_missing_variable_is_told_and_what_was_entered_stays(visitor: Visitor) -> None:
    visitor.write(welcome=TYPED)

    form = {"version": "1", "value.items": "[1]"}
    answer = visitor.http.post("/prompts/welcome", data=form)

    assert "Missing required variables: name" in answer.text
    assert ">[1]</textarea>" in answer.text


def test_an_empty_field_takes_the_default(visitor: Visitor) -> None:
    visitor.write(welcome='---\nvariables = [{name = "name", default = "Grace"}]\n---\nHi {{name}}')

    assert texts(tried(visitor, version="1", **{"value.name": ""}))[0] == "Hi Grace"
    assert 'placeholder="Grace"' in visitor.http.get("/prompts/welcome").text


@pytest.mark.parametrize(("entered", "written"), [('["é",2]', '["é", 2]'), ("no json", "no json"), ("true", "true")])
def test_a_variable_that_is_no_text_is_read_as_json(visitor: Visitor, entered: str, written: str) -> None:
    visitor.write(welcome=TYPED)

    assert texts(tried(visitor, version="1", **{"value.name": "1", "value.items": entered}))[0] == f"Hi 1: {written}"


def test_lines_and_markup_come_as_they_were_entered(visitor: Visitor) -> None:
    result = tried(visitor, version="1", **{"value.name": "<script>\r\n{{other}}"})

    assert texts(result)[0] == "Greet <script>\n{{other}}."
    assert "<script>" not in result


def test_trying_counts_as_no_fetch(visitor: Visitor) -> None:
    tried(visitor, version="1")

    assert visitor.journal()["traces"] == []


@pytest.mark.parametrize("version", ["9", "x", ""])
def test_a_version_that_is_gone_is_not_tried(visitor: Visitor, version: str) -> None:
    assert texts(tried(visitor, version=version)) == []


@pytest.mark.parametrize("body", [b"\xff", b"&".join([b"a=1"] * 2_000)])
def test_a_form_that_cannot_be_read_is_refused(visitor: Visitor, body: bytes) -> None:
    assert visitor.http.post("/prompts/welcome", content=body).status_code == 400


def test_a_prompt_that_nobody_knows_cannot_be_tried(visitor: Visitor) -> None:
    assert visitor.http.post("/prompts/nope", data={"version": "1"}).status_code == 404


def test_no_other_page_can_try(visitor: Visitor) -> None:
    answer = visitor.http.post("/prompts/welcome", data={}, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
