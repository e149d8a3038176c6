"""Filling a prompt's texts, and the message shapes of the model providers. No I/O happens here.

The law: a template is read once, so that nothing inside a value is ever taken for a placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from .errors import InvalidValue, VariableError

# A name holds no brace: a match ends at the next one, and reading stays linear however many are left open.
_PLACEHOLDER = re.compile(r"\{\{([^{}]+)\}\}|\{([^{}]+)\}")


def index_variables(variables: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the declarations by name; of two with the same name the last one counts.

    Declarations without a usable name are left out: what xR2 stores must not fail a user's request.
    """
    return {name: variable for variable in variables if isinstance(name := variable.get("name"), str) and name}


def resolve(
    variables: Sequence[Mapping[str, Any]],
    values: Mapping[str, object] | None,
    *,
    strict: bool,
    use_defaults: bool,
) -> dict[str, object]:
    """Return what is known of every variable: the value given, else the default.

    Values for undeclared names come after the declared ones: a fallback text declares nothing and is filled too.
    Raises ``VariableError`` when ``strict`` and a required variable has neither.
    """
    values = {} if values is None else values
    resolved: dict[str, object] = {}
    missing: list[str] = []
    for name, variable in index_variables(variables).items():
        default = _default(variable) if use_defaults else None
        if name in values:
            resolved[name] = values[name]
        elif default is not None:
            resolved[name] = default
        elif variable.get("required"):
            missing.append(name)
    if strict and missing:
        raise VariableError(
            f"Missing required variables: {', '.join(missing)}. Pass them to render(), or set defaults in xR2.",
            missing,
        )
    return {**resolved, **values}


def fill(
    template: str | None,
    resolved: Mapping[str, object],
    declared: Collection[str],
    *,
    array_separator: str | None,
) -> str | None:
    """Return ``template`` with the resolved values in place of ``{{name}}`` and, for declared names, ``{name}``.

    Everything else in braces stays as it is. Booleans are written ``true`` and ``false``, lists as JSON or
    joined by ``array_separator``, the rest by ``str``. Raises ``InvalidValue`` for a value that cannot be written.
    """
    if template is None:
        return None

    def written(match: re.Match[str]) -> str:
        doubled, single = match.groups()
        name = doubled or single
        if name not in resolved or (single and name not in declared):
            return match[0]
        return _write(name, resolved[name], array_separator)

    return _PLACEHOLDER.sub(written, template)


def select_used(
    resolved: Mapping[str, object], declared: Collection[str], templates: Iterable[str | None]
) -> dict[str, object]:
    """Return what went in: every declared variable, and the undeclared ones that a template mentions."""
    mentioned = {match[1] for template in templates for match in _PLACEHOLDER.finditer(template or "")}
    return {name: value for name, value in resolved.items() if name in declared or name in mentioned}


def messages(system: str | None, user: str | None, assistant: str | None) -> list[dict[str, str]]:
    """Return the texts as ``role`` and ``content``, without those that are absent or blank."""
    texts = {"system": system, "user": user, "assistant": assistant}
    return [{"role": role, "content": text} for role, text in texts.items() if _is_present(text)]


def to_openai(system: str | None, user: str | None, assistant: str | None) -> list[dict[str, str]]:
    """Return the ``messages`` of a chat completion, for OpenAI and the many servers that speak its language.

    The role stays ``system``, which all of them know; OpenAI's newer name for it is ``developer``.
    """
    return messages(system, user, assistant)


def to_anthropic(system: str | None, user: str | None, assistant: str | None) -> dict[str, Any]:
    """Return ``system``, if there is one, and ``messages``, to be passed on with ``**``.

    Anthropic wants at least one message and the user's first; Claude 4.6 and later want the user's last as well,
    so a prompt with an assistant text needs the rest of the conversation appended to ``messages``.
    """
    # A last assistant text that ends in white space is refused with a 400.
    conversation = messages(None, user, assistant.rstrip() if assistant else None)
    head = {"system": system} if _is_present(system) else {}
    return {**head, "messages": conversation}


def to_gemini(system: str | None, user: str | None, assistant: str | None) -> dict[str, Any]:
    """Return ``system_instruction``, if there is one, and ``contents``, as the REST body has them.

    With the google-genai package, ``contents`` is an argument and ``system_instruction`` a key of its ``config``.
    """
    texts = {"user": user, "model": assistant}
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in texts.items() if _is_present(text)]
    head = {"system_instruction": {"parts": [{"text": system}]}} if _is_present(system) else {}
    return {**head, "contents": contents}


def _is_present(text: str | None) -> TypeGuard[str]:
    # Blank counts as absent: Anthropic refuses the whole request for a text of nothing but white space.
    return text is not None and bool(text.strip())


def _default(variable: Mapping[str, Any]) -> object:
    default = variable.get("default")
    return variable.get("defaultValue") if default is None else default


def _write(name: str, value: object, array_separator: str | None) -> str:
    try:
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, list):
            return str(value)
        if array_separator is not None:
            return array_separator.join(str(item) for item in value)
        import json  # most prompts have no list, and json takes longer to import than all of this module

        return json.dumps(value, ensure_ascii=False)
    except Exception as exc:
        raise InvalidValue(f"this {type(value).__name__} cannot be written as text", path=f"values.{name}") from exc
