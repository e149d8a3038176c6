"""The lifetime of one installation: settings, connections, outbox and courier, made on first use.

Everything that cannot cross a fork is rebuilt in the child on its first use there: the process id is compared,
since not every server runs fork hooks. What the parent had not sent stays the parent's to send.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from . import settings, wire
from .errors import ConfigurationError
from .forks import ForkLock, holding_off_forks, is_heir
from .models import Flushed, Prompt, Receipt
from .once import once
from .outbox import Entry, Put
from .pacing import Chance
from .scope import Defer, Scope, bound
from .settings import Settings, SettingsKeywords

if TYPE_CHECKING:
    from .carry import Seal
    from .process import Process

T = TypeVar("T")

logger = logging.getLogger("xr2_web")

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
        self.is_local = chosen.is_local
        self.chance: Chance = chance or Chance()
        self.copies: dict[Any, Prompt] = {}
        """The last good copy of each prompt, without its trace."""
        self._keys = keys
        self._defer = defer
        self._counter: Counter[str] = Counter()
        self._told: set[object] = set()
        self._lock = ForkLock()
        self._process: Process | None = None
        if not chosen.is_active:
            logger.warning("xr2_web.off: %s; prompts fall back and no event is sent", chosen.why_inactive)

    def __repr__(self) -> str:
        return f"Runtime({self.settings!r})"

    @once
    def seal(self) -> Seal:
        """What signs the token that a visitor carries."""
        with holding_off_forks:
            from .carry import Seal, derived_key

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

    def has_told(self, key: object) -> bool:
        """Say whether ``key`` was seen by ``tell_once``."""
        return key in self._told

    def tell_once(self, key: object, message: str, *arguments: object) -> None:
        """Log a warning the first time that ``key`` is seen."""
        with self._lock:
            if key in self._told or len(self._told) >= 1000:
                return
            self._told.add(key)
        logger.warning(message, *arguments)

    def fetch(self, request: wire.Request[T]) -> wire.Judgement[T]:
        """Hold a conversation within the prompt deadline."""
        return self._here().fetch(request)

    async def afetch(self, request: wire.Request[T]) -> wire.Judgement[T]:
        """Hold a conversation within the prompt deadline, on the running loop."""
        return await self._here().afetch(request)

    def put(self, entry: Entry, scope: Scope | None = None) -> Receipt:
        """Accept an event, at the commit where a transaction is open: the framework's own, or one of ``scope``."""
        try:
            is_waiting = self.at_commit(partial(self._put_later, entry), scope)
        except Exception as exc:  # noqa: BLE001
            # A session may be at work in another thread. Unsent rather than sent for what may be rolled back.
            return self._not_kept(exc)
        return _PENDING if is_waiting else self._put(entry)

    def at_commit(self, callback: Callable[[], None], scope: Scope | None = None) -> bool:
        """Have ``callback`` run when every transaction that is open now has committed; False where none is open."""
        transactions = () if scope is None else scope.transactions
        if self._defer is not None:
            transactions = (self._defer, *transactions)
        return bool(transactions) and _deferred(callback, transactions)

    def flush(self, timeout: float = 10.0) -> Flushed:
        """Wait up to ``timeout`` seconds until every accepted event was delivered or refused."""
        return self._here().courier.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Deliver what can be delivered within ``timeout`` seconds (SHUTDOWN_TIMEOUT), and release everything."""
        process = self._process
        if process is None or process.pid != os.getpid():
            return
        self._process = None
        atexit.unregister(self.close)
        left = process.close(self.settings.shutdown_timeout if timeout is None else timeout)
        if left:
            logger.warning("xr2_web.events_left: %d events were not delivered before the end", left)

    def _put_later(self, entry: Entry) -> None:
        self._put(entry)

    def _put(self, entry: Entry) -> Receipt:
        try:
            process = self._here()
            outcome = process.outbox.put(entry)
        except Exception as exc:  # noqa: BLE001
            return self._not_kept(exc)
        if outcome is not Put.ACCEPTED:
            self.count(outcome.value or "")
            return _REFUSED[outcome]
        process.courier.wake()
        return _ACCEPTED

    def _not_kept(self, exc: Exception) -> Receipt:
        kind = type(exc).__name__
        self.tell_once(("outbox", kind), "xr2_web.outbox_failed: an event could not be kept: %s", kind)
        self.count(Put.FULL.value or "")
        return _REFUSED[Put.FULL]

    def _here(self) -> Process:
        process = self._process
        if process is None or process.pid != os.getpid():
            with _making:
                process = self._process
                if process is None or process.pid != os.getpid():
                    process = self._process = self._new_process(process)
        return process

    def _new_process(self, inherited: Process | None) -> Process:
        with holding_off_forks:
            from .process import Process

        atexit.register(self.close)
        made = Process(self.settings, count=self.count, chance=self.chance)
        if inherited is not None and is_heir():
            inherited.hand_over(made)
        return made


def _deferred(callback: Callable[[], None], transactions: Sequence[Defer]) -> bool:
    """Have ``callback`` wait for all transactions that are open now; where one is rolled back it never runs."""
    waiting = set(range(len(transactions)))

    def committed(index: int) -> None:
        waiting.discard(index)
        if not waiting:
            callback()

    for index, defer in enumerate(transactions):
        if not defer(partial(committed, index)):
            waiting.discard(index)
    return bool(waiting)


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
