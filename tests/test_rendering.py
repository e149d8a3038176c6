from __future__ import annotations

import random
from typing import Any

import pytest

from xr2_web import rendering
from xr2_web.errors import InvalidValue, VariableError

NAMES = ("name", "plan", "user name", "first-name", "items[0]", "имя", "a", "ab", "a|b")


def render(
    template: str | None,
    values: dict[str, object] | None = None,
    *,
    variables: tuple[dict[str, Any], ...] = (),
    strict: bool = True,
    use_defaults: bool = True,
    array_separator: str | None = None,
) -> str | None:
    resolved = rendering.resolve(variables, values, strict=strict, use_defaults=use_defaults)
    declared = rendering.index_variables(variables)
    return rendering.fill(template, resolved, declared, array_separator=array_separator)


class Unprintable:
    def __str__(self) -> str:
        raise LookupError("no text")


class TestResolve:
    def test_a_given_value_wins_over_the_default(self) -> None:
        variables = [{"name": "plan", "default": "free"}]

        resolved = rendering.resolve(variables, {"plan": "pro"}, strict=True, use_defaults=True)

        assert resolved == {"plan": "pro"}

    @pytest.mark.parametrize(
        "variable",
        [
            {"name": "plan", "default": "free", "required": True},
            {"name": "plan", "defaultValue": "free"},
            {"name": "plan", "default": None, "defaultValue": "free"},
            {"name": "plan", "default": "free", "defaultValue": "other"},
        ],
    )
    def test_a_default_is_found_under_either_name(self, variable: dict[str, Any]) -> None:
        resolved = rendering.resolve([variable], None, strict=True, use_defaults=True)

        assert resolved == {"plan": "free"}

    @pytest.mark.parametrize("default", ["", 0, False, []])
    def test_a_default_that_is_false_is_still_a_default(self, default: object) -> None:
        variables: list[dict[str, Any]] = [{"name": "plan", "default": default, "required": True}]

        resolved = rendering.resolve(variables, None, strict=True, use_defaults=True)

        assert resolved == {"plan": default}

    def test_every_missing_required_variable_is_named_at_once(self) -> None:
        variables = ({"name": "plan", "required": True}, {"name": "note"}, {"name": "team", "required": True})

        with pytest.raises(VariableError, match="plan, team") as caught:
            rendering.resolve(variables, {}, strict=True, use_defaults=True)

        assert caught.value.missing_variables == ["plan", "team"]

    def test_a_missing_variable_keeps_its_placeholder_when_not_strict(self) -> None:
        variables = ({"name": "plan", "required": True},)

        assert render("{{plan}} {plan}", variables=variables, strict=False) == "{{plan}} {plan}"

    def test_without_defaults_a_required_variable_is_missing(self) -> None:
        variables = [{"name": "plan", "required": True, "default": "free"}]

        with pytest.raises(VariableError):
            rendering.resolve(variables, None, strict=True, use_defaults=False)

    def test_declared_variables_come_first_and_undeclared_ones_after_them(self) -> None:
        variables = [{"name": "plan", "default": "free"}]

        resolved = rendering.resolve(variables, {"city": "Oslo", "plan": "pro"}, strict=True, use_defaults=True)

        assert list(resolved.items()) == [("plan", "pro"), ("city", "Oslo")]

    def test_the_values_given_are_left_as_they_were(self) -> None:
        values: dict[str, object] = {"city": "Oslo"}

        resolved = rendering.resolve([{"name": "plan", "default": "free"}], values, strict=True, use_defaults=True)
        resolved["more"] = 1

        assert values == {"city": "Oslo"}

    @pytest.mark.parametrize("variable", [{}, {"name": None}, {"name": 7}, {"name": ""}])
    def test_a_declaration_without_a_usable_name_is_passed_over(self, variable: dict[str, Any]) -> None:
        variables = (variable | {"required": True}, {"name": "plan"})

        assert render("{{}} {} {plan}", {"plan": "pro"}, variables=variables) == "{{}} {} pro"


