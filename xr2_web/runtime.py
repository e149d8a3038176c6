"""The lifetime of one installation: settings, connections, outbox and courier, made on first use.

Everything that cannot cross a fork is rebuilt in the child on its first use there: the process id is compared,
since not every server runs fork hooks. What the parent had not sent stays the parent's to send.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from . import pacing, settings, wire
from .carry import Seal, derived_key
from .client import adrive, drive
from .courier import Courier, Flushed
from .flow import Chance, Conversation, Patience, guarded
from .models import Prompt, Receipt
from .once import once
from .outbox import Entry, Outbox, Put
from .outbox.memory import MemoryOutbox
from .settings import Settings, SettingsKeywords

if TYPE_CHECKING:
    from .transport import Address, AsyncTransport, SyncTransport

T = TypeVar("T")

logger = logging.getLogger("xr2_web")

Defer = Callable[[Callable[[], None]], bool]
"""Take a callback to be run at the commit of an open transaction; False where none is open."""

PROMPT_CONNECTIONS = 100

_ACCEPTED = Receipt(accepted=True)
_REFUSED = {put: Receipt(accepted=False, reason=put.value) for put in Put if put is not Put.ACCEPTED}
_PENDING = Receipt(accepted=False, reason="pending")


class Runtime:
    """What one adapter installation, or ``configure``, works with. Threads may share it.

    ``keys`` gives the framework's signing keys, newest first, and ``defer`` knows its transactions.
    """

    def __init__(
        self,
        chosen: Settings,
        *,
        keys: Callable[[], Sequence[str | bytes | None]] = tuple,
        defer: Defer | None = None,
        chance: Chance | None = None,
    ) -> None:
        self.settings = chosen
        self.chance = chance or Chance()
        self.copies: dict[Any, Prompt] = {}
        """The last good copy of each prompt, without its trace."""
        self._keys = keys
        self._defer = defer
        self._counter: Counter[str] = Counter()
        self._told: set[object] = set()
        self._lock = threading.Lock()
        self._parts: _Parts | None = None
        if not chosen.is_active:
            logger.warning("xr2_web.off: %s; prompts fall back and no event is sent", chosen.why_inactive)

    def __repr__(self) -> str:
        return f"Runtime({self.settings!r})"

    @once
    def seal(self) -> Seal:
        """What signs the token that a visitor carries."""
        given = [self.settings.secret_key] if self.settings.secret_key else self._keys()
        keys = [key.encode() if isinstance(key, str) else key for key in given if key]
        keys = keys or [derived_key(self.settings.api_key or "")]
        return Seal(keys, max_age=self.settings.carry_max_age, clock=self.chance.wall)

    @property
    def counts(self) -> dict[str, int]:
        """How often each outcome was seen since the start, by name."""
        return dict(self._counter)

    def count(self, outcome: str) -> None:
        """Count an outcome."""
        with self._lock:
            self._counter[outcome] += 1

    def tell_once(self, key: object, message: str, *arguments: object) -> None:
        """Log a warning the first time that ``key`` is seen."""
        with self._lock:
            if key in self._told or len(self._told) >= 1000:
                return
            self._told.add(key)
        logger.warning(message, *arguments)

    def fetch(self, request: wire.Request[T]) -> wire.Judgement[T]:
        """Hold a conversation within the prompt deadline."""
        parts = self._here()
        return drive(parts.conversation(request), parts.transport)

    async def afetch(self, request: wire.Request[T]) -> wire.Judgement[T]:
        """Hold a conversation within the prompt deadline, on the running loop."""
        parts = self._here()
        return await adrive(parts.conversation(request), parts.async_transport)

    def put(self, entry: Entry) -> Receipt:
        """Accept an event, at the commit where a transaction is open."""
        if self._defer is not None and self._defer(partial(self._put_later, entry)):
            return _PENDING
        return self._put(entry)

    def at_commit(self, callback: Callable[[], None]) -> bool:
        """Have ``callback`` run at the commit of an open transaction; False where none is open."""
        return self._defer is not None and self._defer(callback)

    def flush(self, timeout: float = 10.0) -> Flushed:
        """Wait up to ``timeout`` seconds until every accepted event was delivered or refused."""
        return self._here().courier.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Deliver what can be delivered within ``timeout`` seconds (SHUTDOWN_TIMEOUT), and release everything."""
        parts = self._parts
        if parts is None or parts.pid != os.getpid():
            return
        self._parts = None
        left = parts.close(self.settings.shutdown_timeout if timeout is None else timeout)
        if left:
            logger.warning("xr2_web.events_left: %d events were not delivered before the end", left)

    def _put_later(self, entry: Entry) -> None:
        self._put(entry)

    def _put(self, entry: Entry) -> Receipt:
        parts = self._here()
        outcome = parts.outbox.put(entry)
        if outcome is not Put.ACCEPTED:
            self.count(outcome.value or "")
            return _REFUSED[outcome]
        parts.courier.wake()
        return _ACCEPTED

    def _here(self) -> _Parts:
        parts = self._parts
        if parts is None or parts.pid != os.getpid():
            with _making:
                parts = self._parts
                if parts is None or parts.pid != os.getpid():
                    parts = self._parts = _Parts(self)
        return parts


