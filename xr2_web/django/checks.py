"""System checks: what is wrong with the settings, before a request finds out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, register
from django.db import connections, router
from django.urls import URLPattern, URLResolver, get_resolver

from ..errors import ConfigurationError
from ..exchange import Registered
from ..rules import Routes
from ..tracking import untracked
from .clock import VENDORS
from .incoming import operations
from .installation import read_settings
from .models import Event


@register("xr2_web")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Report every problem of ``settings.XR2``."""
    try:
        read_settings()
    except ConfigurationError as exc:
        return [checks.Error(problem, id="xr2_web.E001") for problem in exc.problems]
    return []


@register("xr2_web")
def check_routes(**_: Any) -> list[CheckMessage]:
    """Report names in EVENTS that no view has."""
    try:
        rules = Routes(read_settings().events)
    except ConfigurationError:
        return []
    unknown = rules.unknown(each.names for each in _registered())
    return [checks.Warning(f'XR2["EVENTS"] names no view: {name}', id="xr2_web.W003") for name in unknown]


@register("xr2_web")
def check_views(**_: Any) -> list[CheckMessage]:
    """Report a ``@track`` above the decorator that registers the view, as ``@api.post`` of django-ninja does."""
    return [
        checks.Warning(
            f'{_name(view)} is registered without its @track("{event}"), and is never reported.',
            hint="Place @track below the decorator that registers the view.",
            obj=view,
            id="xr2_web.W002",
        )
        for view, event in untracked(each.view for each in _registered())
    ]


@register("xr2_web")
def check_database(**_: Any) -> list[CheckMessage]:
    """Report a database in which events cannot be kept, or that makes visitors wait for each other."""
    try:
        chosen = read_settings()
    except ConfigurationError:
        return []
    if chosen.outbox != "database":
        return []
    alias = router.db_for_write(Event)
    connection = connections[alias]
    if connection.vendor not in VENDORS:
        return [
            checks.Error(
                f'XR2["OUTBOX"] is "database", but events cannot be kept in {connection.display_name}.',
                hint="SQLite, PostgreSQL, MariaDB and MySQL can; a router may send the app xr2_web to one of them.",
                id="xr2_web.E003",
            )
        ]
    mode = str(connection.settings_dict["OPTIONS"].get("transaction_mode")).upper()
    if connection.vendor == "sqlite" and mode not in ("IMMEDIATE", "EXCLUSIVE"):
        return [
            checks.Warning(
                'XR2["OUTBOX"] is "database", and transactions of SQLite begin without the lock that they will need: '
                'with a second writer ordinary views fail with "database is locked".',
                hint=f'Set DATABASES["{alias}"]["OPTIONS"]["transaction_mode"] to "IMMEDIATE".',
                id="xr2_web.W004",
            )
        ]
    return []


def _name(view: object) -> str:
    # Django shows a function as its address in memory.
    return f"{getattr(view, '__module__', '')}.{getattr(view, '__qualname__', '')}"


def _registered() -> list[Registered]:
    has_urls = getattr(django_settings, "ROOT_URLCONF", None)
    return list(_of_patterns(get_resolver().url_patterns, ())) if has_urls else []


def _of_patterns(patterns: list[Any], namespaces: tuple[str, ...]) -> Iterator[Registered]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from _of_patterns(pattern.url_patterns, inner)
        elif isinstance(pattern, URLPattern):
            names = (":".join((*namespaces, pattern.name or pattern.lookup_str)),)
            yield Registered(pattern.callback, names)
            yield from (Registered(operation.view_func, names) for operation in operations(pattern.callback))


@register("xr2_web", deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Report what is fine while developing and not in production."""
    try:
        chosen = read_settings()
    except ConfigurationError:
        return []
    found: list[CheckMessage] = []
    if chosen.enabled and chosen.api_key is None:
        found.append(checks.Error("No API key: nothing is tracked.", hint='Set XR2["API_KEY"].', id="xr2_web.E002"))
    if chosen.consent is None and chosen.carry != "none":
        found.append(
            checks.Warning(
                "Visitors are recognised without being asked.",
                hint='Set XR2["CONSENT"] to a function of the request that says whether this visitor agreed.',
                id="xr2_web.W001",
            )
        )
    return found