class TestFill:
    def test_an_absent_template_stays_absent_and_an_empty_one_empty(self) -> None:
        assert render(None, {"name": "Ada"}) is None
        assert render("", {"name": "Ada"}) == ""

    def test_an_undeclared_value_fills_double_braces_only(self) -> None:
        assert render("Greet {{name}}, {name}.", {"name": "Ada"}) == "Greet Ada, {name}."

    def test_a_declared_value_fills_single_braces_too(self) -> None:
        variables = ({"name": "name"},)

        assert render("Greet {{name}}, {name}.", {"name": "Ada"}, variables=variables) == "Greet Ada, Ada."

    @pytest.mark.parametrize(
        "text",
        [
            '{"name": "x", "n": {"name": 1}}',
            "{{other}} {other} {{ name }} { name }",
            "{} {{}} { {{ }} } {{{}}}",
            "{name",
            "name}} {{name",
            "{{na\nme}}",
            r"\1 \g<0> {{NAME}}",
        ],
    )
    def test_json_and_unknown_placeholders_survive(self, text: str) -> None:
        variables = ({"name": "name"},)

        assert render(text, {"name": "Ada"}, variables=variables) == text

    def test_a_placeholder_inside_json_is_filled_and_the_braces_stay(self) -> None:
        variables = ({"name": "n"},)

        filled = render('{"n": {n}, "m": {{n}}, "o": {{{n}}}}', {"n": 1}, variables=variables)

        assert filled == '{"n": 1, "m": 1, "o": {1}}'

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (True, "true"),
            (False, "false"),
            (None, "None"),
            (1.50, "1.5"),
            (("a", 1), "('a', 1)"),
            (["é", True, None, 1], '["é", true, null, 1]'),
            ([], "[]"),
            ("", ""),
            (r"\1 \g<0> \n", r"\1 \g<0> \n"),
        ],
    )
    def test_a_value_is_written_as_the_reference_client_writes_it(self, value: object, text: str) -> None:
        assert render("{{value}}", {"value": value}) == text

    @pytest.mark.parametrize(("separator", "text"), [(", ", "a, 1, True"), ("", "a1True")])
    def test_a_list_is_joined_by_the_separator(self, separator: str, text: str) -> None:
        assert render("{{value}}", {"value": ["a", 1, True]}, array_separator=separator) == text

    @pytest.mark.parametrize(
        ("value", "separator", "cause"),
        [
            (Unprintable(), None, LookupError),
            ([Unprintable()], ",", LookupError),
            ([object()], None, TypeError),
        ],
    )
    def test_a_value_without_a_text_form_is_invalid_and_says_where_it_came_from(
        self, value: object, separator: str | None, cause: type[Exception]
    ) -> None:
        with pytest.raises(InvalidValue, match=r"^values\.item: ") as caught:
            render("{{item}}", {"item": value}, array_separator=separator)

        assert caught.value.path == "values.item"
        assert isinstance(caught.value.__cause__, cause)

    def test_a_list_that_holds_itself_is_invalid(self) -> None:
        items: list[object] = ["secret"]
        items.append(items)

        with pytest.raises(InvalidValue) as caught:
            render("{{items}}", {"items": items})

        assert "secret" not in str(caught.value)

    def test_a_value_that_no_template_mentions_is_never_written(self) -> None:
        assert render("Hello.", {"item": Unprintable()}) == "Hello."


class TestSelectUsed:
    def test_undeclared_values_count_only_where_a_template_mentions_them(self) -> None:
        resolved = {"plan": "pro", "city": "Oslo", "team": "x", "row": 1}

        used = rendering.select_used(resolved, {"plan"}, ["{{city}} {{nobody}}", None, "{team}"])

        assert used == {"plan": "pro", "city": "Oslo"}


class TestMessages:
    def test_the_order_is_system_user_assistant(self) -> None:
        assert rendering.messages("S", "U", "A") == [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "U"},
            {"role": "assistant", "content": "A"},
        ]

    @pytest.mark.parametrize("blank", [None, "", " \n\t"])
    def test_blank_texts_make_no_message_in_any_shape(self, blank: str | None) -> None:
        assert rendering.messages(blank, "U", blank) == [{"role": "user", "content": "U"}]
        assert rendering.to_openai(blank, blank, blank) == []
        assert rendering.to_anthropic(blank, "U", blank) == {"messages": [{"role": "user", "content": "U"}]}
        assert rendering.to_gemini(blank, blank, blank) == {"contents": []}

    def test_white_space_around_a_text_is_kept(self) -> None:
        assert rendering.messages(None, " U\n", " A\n") == [
            {"role": "user", "content": " U\n"},
            {"role": "assistant", "content": " A\n"},
        ]

    def test_openai_takes_the_chat_messages(self) -> None:
        assert rendering.to_openai("S", "U", None) == [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "U"},
        ]

    def test_anthropic_takes_the_system_text_apart_and_no_white_space_at_the_end(self) -> None:
        assert rendering.to_anthropic("S", " U ", " A \n") == {
            "system": "S",
            "messages": [{"role": "user", "content": " U "}, {"role": "assistant", "content": " A"}],
        }

    def test_gemini_takes_parts_and_calls_the_assistant_model(self) -> None:
        assert rendering.to_gemini("S", "U", "A") == {
            "system_instruction": {"parts": [{"text": "S"}]},
            "contents": [{"role": "user", "parts": [{"text": "U"}]}, {"role": "model", "parts": [{"text": "A"}]}],
        }


