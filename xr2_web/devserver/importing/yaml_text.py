"""Reading YAML that somebody else wrote: plain values only, nothing twice, nothing that grows. No I/O happens here."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from ...errors import ConfigurationError

_LONGEST_NUMBER = 1_000

_FRONT_MATTER = re.compile(
    r"(?:[ \t]*(?:\#[^\n]*)?\n)*---[ \t]*\n(?P<matter>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)


def load(text: str, *, first_line: int = 1) -> Any:
    """Return the one document in ``text``; ``first_line`` is its line in the file.

    Raises ``ConfigurationError``, also for an alias, by which a small file can stand for a large value, for a key that
    stands twice, and for a tag that would make an object.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as exc:
        line = first_line + exc.problem_mark.line if exc.problem_mark else first_line
        raise ConfigurationError([f"line {line}: {exc.problem}"]) from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise ConfigurationError([" ".join(str(exc).split())]) from exc
    except RecursionError as exc:
        raise ConfigurationError(["it is nested too deeply"]) from exc


def split(text: str) -> tuple[dict[str, Any], str, int]:
    """Return the front matter of ``text``, its body, and the line on which the body begins."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        if text.startswith("---"):
            raise ConfigurationError(["the front matter has no closing line of ---"])
        return {}, text, 1
    front = load(match["matter"], first_line=1 + text.count("\n", 0, match.start("matter")))
    if not isinstance(front, dict | None):
        raise ConfigurationError(["the front matter is no mapping of names to values"])
    fields = {str(name): value for name, value in (front or {}).items()}
    return fields, text[match.end() :], 1 + text.count("\n", 0, match.end())


def as_mapping(value: object, name: str) -> dict[Any, Any]:
    """Return a copy of ``value``, empty for None; raise ``ConfigurationError`` where it is no mapping."""
    if value is None or isinstance(value, dict):
        return dict(value or {})
    raise ConfigurationError([f"{name} is no mapping of names to values"])


class _Loader(yaml.SafeLoader):
    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        # Reading a number takes the square of its length, and one in base 60 may be of any.
        if node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_NUMBER:
            problem = f"a number is longer than {_LONGEST_NUMBER} characters"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not read; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            problem = "a key stands twice in the mapping that begins here"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return mapping
