"""The lifetime of one installation: settings, connections, outbox and courier, made on first use.

Everything that cannot cross a fork is rebuilt in the child on its first use there: the process id is compared,
since not every server runs fork hooks. What the parent had not sent stays the parent's to send.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from . import wire
from .failures import tell_failed
from .forks import ForkLock, holding_off_forks, is_heir
from .interruptions import let_through
from .models import Flushed, Prompt, Receipt
from .once import once
from .outbox import Entry, Outbox, Put
from .pacing import Chance
from .scope import Defer, Scope
from .settings import Settings

if TYPE_CHECKING:
    from .carry import Seal
    from .delivery import Delivery
    from .process import Process
    from .witness import EventNote

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
        self.is_witnessed: bool = self.is_local
        """Whether what requests do is written down: xR2 is on this machine, or a panel shows it."""
        self.chance: Chance = chance or Chance()
        self.copies: dict[Any, Prompt] = {}
        """The last good copy of each prompt, without its trace."""
        self._keys = keys
        self._defer = defer
        self._counter: Counter[str] = Counter()
        self._told: set[object] = set()
        self._lock = ForkLock()
        self._process: Process | None = None
        _made.add(self)
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
        for observer in _observers:
            try:
                observer(outcome)
            except Exception as exc:  # noqa: BLE001
                self.tell_once(("observer", type(exc)), "xr2_web.observer_failed: %s", type(exc).__name__)

    @property
    def outbox(self) -> Outbox | None:
        """The outbox of this process; None where nothing has needed it yet."""
        process = self._process
        return None if process is None or process.pid != os.getpid() else process.outbox

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

    def put(self, entry: Entry, scope: Scope | None = None, note: EventNote | None = None) -> Receipt:
        """Accept an event, at the commit where a transaction is open: the framework's own, or one of ``scope``.

        What becomes of it at the commit is told in ``note``.
        """
        try:
            process = self._here()
            wake = process.courier.wake if note is None else partial(_stand, note, process.courier.wake)
            is_waiting = process.outbox.enlist(entry, scope, wake) or self.at_commit(
                partial(self._put_later, entry, note), scope
            )
        except Exception as exc:  # noqa: BLE001
            # A session may be at work in another thread. Unsent rather than sent for what may be rolled back.
            return self._not_kept(exc)
        return _PENDING if is_waiting else self._put(entry, process)

    def inherit(self) -> None:
        """Have what dead processes left delivered, if anything may be there. Costs a look at a folder."""
        if not self.settings.is_active:
            return
        try:
            process = self._here()
            if process.outbox.has_heritage():
                process.courier.wake()
        except Exception as exc:  # noqa: BLE001
            tell_failed("inherit_failed", exc)

    def at_commit(self, callback: Callable[[], None], scope: Scope | None = None) -> bool:
        """Have ``callback`` run when every transaction that is open now has committed; False where none is open."""
        transactions = () if scope is None else scope.transactions
        if self._defer is not None:
            transactions = (self._defer, *transactions)
        return bool(transactions) and _deferred(callback, transactions)

    def flush(self, timeout: float = 10.0) -> Flushed:
        """Wait up to ``timeout`` seconds until every accepted event was delivered or refused."""
        return self._here().courier.flush(timeout)

    def delivery_from(self, outbox: Outbox) -> Delivery:
        """Return what delivers, in this process, the events of an outbox that is not the runtime's own."""
        delivery: Delivery = self._here().delivery_from(outbox)
        return delivery

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter that was delivered from elsewhere."""
        self._here().outbox.keep_dead(entry, attempts, reason)

    def close(self, timeout: float | None = None) -> None:
        """Deliver what can be delivered within ``timeout`` seconds (SHUTDOWN_TIMEOUT), and release everything."""
        process = self._process
        if process is None or process.pid != os.getpid():
            return
        self._process = None
        atexit.unregister(self.close)
        try:
            left = process.close(self.settings.shutdown_timeout if timeout is None else timeout)
        except Exception as exc:  # noqa: BLE001
            tell_failed("close_failed", exc)
            return
        if left.kept:
            self._tell_left(left.kept, "kept: the next process sends them")
        if left.lost:
            is_memory = self.settings.outbox == "memory"
            self._tell_left(left.lost, f"lost: {'OUTBOX is memory' if is_memory else 'the outbox failed'}")

    def _tell_left(self, count: int, then: str) -> None:
        logger.warning("xr2_web.events_left: %d undelivered at the end, and %s", count, then)

    def _put_later(self, entry: Entry, note: EventNote | None = None) -> None:
        try:
            process = self._here()  # the transaction may have begun before a fork
        except Exception as exc:  # noqa: BLE001
            receipt = self._not_kept(exc)
        else:
            receipt = self._put(entry, process)
        if note is not None:
            note.close(receipt)

    def _put(self, entry: Entry, process: Process) -> Receipt:
        try:
            outcome = process.outbox.put(entry)
        except Exception as exc:  # noqa: BLE001
            return self._not_kept(exc)
        if outcome is not Put.ACCEPTED:
            self.count(outcome.value or "")
            return _REFUSED[outcome]
        process.courier.wake()
        return _ACCEPTED

    def _not_kept(self, exc: Exception) -> Receipt:
        let_through(exc)
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


def observe(observer: Callable[[str], None]) -> None:
    """Have ``observer`` called with each outcome that is counted in this process, in any thread; it has to be quick."""
    _observers.append(observer)


def running() -> list[Runtime]:
    """Return the runtimes that have an outbox in this process."""
    return [runtime for runtime in list(_made) if runtime.outbox is not None]


def _stand(note: EventNote, wake: Callable[[], None]) -> None:
    note.close(_ACCEPTED)
    wake()


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
_observers: list[Callable[[str], None]] = []
_made: WeakSet[Runtime] = WeakSet()
