"""System checks: what is wrong with the settings, before a request finds out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, register
from django.urls import URLPattern, URLResolver, get_resolver

from ..errors import ConfigurationError
from ..tracking import untracked
from .incoming import operations
from .installation import read_settings


@register("xr2_web")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Report every problem of ``settings.XR2``."""
    try:
        read_settings()
    except ConfigurationError as exc:
        return [checks.Error(problem, id="xr2_web.E001") for problem in exc.problems]
    return []


@register("xr2_web")
def check_views(**_: Any) -> list[CheckMessage]:
    """Report a ``@track`` above the decorator that registers the view, as ``@api.post`` of django-ninja does."""
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return []
    return [
        checks.Warning(
            f'{_name(view)} is registered without its @track("{event}"), and is never reported.',
            hint="Place @track below the decorator that registers the view.",
            obj=view,
            id="xr2_web.W002",
        )
        for view, event in untracked(_views(get_resolver().url_patterns))
    ]


def _name(view: object) -> str:
    # Django shows a function as its address in memory.
    return f"{getattr(view, '__module__', '')}.{getattr(view, '__qualname__', '')}"


def _views(patterns: list[Any]) -> Iterator[object]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield pattern.callback
            yield from (operation.view_func for operation in operations(pattern.callback))


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
