"""The process default: the runtime of whoever fetches or tracks outside of any adapter's request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Unpack

from . import settings
from .errors import ConfigurationError
from .forks import ForkLock
from .models import Flushed
from .runtime import Runtime, logger
from .scope import bound
from .settings import Settings, SettingsKeywords

_making = ForkLock()
_default: Runtime | None = None
_is_chosen = False
_offer: Callable[[], Runtime] | None = None


def configure(**keywords: Unpack[SettingsKeywords]) -> Runtime:
    """Set the process default: what is used where no adapter's request is bound.

    The environment fills what is not given. Raises ``ConfigurationError`` with every problem.
    """
    runtime = Runtime(settings.load(settings.keywords(keywords), settings.environment()))
    _set_default(runtime)
    return runtime


def started(runtime: Runtime) -> None:
    """Take an adapter's runtime as the process default, if there is none yet."""
    if not _is_chosen:
        _set_default(runtime)


def offer(make: Callable[[], Runtime]) -> None:
    """Take what makes a framework's runtime, for processes that use it without any adapter: commands, workers.

    It is called when the process default is first wanted, if nothing has set that by then.
    """
    global _offer
    _offer = make


def default() -> Runtime:
    """Return the process default; without ``configure``, adapters and offers it is made from the environment.

    Where the settings have mistakes it is off and says so: this may be somebody's request, and no start.
    """
    global _default
    if _default is None:
        with _making:
            if _default is None:
                _default = _fitting()
    return _default


def flush(timeout: float = 10.0) -> Flushed:
    """Wait up to ``timeout`` seconds until every event accepted so far was delivered or refused.

    For tests, scripts, and servers that tell nobody of their end. It is the outbox of the installation at hand, else
    of the process default; an event that waits for a transaction or a response is not in it yet. Blocks.
    """
    scope = bound()
    runtime: Runtime = default() if scope is None else scope.runtime
    return runtime.flush(timeout)


@contextmanager
def no_default() -> Iterator[None]:
    """Have no process default for a block, as tests need it; one that is made inside is closed at the end."""
    global _offer
    former, was_chosen, offered = _default, _is_chosen, _offer
    _set_default(None, is_chosen=False)
    _offer = None
    try:
        yield
    finally:
        made, _offer = _default, offered
        _set_default(former, is_chosen=was_chosen)
        if made is not None:
            made.close()


def _fitting() -> Runtime:
    try:
        return Runtime(settings.load(settings.environment())) if _offer is None else _offer()
    except ConfigurationError as exc:
        logger.error("xr2_web.misconfigured: %s", exc)
        return Runtime(Settings(enabled=False))


def _set_default(runtime: Runtime | None, *, is_chosen: bool = True) -> None:
    global _default, _is_chosen
    _default, _is_chosen = runtime, is_chosen
