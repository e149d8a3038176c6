"""Trying a prompt: filled as an application would fill it, and what a provider would be sent. No I/O happens here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .. import rendering
from ..errors import InvalidValue, VariableError
from .prompts import Prompt, Version

_PLACEHOLDER = re.compile(r"\{\{([^{}]+)\}\}")
_TYPED = frozenset({"array", "list", "object", "number", "integer", "int", "float", "boolean", "bool"})


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one: ``messages`` by role and their ``shapes`` as JSON by provider, or the ``problem``."""

    version: Version
    messages: list[dict[str, str]] = field(default_factory=list)
    shapes: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def variables(prompt: Prompt) -> dict[str, Mapping[str, Any]]:
    """Return what can be filled in any version of ``prompt``: what is declared, and what else a text mentions."""
    found: dict[str, Mapping[str, Any]] = {}
    for version in reversed(prompt.versions):
        for name, variable in rendering.index_variables(version.variables).items():
            found.setdefault(name, variable)
        for text in filter(None, _texts(version)):
            for name in _PLACEHOLDER.findall(text):
                found.setdefault(name, {"name": name})
    return found


def try_out(version: Version, entered: Mapping[str, str]) -> Trial:
    """Fill ``version`` with what was ``entered``; an empty field is a value that is not passed.

    A variable whose type is no text is read as JSON where it can be.
    """
    declared = rendering.index_variables(version.variables)
    values = {name: _value(text, declared.get(name, {})) for name, text in entered.items() if text}
    try:
        resolved = rendering.resolve(version.variables, values, strict=True, use_defaults=True)
        texts = [rendering.fill(each, resolved, declared, array_separator=None) for each in _texts(version)]
    except (VariableError, InvalidValue) as exc:
        return Trial(version, problem=str(exc))
    shapes = {
        "OpenAI": rendering.to_openai(*texts),
        "Anthropic": rendering.to_anthropic(*texts),
        "Gemini": rendering.to_gemini(*texts),
    }
    written = {name: msgspec.json.format(msgspec.json.encode(shape)).decode() for name, shape in shapes.items()}
    return Trial(version, rendering.messages(*texts), written)


def _texts(version: Version) -> tuple[str | None, str | None, str | None]:
    return version.system_prompt, version.user_prompt, version.assistant_prompt


def _value(text: str, variable: Mapping[str, Any]) -> object:
    if str(variable.get("type", "")).lower() not in _TYPED:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
