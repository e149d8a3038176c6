"""Prompts in YAML of no particular tool: one mapping, or a list of them, with the names that xR2 uses.

Their texts are templates of xR2 already and are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import ConfigurationError
from . import yaml_text
from .draft import Draft, Message, as_slug, check_slug

_TEXTS = {
    "system": "system",
    "system_prompt": "system",
    "user": "user",
    "user_prompt": "user",
    "assistant": "assistant",
    "assistant_prompt": "assistant",
}
_KEPT = ("status", "ab_test", "weight", "ab_test_requests", "model_config")
_VARIABLE_KEYS = ("required", "default", "type", "description")


def read(text: str, stem: str) -> list[Draft | ConfigurationError]:
    """Return the drafts of a file whose name is ``stem``, and in place of one that cannot be made what is wrong.

    A single prompt may take its slug from ``stem``, one of several has a ``slug`` or a ``name``. Raises
    ``ConfigurationError`` where the file, or its only prompt, cannot be read.
    """
    document = yaml_text.load(text)
    if isinstance(document, dict):
        return [_draft(document, stem)]
    if not isinstance(document, list) or not document:
        raise ConfigurationError(["it is neither a prompt, which is a mapping, nor a list of prompts"])
    return [_one_of_several(number, each) for number, each in enumerate(document, start=1)]


def _one_of_several(number: int, document: object) -> Draft | ConfigurationError:
    try:
        return _draft(document, None)
    except ConfigurationError as exc:
        return ConfigurationError([f"prompt {number}: {exc}"])


def _draft(document: object, stem: str | None) -> Draft:
    fields = {str(name): value for name, value in yaml_text.as_mapping(document, "the prompt").items()}
    draft = Draft(_slug(fields, stem))
    version = _version(fields)
    if version is not None:
        draft.front["version"] = version
    for name in _KEPT:
        if fields.get(name) is not None:
            draft.keep(name, fields.pop(name))
    draft.keep("variables", list(_variables(fields.pop("variables", None), draft)))
    draft.say([*_listed(fields.pop("messages", None), draft), *_named(fields)])
    draft.leave_out(fields)
    return draft


def _slug(fields: dict[str, Any], stem: str | None) -> str:
    if fields.get("slug") is not None:
        return check_slug(fields.pop("slug"))
    name = fields.pop("name", None) or stem
    if name is None:
        raise ConfigurationError(["it has neither a slug nor a name"])
    return as_slug(str(name))


def _version(fields: dict[str, Any]) -> int | None:
    given = [fields.pop(name) for name in ("version", "version_number") if fields.get(name) is not None]
    if not given:
        return None
    version = given[0]
    if isinstance(version, str) and version.isdecimal() and len(version) < 10:
        version = int(version)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigurationError([f"the version {version!r} is no whole number above 0"])
    return version


def _variables(variables: object, draft: Draft) -> Iterator[dict[str, Any]]:
    if isinstance(variables, dict):
        variables = [
            {"name": name, **yaml_text.as_mapping(each, f"variables.{name}")} for name, each in variables.items()
        ]
    if not isinstance(variables, list | None):
        raise ConfigurationError(["variables is no list"])
    for each in variables or []:
        fields = {"name": each} if isinstance(each, str) else yaml_text.as_mapping(each, "a variable")
        name = fields.pop("name", None)
        if not isinstance(name, str) or not name:
            raise ConfigurationError(["a variable has no name"])
        default = fields.pop("defaultValue", None)
        if default is not None:
            fields.setdefault("default", default)
        kept = {key: fields.pop(key) for key in _VARIABLE_KEYS if key in fields}
        draft.leave_out(fields, within=f"variables.{name}")
        yield {"name": name, **{key: value for key, value in kept.items() if value is not None}}


def _listed(messages: object, draft: Draft) -> Iterator[Message]:
    if not isinstance(messages, list | None):
        raise ConfigurationError(["messages is no list"])
    for number, each in enumerate(messages or [], start=1):
        fields = yaml_text.as_mapping(each, f"message {number}")
        role, content = fields.pop("role", "user"), fields.pop("content", None)
        if not isinstance(content, str):
            raise ConfigurationError([f"message {number} has no content that is a text"])
        draft.leave_out(fields, within=f"messages[{number - 1}]")
        yield Message(str(role), content)


def _named(fields: dict[str, Any]) -> Iterator[Message]:
    for name in [each for each in _TEXTS if each in fields]:
        text = fields.pop(name)
        if isinstance(text, str):
            yield Message(_TEXTS[name], text)
        elif text is not None:
            raise ConfigurationError([f"{name} is no text"])