class _Parts:
    """What belongs to one process."""

    def __init__(self, runtime: Runtime) -> None:
        chosen = runtime.settings
        self.pid = os.getpid()
        self._runtime = runtime
        self._pause = pacing.Pause()
        self._breaker = pacing.Breaker()
        self._budget = pacing.Budget(chosen.rate_limit)
        deadline = chosen.prompt_deadline
        self._patience = Patience(timeout=deadline, deadline=deadline, retries=1, backoff_factor=0.2)
        self.outbox: Outbox = self._new_outbox(chosen)
        self.courier = Courier(
            self.outbox,
            partial(self._new_transport, chosen.concurrency),
            concurrency=chosen.concurrency,
            pause=self._pause,
            budget=self._budget,
            count=runtime.count,
            chance=runtime.chance,
        )
        atexit.register(_close_at_exit, weakref.ref(runtime))

    @staticmethod
    def _new_outbox(chosen: Settings) -> Outbox:
        if callable(chosen.outbox):
            outbox: Outbox = chosen.outbox(chosen)
            return outbox
        return MemoryOutbox(chosen.outbox_max_events)

    @once
    def transport(self) -> SyncTransport:
        return self._new_transport(PROMPT_CONNECTIONS)

    @once
    def async_transport(self) -> AsyncTransport:
        from .transport import AsyncTransport

        return AsyncTransport(self._address)

    def conversation(self, request: wire.Request[T]) -> Conversation[T]:
        chance = self._runtime.chance
        self._budget.debit_prompt(chance.monotonic())
        return guarded(request, self._patience, chance, self._breaker, self._pause)

    def close(self, timeout: float) -> int:
        left = self.courier.stop(timeout)
        self.outbox.close()
        if transport := self.__dict__.get("transport"):
            transport.close()
        return left

    def _new_transport(self, connections: int) -> SyncTransport:
        from .transport import SyncTransport

        return SyncTransport(self._address, connections=connections)

    @once
    def _address(self) -> Address:
        from .transport import Address

        return Address(self._runtime.settings.base_url, self._runtime.settings.api_key or "")


def _close_at_exit(reference: weakref.ref[Runtime]) -> None:
    if (runtime := reference()) is not None:
        runtime.close()


_making = threading.RLock()
_default: Runtime | None = None
_is_chosen = False


def _renew_lock() -> None:
    global _making
    _making = threading.RLock()


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it at the fork.
    os.register_at_fork(after_in_child=_renew_lock)


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


def default() -> Runtime:
    """Return the process default; without ``configure`` and adapters it is made from the environment."""
    global _default
    if _default is None:
        with _making:
            if _default is None:
                _default = Runtime(settings.load(settings.environment()))
    return _default


def _set_default(runtime: Runtime) -> None:
    global _default, _is_chosen
    _default, _is_chosen = runtime, True
