"""The one runtime of a Django project: its settings, its signing keys, its transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from .. import settings
from ..default import started
from ..errors import ConfigurationError
from ..exchange import Exchange
from ..forks import ForkLock
from ..runtime import Runtime
from ..settings import Settings
from .incoming import Incoming

_installed: Exchange | None = None
_lock = ForkLock()


def read_settings() -> Settings:
    """Read ``settings.XR2`` and the environment. Raises ``ConfigurationError`` with every problem."""
    given = getattr(django_settings, "XR2", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(["XR2 must be a dict of settings"])
    return settings.load(settings.framework(given, 'XR2["{upper}"]'), settings.environment())


def installation() -> Exchange:
    """Return the project's exchange. Raises ``ImproperlyConfigured`` with every problem of the settings."""
    try:
        return configured()
    except ConfigurationError as exc:
        raise ImproperlyConfigured(str(exc)) from exc


def configured() -> Exchange:
    """Return the project's exchange: the same for all handlers until the settings change, as tests do."""
    global _installed
    chosen = read_settings()
    with _lock:
        if _installed is None or _installed.runtime.settings != chosen:
            _installed = Exchange(Runtime(chosen, keys=_keys, defer=at_commit), Incoming)
            started(_installed.runtime)
        return _installed


def witness() -> None:
    """Have what the project's requests do written down, for a panel that shows it."""
    if _installed is not None:
        _installed.runtime.is_witnessed = True


def at_commit(callback: Callable[[], None]) -> bool:
    """Run a callback when every transaction that is open now has committed; False where none is open.

    Where one of them is rolled back it never runs. In async code only the flag may be read: there ``on_commit``
    itself would be an error.
    """
    open_now = [each.alias for each in connections.all(initialized_only=True) if each.in_atomic_block]
    waiting = set(open_now)
    for alias in open_now:
        _defer(callback, alias, waiting)
    return bool(open_now)


def _defer(callback: Callable[[], None], alias: str, waiting: set[str]) -> None:
    # No partial: where one fails Django asks for its __qualname__, and breaks the commit by that.
    def committed() -> None:
        waiting.discard(alias)
        if not waiting:
            callback()

    transaction.on_commit(committed, using=alias, robust=True)


def _keys() -> list[str]:
    return [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
