"""What each setting may hold: readers that return the value, or say in a ``ValueError`` what it must be.

Text is taken wherever another type is meant, since that is how the environment has it. What only a reader needs
is imported by it: settings are read once, at start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from . import values

EVENT_OPTIONS = frozenset(
    {"event", "value", "currency", "metadata", "prompt", "user_id", "session_id", "when", "methods", "after"}
)
"""What a rule of EVENTS may say: the arguments of ``track``."""

OUTBOXES = ("spool", "memory", "database", "celery")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_KEY = re.compile(r"[\x21-\x7e]+")
_PATH_LIKE = re.compile(r"/|\w+\s+/|(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE)\s")
# Converters of the frameworks, as in "<int:id>" or "{id:int}", would be taken for text of the path.
_PATH_RULE = re.compile(r"\w+ /(?:[^{}<>]|\{[A-Za-z_]\w*\})*")


def key(value: object) -> str | None:
    """Return an API key that an HTTP header can carry; the key itself is never quoted."""
    if value is None:
        return None
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise ValueError("is malformed: empty, or with white space, control or non-ASCII characters")
    return value


def base_url(value: object) -> str:
    """Return the address of the server without its last slash; http or https, and no credentials in it."""
    from urllib.parse import urlsplit

    if not isinstance(value, str) or "\\" in value or any(not 33 <= ord(each) < 127 for each in value):
        raise ValueError("must be an address such as https://xr2.uk")
    try:
        parts = urlsplit(value)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError("has no valid host and port") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    if not has_host or "?" in value or "#" in value:
        raise ValueError("must be a scheme, a host and at most a port and a path")
    return value.rstrip("/")


def flag(value: object) -> bool:
    """Return a truth value; text may say true, yes, on or 1, and their opposites."""
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be true or false")


def choice(*names: str) -> Callable[[object], str]:
    """Return a reader that takes one of ``names``."""

    def read(value: object) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return str(value)

    return read


def amount(kind: Callable[[Any], Any], least: float, most: float) -> Callable[[object], Any]:
    """Return a reader that takes a number of ``kind`` from ``least`` to ``most``."""

    def read(value: object) -> Any:
        try:
            amount = kind(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            amount = None
        if amount is None or not least <= amount <= most:
            raise ValueError(f"must be a number from {least} to {most}")
        return amount

    return read


def rate(value: object) -> int | None:
    """Return requests a minute, given as a number or as ``90/min``; None for no limit."""
    if value is None or value == "":
        return None
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:/\s*min)?\s*", str(value))
    if match is None or int(match[1]) == 0:
        raise ValueError("must be a number of requests a minute such as 90/min, or empty for no limit")
    return int(match[1])


def function(value: object) -> Callable[..., Any] | None:
    """Return a callable, given as itself or as its dotted path."""
    if value is None or callable(value):
        return value
    if not isinstance(value, str) or "." not in value:
        raise ValueError("must be a callable or the dotted path of one")
    import importlib

    module, _, name = value.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError) as exc:  # TypeError: a relative path
        raise ValueError(f"names {value}, which cannot be imported: {exc}") from exc
    if not callable(found):
        raise ValueError(f"names {value}, which is not callable")
    return found


def outbox(value: object) -> Callable[..., Any] | str | None:
    """Return what makes an outbox: a name of ours, a callable or its dotted path."""
    if value in OUTBOXES:
        return value
    if isinstance(value, str) and "." not in value:
        raise ValueError(f"must be one of {', '.join(OUTBOXES)}, a callable or the dotted path of one")
    return function(value)


def folder(value: object) -> Path | None:
    """Return where a folder is; it need not be there yet."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike) and os.path.isabs(path := os.fspath(value)) and "\0" not in str(path):
        return Path(os.fsdecode(path))
    raise ValueError("must be the absolute path of a folder")


def carry_name(value: object) -> str:
    """Return the name of a cookie or header (a token of RFC 9110, 5.6.2)."""
    if value == "" or (isinstance(value, str) and _TOKEN.fullmatch(value)):
        return value
    raise ValueError("must be the name of a cookie or header: letters, digits and -_.")


def secret(value: object) -> str | None:
    """Return a signing key."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError("must be text and not empty")


def source_name(value: object) -> str:
    """Return the name under which xR2 shows where requests come from."""
    if isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable():
        return value
    raise ValueError("must be text of 1 to 100 characters")


def events(value: object) -> Mapping[str, Mapping[str, Any]]:
    """Return the rules of EVENTS, each as the arguments of ``track``; all bad ones are told at once."""
    if isinstance(value, str):
        value = _decoded(value)
    if not isinstance(value, Mapping):
        raise ValueError('must map routes to events, such as {"shop:checkout": "purchase_completed"}')
    read: dict[str, Mapping[str, Any]] = {}
    problems: list[str] = []
    for rule, options in value.items():
        try:
            read[_rule_name(rule)] = _options(options)
        except ValueError as exc:
            problems.append(f"[{rule!r}] {exc}")
    if problems:
        raise ValueError("; ".join(problems))
    return read


def _decoded(value: str) -> object:
    import json

    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be JSON where it comes as text") from None


def _rule_name(rule: object) -> str:
    if not isinstance(rule, str) or not rule:
        raise ValueError("is not the name of a route")
    if _PATH_LIKE.match(rule) and not _PATH_RULE.fullmatch(rule):
        raise ValueError('is no method and path such as "POST /orders/{id}", whose {id} is any text without a slash')
    return rule


def _options(options: object) -> Mapping[str, Any]:
    chosen = {"event": options} if isinstance(options, str) else options
    if not isinstance(chosen, Mapping) or "event" not in chosen:
        raise ValueError("must be an event name or options with an 'event'")
    if strange := sorted(set(map(str, chosen)) - EVENT_OPTIONS):
        raise ValueError(f"has unknown options: {', '.join(strange)}")
    if chosen.get("after") not in (None, "response"):
        raise ValueError("may say after='response' only")
    if not (chosen.get("when") is None or callable(chosen["when"])):
        raise ValueError("has a 'when' that is no function")
    if not _are_names(chosen.get("methods", ())):
        raise ValueError("has 'methods' that are not names such as GET")
    values.event_name(chosen["event"])
    return dict(chosen)


def _are_names(value: object) -> bool:
    return value is None or (isinstance(value, Collection) and all(isinstance(each, str) for each in value))
