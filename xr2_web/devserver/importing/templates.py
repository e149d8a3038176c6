"""The templates of other tools, rewritten as ours, which have ``{{name}}`` and nothing else. No I/O happens here."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from ...errors import ConfigurationError
from .draft import Message

_COMMENT = r"\{\{!(?:--(?:(?!--\}\}).)*--|(?!--)(?:(?!\}\}).)*)\}\}"
_MUSTACHE = re.compile(
    rf"""
    (?P<comment> ^[ \t]*{_COMMENT}[ \t]*(?:\n|\Z) | {_COMMENT} )
    | (?<!\\)\{{\{{\{{\s*(?P<triple>[^\W\d][\w$-]*)\s*\}}\}}\}}
    | (?<!\\)\{{\{{\s*(?P<name>[^\W\d][\w$-]*)\s*\}}\}}
    | (?P<other>\{{\{{|<<<dotprompt:)
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_JINJA = re.compile(
    r"""
    (?P<comment> \{\#(?:(?!\#\}).)*\#\} )
    | \{\{\s*(?P<name>[^\W\d]\w*)\s*\}\}
    | (?P<other>\{\{|\{%|\{\#)
    """,
    re.VERBOSE | re.DOTALL,
)
_SINGLE = re.compile(r"\{\{[^{}]+\}\}|\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a tool writes a variable, and the words that are none."""

    mark: re.Pattern[str]
    reserved: frozenset[str] = frozenset()


HANDLEBARS = Dialect(_MUSTACHE, frozenset({"else", "history", "this", "null", "undefined", "true", "false"}))
MUSTACHE = Dialect(_MUSTACHE)
JINJA = Dialect(_JINJA, frozenset({"true", "false", "none", "True", "False", "None", "loop", "self"}))


def rewrite(message: Message, dialect: Dialect, *, declared: Collection[str]) -> Message:
    """Return ``message`` as a template of ours, without comments.

    Raises ``ConfigurationError`` with the line for whatever is more than a variable, and for the name of a ``declared``
    variable in single braces: it is text there, and would be filled here.
    """
    text = message.text
    for match in _SINGLE.finditer(text):
        if match[1] in declared:
            raise _refusal(message, match.start(), f"{match[0]} would be filled like {{{match[0]}}}; here it is text")

    def rewritten(match: re.Match[str]) -> str:
        groups = match.groupdict()
        if groups["comment"]:
            return ""
        name = groups["name"] or groups.get("triple")
        if not name or name in dialect.reserved:
            raise _refusal(
                message,
                match.start(),
                f"{_shown(text, match.start())}: our templates have {{{{name}}}} alone, "
                "no blocks, helpers, partials, filters, paths or escapes",
            )
        return f"{{{{{name}}}}}"

    return replace(message, text=dialect.mark.sub(rewritten, text))


def _shown(text: str, start: int) -> str:
    line = text[start : start + 60].split("\n")[0]
    closed = re.match(r".*?[}%#]\}+", line)
    return closed[0] if closed else line


def _refusal(message: Message, position: int, problem: str) -> ConfigurationError:
    return ConfigurationError([f"line {message.line + message.text.count(chr(10), 0, position)}: {problem}"])
