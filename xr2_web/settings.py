"""The settings: one frozen value, one name per field everywhere, every problem reported at once.

A field ``api_key`` is the keyword ``api_key=``, ``XR2["API_KEY"]`` in Django, ``XR2_API_KEY`` in Flask and in the
environment. Where several name it the order is keyword, framework, environment, default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from . import values
from .errors import ConfigurationError, InvalidValue

DEFAULT_BASE_URL = "https://xr2.uk"
DEFAULT_SOURCE_NAME = "xr2_web"
DAY = 24 * 60 * 60
TRACE_LIFE = 30 * DAY
"""Seconds for which the server keeps a trace; an event for an older one can no longer be attributed."""

DEFAULT_RATE_LIMIT = 90
"""Requests a minute; the server refuses an address above 100."""

EVENT_OPTIONS = frozenset(
    {"event", "value", "currency", "metadata", "prompt", "user_id", "session_id", "when", "methods", "after"}
)
"""What a rule of EVENTS may say: the arguments of ``track``."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_KEY = re.compile(r"[\x21-\x7e]+")


class SettingsKeywords(TypedDict, total=False):
    """The settings as keywords of ``configure`` and of the adapters."""

    api_key: str | None
    base_url: str
    enabled: bool
    source_name: str
    events: Mapping[str, str | Mapping[str, Any]]
    attribution: str
    carry: str
    carry_max_age: int
    carry_name: str
    secret_key: str | None
    user_id: Callable[[Any], Any] | str | None
    consent: Callable[[Any], bool] | str | None
    respect_gpc: bool
    outbox: Callable[[Settings], Any] | str
    outbox_max_events: int
    rate_limit: str | int | None
    concurrency: int
    shutdown_timeout: float
    prompt_deadline: float


class Settings(NamedTuple):
    """Everything that can be set, checked. Secrets are left out of its repr."""

    api_key: str | None = None
    base_url: str = DEFAULT_BASE_URL
    enabled: bool = True
    source_name: str = DEFAULT_SOURCE_NAME
    events: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    attribution: str = "last"
    carry: str = "cookie"
    carry_max_age: int = 7 * DAY
    carry_name: str = ""
    secret_key: str | None = None
    user_id: Callable[[Any], Any] | None = None
    consent: Callable[[Any], bool] | None = None
    respect_gpc: bool = True
    outbox: Callable[[Settings], Any] | str = "memory"
    outbox_max_events: int = 100_000
    rate_limit: int | None = DEFAULT_RATE_LIMIT
    concurrency: int = 8
    shutdown_timeout: float = 2.0
    prompt_deadline: float = 2.0

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._asdict().items() if name not in ("api_key", "secret_key")}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def is_active(self) -> bool:
        """Whether anything is sent at all."""
        return self.enabled and self.api_key is not None

    @property
    def why_inactive(self) -> str:
        """The setting that keeps everything off, for messages."""
        return "ENABLED is false" if not self.enabled else "API_KEY is not set"


class Source(NamedTuple):
    """Settings as one place gives them: ``name_format`` shows a field as its user wrote it."""

    given: Mapping[str, object]
    name_format: str
    is_strict: bool = True

    def shown(self, name: str) -> str:
        """Return the name of the field in this place's own spelling."""
        return self.name_format.format(name.lower(), upper=name.upper())


def keywords(given: Mapping[str, object]) -> Source:
    """Take settings given as keyword arguments."""
    return Source(given, "{0}=")


def framework(given: Mapping[str, object], name_format: str) -> Source:
    """Take a framework's settings under upper-case names, shown as ``name_format`` says (``{upper}``)."""
    return Source({str(name).lower(): value for name, value in given.items()}, name_format)


def environment(environ: Mapping[str, str] = os.environ) -> Source:
    """Take what the environment sets under ``XR2_…``; unknown names there are somebody else's."""
    names = Settings._fields
    given = {name: environ[f"XR2_{name.upper()}"] for name in names if f"XR2_{name.upper()}" in environ}
    return Source(given, "XR2_{upper}", is_strict=False)