class TestAgainstTheReferenceClient:
    @pytest.fixture
    def reference(self) -> Any:
        return pytest.importorskip("xr2_sdk")

    @staticmethod
    def reference_prompt(reference: Any, variables: Any, templates: list[str | None]) -> Any:
        return reference.PromptContentResponse(
            slug="welcome",
            source_name="test",
            version_number=1,
            status="production",
            variables=list(variables),
            created_at="2025-01-01T00:00:00Z",
            updated_at="2025-01-01T00:00:00Z",
            trace_id="t",
            system_prompt=templates[0],
            user_prompt=templates[1],
            assistant_prompt=templates[2],
        )

    @staticmethod
    def outcome(reference: Any, prompt: Any, values: dict[str, object], **options: Any) -> Any:
        try:
            return prompt.render(values, **options)
        except reference.VariableError as exc:
            return exc

    @staticmethod
    def any_value(chance: random.Random) -> object:
        # Upper case and never empty, so that no value spells a placeholder together with the braces around it.
        word = chance.choice(["ADA", "ÉÏ", "A B", r"\1\g<0>", '"Q"', "{X}", "{{Y}}", "$&"])
        plain = [word, True, False, None, 0, -3, 2.5, 1e30, {"K": word}, (1, "T")]
        return chance.choice([*plain, [word, True, None, 1.5], [{"K": [word]}, []]])

    @staticmethod
    def any_template(chance: random.Random) -> str | None:
        def piece() -> str:
            name = chance.choice([*NAMES, "unknown", "Other Thing", ""])
            texts = ["Hello, ", "\n", "{", "}", "{{", "}}", '{"k": [1, {"z": 2}]}', "100 % \\ ", "ÄÖ"]
            return chance.choice(
                [*texts, f"{{{{{name}}}}}", f"{{{name}}}", f"{{{{ {name} }}}}", f"{{{{{{{name}}}}}}}", f"{{{name}}}}}"]
            )

        return None if chance.random() < 0.05 else "".join(piece() for _ in range(chance.randrange(12)))

    def any_variable(self, chance: random.Random, name: str) -> dict[str, Any]:
        variable: dict[str, Any] = {"name": name, "type": "string"}
        for key in ("default", "defaultValue"):
            if chance.random() < 0.4:
                variable[key] = self.any_value(chance)
        if chance.random() < 0.7:
            variable["required"] = chance.random() < 0.8
        return variable

    @pytest.mark.parametrize("seed", range(20))
    def test_ordinary_prompts_render_the_same(self, reference: Any, seed: int) -> None:
        chance = random.Random(seed)
        outcomes = {"rendered": 0, "refused": 0}
        for _ in range(250):
            names = chance.choices(NAMES, k=chance.randrange(7))
            variables = [self.any_variable(chance, name) for name in names]
            templates = [self.any_template(chance) for _ in range(3)]
            values = {name: self.any_value(chance) for name in names if chance.random() < 0.7}
            options = {"strict": chance.random() < 0.5, "use_defaults": chance.random() < 0.7}
            separator = chance.choice([None, ", ", "", "\n- "])
            prompt = self.reference_prompt(reference, variables, templates)

            expected = self.outcome(reference, prompt, values, array_separator=separator, **options)

            if isinstance(expected, reference.VariableError):
                with pytest.raises(VariableError) as caught:
                    rendering.resolve(variables, values, **options)
                assert caught.value.missing_variables == expected.missing_variables
                outcomes["refused"] += 1
                continue
            resolved = rendering.resolve(variables, values, **options)
            filled = [rendering.fill(text, resolved, names, array_separator=separator) for text in templates]

            assert filled == [expected.system_prompt, expected.user_prompt, expected.assistant_prompt]
            assert rendering.select_used(resolved, names, templates) == expected.variables_used
            outcomes["rendered"] += 1
        assert all(outcomes.values())

    def test_a_value_is_never_expanded_again_while_the_reference_expands_it(self, reference: Any) -> None:
        variables = ({"name": "comment"}, {"name": "secret", "default": "hunter2"})
        values: dict[str, object] = {"comment": "{{secret}} {secret}"}
        prompt = self.reference_prompt(reference, variables, [None, "Sum up: {{comment}}", None])

        assert prompt.render(values).user_prompt == "Sum up: hunter2 hunter2"
        assert render("Sum up: {{comment}}", values, variables=variables) == "Sum up: {{secret}} {secret}"

    def test_a_value_cannot_close_a_brace_of_the_template_while_the_reference_lets_it(self, reference: Any) -> None:
        variables = ({"name": "key"}, {"name": "secret", "default": "hunter2"})
        values: dict[str, object] = {"key": "secret"}
        prompt = self.reference_prompt(reference, variables, [None, "{{{key}}}", None])

        assert prompt.render(values).user_prompt == "hunter2"
        assert render("{{{key}}}", values, variables=variables) == "{secret}"

    def test_an_empty_value_joins_no_braces_while_in_the_reference_it_does(self, reference: Any) -> None:
        variables = ({"name": "gap"}, {"name": "key", "default": "K"})
        values: dict[str, object] = {"gap": ""}
        prompt = self.reference_prompt(reference, variables, [None, "{{gap}key}", None])

        assert prompt.render(values).user_prompt == "K"
        assert render("{{gap}key}", values, variables=variables) == "{key}"

    def test_an_undeclared_value_is_filled_in_while_the_reference_leaves_it_out(self, reference: Any) -> None:
        values: dict[str, object] = {"name": "Ada"}
        prompt = self.reference_prompt(reference, (), [None, "Greet {{name}}.", None])

        assert prompt.render(values).user_prompt == "Greet {{name}}."
        assert render("Greet {{name}}.", values) == "Greet Ada."
