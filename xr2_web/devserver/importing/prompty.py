"""Microsoft's Prompty: YAML front matter, and a body in which lines such as ``user:`` begin a message.

Fields of both its generations are known: ``inputs`` and ``model.parameters``, ``inputSchema`` and ``model.options``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import ConfigurationError
from . import templates, yaml_text
from .draft import Draft, Message, as_slug

_ROLE = re.compile(r"#?\s*(system|user|assistant|developer|tool|function)\s*(\[[^\]]*\])?\s*:", re.IGNORECASE)
_DIALECTS = {"jinja2": templates.JINJA, "jinja": templates.JINJA, "mustache": templates.MUSTACHE}
_REFERENCE = re.compile(r"\$\{\w+:")
_INPUT_KEYS = {"type", "kind", "default", "description", "required", "isRequired", "sample", "example", "enumValues"}
_NOT_TEXT = {"thread", "image", "file", "audio"}


def read(text: str, stem: str) -> Draft:
    """Return the draft of a file whose name is ``stem``, or raise ``ConfigurationError``.

    Addresses, keys and references to the environment or to other files are left out.
    """
    front, body, line = yaml_text.split(text)
    draft = Draft(as_slug(stem))
    front = _without_references(front, "", draft)
    dialect = _dialect(front.pop("template", None))
    variables = _variables(front.pop("inputs", None), front.pop("inputSchema", None), draft)
    draft.keep("model_config", _model_config(front.pop("model", None), draft))
    draft.keep("variables", variables)
    draft.leave_out(front)
    declared = [each["name"] for each in variables]
    messages = _messages(body, line, draft)
    draft.say(templates.rewrite(each, dialect, declared=declared) for each in messages)
    return draft


def _without_references(value: Any, path: str, draft: Draft) -> Any:
    if isinstance(value, dict):
        named = {name: (f"{path}.{name}" if path else str(name)) for name in value}
        kept = {name: each for name, each in value.items() if not _is_reference(each, named[name], draft)}
        return {name: _without_references(each, named[name], draft) for name, each in kept.items()}
    if isinstance(value, list):
        kept_items = [each for index, each in enumerate(value) if not _is_reference(each, f"{path}[{index}]", draft)]
        return [_without_references(each, f"{path}[{index}]", draft) for index, each in enumerate(kept_items)]
    return value


def _is_reference(value: object, path: str, draft: Draft) -> bool:
    is_reference = isinstance(value, str) and _REFERENCE.search(value) is not None
    if is_reference:
        draft.left_out.append(f"{path} (a reference)")
    return is_reference


def _dialect(template: object) -> templates.Dialect:
    kind = template
    while isinstance(kind, dict):
        kind = kind.get("format") or kind.get("kind") or kind.get("type")
    dialect = _DIALECTS.get(str(kind or "jinja2").lower())
    if dialect is None:
        raise ConfigurationError([f"the template language {kind} is not known here: {', '.join(_DIALECTS)}"])
    return dialect


def _model_config(model: object, draft: Draft) -> dict[Any, Any]:
    if isinstance(model, str):
        return {"model": model}
    fields = yaml_text.as_mapping(model, "model")
    within = next((each for each in ("configuration", "connection") if each in fields), "configuration")
    connection = yaml_text.as_mapping(fields.pop(within, None), f"model.{within}")
    names = {
        "provider": fields.pop("provider", None) or connection.pop("type", None),
        "model": fields.pop("id", None) or connection.pop("azure_deployment", None) or connection.pop("model", None),
    }
    options = yaml_text.as_mapping(fields.pop("options", None), "model.options")
    options |= yaml_text.as_mapping(fields.pop("parameters", None), "model.parameters")
    draft.leave_out(fields, within="model")
    draft.leave_out(connection, within=f"model.{within}")
    return {**{name: value for name, value in names.items() if value is not None}, **options}


def _variables(inputs: object, schema: object, draft: Draft) -> list[dict[str, Any]]:
    if schema is not None:
        fields = yaml_text.as_mapping(schema, "inputSchema")
        inputs = fields.pop("properties", inputs)
        draft.leave_out(fields, within="inputSchema")
    if isinstance(inputs, list):
        described = [yaml_text.as_mapping(each, "an input") for each in inputs]
        return [_variable(each.pop("name", None), each, draft) for each in described]
    named = yaml_text.as_mapping(inputs, "inputs")
    return [_variable(name, each if _describes(each) else {"default": each}, draft) for name, each in named.items()]


def _describes(value: object) -> bool:
    return isinstance(value, dict) and (not value or not value.keys().isdisjoint(_INPUT_KEYS))


def _variable(name: object, described: dict[Any, Any], draft: Draft) -> dict[str, Any]:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(["an input has no name"])
    kind = described.get("kind", described.get("type"))
    if kind in _NOT_TEXT:
        raise ConfigurationError(
            [f"the input {name} is of the kind {kind}, and variables of xR2 are filled in as text"]
        )
    required = described.get("required", described.get("isRequired"))
    known = {"default": described.get("default"), "type": kind, "description": described.get("description")}
    used = {"default", "type", "kind", "description", "required", "isRequired"}
    draft.leave_out((each for each in described if each not in used), within=f"inputs.{name}")
    kept = {key: value for key, value in known.items() if value is not None}
    return {"name": name, **({"required": True} if required is True else {}), **kept}


def _messages(body: str, first_line: int, draft: Draft) -> Iterator[Message]:
    # What stands before the first role is the system's.
    role, lines, begin = "system", [], first_line
    for number, line in enumerate(body.split("\n"), start=first_line):
        match = _ROLE.fullmatch(line.strip())
        if match is None:
            lines.append(line)
            continue
        yield Message(role, "\n".join(lines), begin)
        role, lines, begin = match[1].lower(), [], number + 1
        if match[2]:
            draft.left_out.append(f"the attributes of {role} in line {number}")
    yield Message(role, "\n".join(lines), begin)