def load(*sources: Source) -> Settings:
    """Read the settings, the first source that names a field winning.

    Raises ``ConfigurationError`` with every problem: unknown names with the nearest valid one, bad values.
    """
    problems = [problem for source in sources for problem in _unknown(source)]
    chosen: dict[str, Any] = {}
    for name, read in _READERS.items():
        source = next((each for each in sources if name in each.given), None)
        if source is None:
            continue
        try:
            chosen[name] = read(source.given[name])
        except (ValueError, InvalidValue) as exc:
            problems.append(f"{source.shown(name)} {exc}")
    if problems:
        raise ConfigurationError(problems)
    if "rate_limit" not in chosen and _is_loopback(chosen.get("base_url", DEFAULT_BASE_URL)):
        chosen["rate_limit"] = None
    return Settings(**chosen)


def read_key(value: object) -> str | None:
    """Return an API key that an HTTP header can carry; the key itself is never quoted."""
    if value is None:
        return None
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise ValueError("is malformed: empty, or with white space, control or non-ASCII characters")
    return value


def read_base_url(value: object) -> str:
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


def _unknown(source: Source) -> list[str]:
    if not source.is_strict:
        return []
    return [_unknown_name(source, name) for name in source.given if name not in _READERS]


def _unknown_name(source: Source, name: str) -> str:
    import difflib

    nearest = difflib.get_close_matches(name, _READERS, n=1)
    hint = f"; did you mean {source.shown(nearest[0])}?" if nearest else ""
    return f"{source.shown(name)} is not a setting{hint}"


def _is_loopback(base_url: str) -> bool:
    import ipaddress
    from urllib.parse import urlsplit

    host = urlsplit(base_url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    raise ValueError("must be true or false")


def _choice(*names: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return str(value)

    return read


def _amount(kind: Callable[[Any], Any], least: float, most: float) -> Callable[[object], Any]:
    def read(value: object) -> Any:
        try:
            amount = kind(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            amount = None
        if amount is None or not least <= amount <= most:
            raise ValueError(f"must be a number from {least} to {most}")
        return amount

    return read


def _rate(value: object) -> int | None:
    if value is None or value == "":
        return None
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:/\s*min)?\s*", str(value))
    if match is None or int(match[1]) == 0:
        raise ValueError("must be a number of requests a minute such as 90/min, or empty for no limit")
    return int(match[1])


def _function(value: object) -> Callable[..., Any] | None:
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


def _outbox(value: object) -> Callable[..., Any] | str | None:
    return "memory" if value == "memory" else _function(value)


def _carry_name(value: object) -> str:
    if value == "" or (isinstance(value, str) and _TOKEN.fullmatch(value)):
        return value
    raise ValueError("must be the name of a cookie or header: letters, digits and -_.")


def _secret(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError("must be text and not empty")


def _source_name(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable():
        return value
    raise ValueError("must be text of 1 to 100 characters")


def _events(value: object) -> Mapping[str, Mapping[str, Any]]:
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


_READERS: Mapping[str, Callable[[object], Any]] = {
    "api_key": read_key,
    "base_url": read_base_url,
    "enabled": _flag,
    "source_name": _source_name,
    "events": _events,
    "attribution": _choice("last", "first"),
    "carry": _choice("cookie", "session", "header", "none"),
    "carry_max_age": _amount(int, 60, TRACE_LIFE),
    "carry_name": _carry_name,
    "secret_key": _secret,
    "user_id": _function,
    "consent": _function,
    "respect_gpc": _flag,
    "outbox": _outbox,
    "outbox_max_events": _amount(int, 1, 100_000_000),
    "rate_limit": _rate,
    "concurrency": _amount(int, 1, 64),
    "shutdown_timeout": _amount(float, 0, 600),
    "prompt_deadline": _amount(float, 0.05, 600),
}


def names() -> Sequence[str]:
    """Return the names of all settings, in lower case."""
    return tuple(_READERS)
