"""Google's dotprompt: YAML front matter, and a Handlebars template with marks such as ``{{role "system"}}``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import ConfigurationError
from .. import prompt_file
from . import templates, yaml_text
from .draft import Draft, Message, as_slug

_ROLE = re.compile(r"""\{\{\s*role\s+(["'])(?P<role>\w+)\1\s*\}\}|<<<dotprompt:role:(?P<written>[a-z]+)>>>""")
_PICO_NAME = re.compile(
    r"(?P<name>[^?(]+)(?P<optional>\?)?(?:\((?P<kind>[^,)]*)(?:,(?P<description>.*))?\))?", re.DOTALL
)
_JSON_TYPES = {"string", "number", "integer", "boolean", "null", "object", "array"}


def read(text: str, stem: str) -> Draft:
    """Return the draft of a file whose name is ``stem``, or raise ``ConfigurationError``."""
    if text.startswith("---"):
        _check_is_not_ours(text)
    if stem.startswith("_"):
        raise ConfigurationError(["it is a partial, which other dotprompt files include; our templates have none"])
    front, body, line = yaml_text.split(text)
    name, _, variant = stem.partition(".")
    variant = front.pop("variant", None) or variant
    draft = Draft(as_slug(str(front.pop("name", None) or name)), as_slug(str(variant)) if variant else None)
    model = front.pop("model", None)
    config = yaml_text.as_mapping(front.pop("config", None), "config")
    draft.keep("model_config", {**({} if model is None else {"model": model}), **config})
    variables = _variables(yaml_text.as_mapping(front.pop("input", None), "input"), draft)
    draft.keep("variables", list(variables.values()))
    draft.leave_out(front)
    draft.say(templates.rewrite(each, templates.HANDLEBARS, declared=variables) for each in _messages(body, line))
    return draft


def _check_is_not_ours(text: str) -> None:
    try:
        prompt_file.parse(text, slug="", changed_at=0.0)
    except ConfigurationError:
        return
    raise ConfigurationError(["it is a prompt file of xR2 already: copy it into the folder"])


def _variables(fields: dict[Any, Any], draft: Draft) -> dict[str, dict[str, Any]]:
    schema, defaults = fields.pop("schema", None), yaml_text.as_mapping(fields.pop("default", None), "input.default")
    draft.leave_out(fields, within="input")
    variables = {each["name"]: each for each in _described(schema, draft)}
    for name, default in defaults.items():
        variables.setdefault(str(name), {"name": str(name)})["default"] = default
    return variables


def _described(schema: object, draft: Draft) -> Iterator[dict[str, Any]]:
    if isinstance(schema, str):
        draft.leave_out([f"schema ({schema})"], within="input")
        return
    fields = yaml_text.as_mapping(schema, "input.schema")
    if fields.get("type") in _JSON_TYPES or isinstance(fields.get("properties"), dict):
        yield from _json_schema(fields, draft)
        return
    for name, described in fields.items():
        match = _PICO_NAME.fullmatch(str(name))
        if match is None:
            draft.leave_out([name], within="input.schema")
        else:
            yield _picoschema(match, described, draft)


def _json_schema(fields: dict[Any, Any], draft: Draft) -> Iterator[dict[str, Any]]:
    properties = yaml_text.as_mapping(fields.pop("properties", None), "input.schema.properties")
    required = fields.pop("required", None)
    draft.leave_out((each for each in fields if each != "type"), within="input.schema")
    for name, described in properties.items():
        known = yaml_text.as_mapping(described, f"input.schema.properties.{name}")
        kept = {key: known.pop(key) for key in ("type", "description") if isinstance(known.get(key), str)}
        if "default" in known:
            kept["default"] = known.pop("default")
        draft.leave_out(known, within=f"input.schema.properties.{name}")
        is_required = isinstance(required, list) and name in required
        yield {"name": str(name), **({"required": True} if is_required else {}), **kept}


def _picoschema(match: re.Match[str], described: object, draft: Draft) -> dict[str, Any]:
    name, kind, description = match["name"].strip(), match["kind"], match["description"]
    if isinstance(described, str):
        scalar, _, text = described.partition(",")
        kind, description = kind or scalar, description or text
    elif described is not None:
        kind = kind or ("object" if isinstance(described, dict) else "enum")
        draft.left_out.append(f"what is inside of input.schema.{name}")
    kept = {"type": (kind or "").strip(), "description": (description or "").strip()}
    required = {} if match["optional"] else {"required": True}
    return {"name": name, **required, **{key: text for key, text in kept.items() if text}}


def _messages(body: str, first_line: int) -> Iterator[Message]:
    role, begin, line = "user", 0, first_line
    for match in _ROLE.finditer(body):
        yield Message(role, body[begin : match.start()], line)
        line += body.count("\n", begin, match.end())
        role, begin = match["role"] or match["written"], match.end()
    yield Message(role, body[begin:], line)
