"""The settings: one frozen value, one name per field everywhere, every problem reported at once.

A field ``api_key`` is the keyword ``api_key=``, ``XR2["API_KEY"]`` in Django, ``XR2_API_KEY`` in Flask and in the
environment. Where several name it the order is keyword, framework, environment, default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from . import readers
from .errors import ConfigurationError
from .values import TRACE_LIFE

DEFAULT_BASE_URL = "https://xr2.uk"
DEFAULT_SOURCE_NAME = "xr2_web"
DAY = 24 * 60 * 60
DEFAULT_RATE_LIMIT = 90
"""Requests a minute; the server refuses an address above 100."""


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
    outbox_path: str | os.PathLike[str] | None
    outbox_max_events: int
    outbox_synchronous: str
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
    outbox: Callable[[Settings], Any] | str = "spool"
    outbox_path: Path | None = None
    outbox_max_events: int = 100_000
    outbox_synchronous: str = "normal"
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
    def is_local(self) -> bool:
        """Whether xR2 is on this machine, as while developing."""
        return _is_loopback(self.base_url)

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
        except ValueError as exc:
            problems.append(f"{source.shown(name)} {exc}")
    if problems:
        raise ConfigurationError(problems)
    if "rate_limit" not in chosen and _is_loopback(chosen.get("base_url", DEFAULT_BASE_URL)):
        chosen["rate_limit"] = None
    return Settings(**chosen)


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


_READERS: Mapping[str, Callable[[object], Any]] = {
    "api_key": readers.key,
    "base_url": readers.base_url,
    "enabled": readers.flag,
    "source_name": readers.source_name,
    "events": readers.events,
    "attribution": readers.choice("last", "first"),
    "carry": readers.choice("cookie", "session", "header", "none"),
    "carry_max_age": readers.amount(int, 60, TRACE_LIFE),
    "carry_name": readers.carry_name,
    "secret_key": readers.secret,
    "user_id": readers.function,
    "consent": readers.function,
    "respect_gpc": readers.flag,
    "outbox": readers.outbox,
    "outbox_path": readers.folder,
    "outbox_synchronous": readers.choice("normal", "full"),
    "outbox_max_events": readers.amount(int, 1, 100_000_000),
    "rate_limit": readers.rate,
    "concurrency": readers.amount(int, 1, 64),
    "shutdown_timeout": readers.amount(float, 0, 600),
    "prompt_deadline": readers.amount(float, 0.05, 600),
}
