"""What is bound to one request, connection, task or ``with`` block, and the only context variable.

What is bound is one mutable object: a value set in a thread-pool endpoint or a child task is lost to the
middleware, a mutation of the shared object is not. Binding is undone in ``finally`` of the same frame.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, ClassVar, Protocol

from contextvars_extras import ContextVarsRegistry

from .forks import ForkLock
from .incoming import Incoming
from .models import Prompt, Trace
from .values import TRACE_LIFE

MOST_TRACES = 1000
"""How many traces a scope keeps."""

PromptKey = tuple[str, int | None, str | None]

Defer = Callable[[Callable[[], None]], bool]
"""Take a callback to be run at the commit of an open transaction; False where none is open."""


class Carrier(Protocol):
    """Who reads what a visitor carries; neither raises."""

    def load(self, scope: Scope) -> bool:
        """Have ``scope`` take what its visitor carries; False where that would block."""

    async def aload(self, scope: Scope) -> None:
        """Have ``scope`` take what its visitor carries, waiting for it."""


class Scope:
    """The traces, the session and the user of one visitor's request, and the events that wait for its outcome.

    Attributes are defaults on the class until they are first set: a request that neither fetches nor tracks
    allocates nothing but the object. What all requests of an installation share stands on a class of its own.
    """

    runtime: Any
    """The installation that this scope belongs to."""
    native: Any = None
    """The framework's request."""

    is_touched: bool = False
    """Whether its request ends with work: something of the scope was used, or rules watch every response."""
    is_changed: bool = False
    """Whether the visitor's next requests must learn something from this one."""
    status: int | None = None
    """The status of the response, once it is known: what is fetched from then on is not carried."""
    has_left: bool = False
    """Whether the last of the response was sent, where an adapter sees that before the end."""
    is_ended: bool = False
    """Whether the response has left; what waits for its end from here on waits for nothing."""
    consent: bool | None = None
    session_id: str | None = None
    owner: str | None = None
    """The keyed hash of the first user seen; it decides whose the carried traces are."""
    given_user_id: str | None = None
    """A user id that was named when the scope was bound by hand."""
    has_lost_traces: bool = False
    """Whether traces of another user were dropped."""
    hindrance: str | None = None
    """Why nothing of this scope can be carried on; told when something should have been."""
    record: Any = None
    """What its request did, where a developer looks: see ``witness``."""
    transactions: tuple[Defer, ...] = ()
    """The open transactions whose commit its events wait for, where the framework does not know them."""

    _show: Callable[[Any], Incoming] | None = None
    _carrier: Carrier | None = None
    _incoming: Incoming | None = None
    _is_loaded = False
    _traces: list[Trace] | None = None
    _carried = 0
    _forgotten = 0
    _prompts: dict[PromptKey, Prompt] | None = None
    _waiting: list[Any] | None = None
    _on_status: list[Any] | None = None
    _on_end: list[Any] | None = None

    @classmethod
    def kind_for(
        cls, runtime: Any, show: Callable[[Any], Incoming], carrier: Carrier, *, is_watched: bool
    ) -> type[Scope]:
        """Return the class of an installation's scopes, whose ``native`` is then set to the framework's request.

        There is no ``__init__`` because one in Python makes an object cost three times as much. ``show`` makes
        the neutral view of the request, and ``carrier`` reads what the visitor carries, both on first use.
        """
        shared = {"runtime": runtime, "_show": staticmethod(show), "_carrier": carrier, "is_touched": is_watched}
        return type(cls.__name__, (cls,), shared)

    @classmethod
    def by_hand(cls, runtime: Any) -> Scope:
        """Return a scope without a request."""
        opened = cls()
        opened.runtime = runtime
        return opened

    @property
    def awaits_response(self) -> bool:
        """Whether an event may still wait for what the response says."""
        return self.status is None and not self.is_ended

    @property
    def incoming(self) -> Incoming | None:
        """The request, or None for a scope bound by hand."""
        if self._incoming is None and self._show is not None:
            self._incoming = self._show(self.native)
        return self._incoming

    def touch(self) -> bool:
        """Load what the visitor carries, on the first use; False where that must be waited for."""
        self.is_touched = True
        if not self._is_loaded:
            # Never set back to false: another thread may have waited for it meanwhile.
            if self._carrier is not None and not self._carrier.load(self):
                return self._is_loaded
            self._is_loaded = True
        return True

    async def aload(self) -> None:
        """Load what the visitor carries, waiting for it."""
        if not self.touch() and self._carrier is not None:
            await self._carrier.aload(self)
            self._is_loaded = True

    def load(self, traces: list[Trace], session_id: str | None, owner: str | None) -> None:
        """Take what the visitor carries, once; what this request has fetched already comes after it."""
        with _lock:
            if not self._is_loaded:
                self._is_loaded = True
                self._traces = [*traces, *(self._traces or ())]
                self._carried = len(traces)
                self.session_id = session_id
                self.owner = owner

    @property
    def traces(self) -> list[Trace]:
        """The visitor's traces in the order of fetching, this request's last."""
        self.touch()
        return self._traces or []

    def add(self, trace: Trace) -> None:
        """Bind a trace; a session begins with the first."""
        self.touch()
        with _lock:
            self._traces = [*(self._traces or ()), trace]
            if len(self._traces) > MOST_TRACES:
                # A WebSocket may fetch for hours. The first of its own stays, for who attributes to the first.
                del self._traces[self._carried + 1]
                self._forgotten += 1
            self.session_id = self.session_id or new_session_id()
            self.is_changed = True

    @property
    def fetched(self) -> int:
        """How many traces this request has added so far."""
        with _lock:
            return len(self._traces or ()) - self._carried + self._forgotten

    def choose(self, attribution: str, slug: str | None, now: float, *, fetched: int | None = None) -> Trace | None:
        """Return the live trace that an event of now belongs to, or of when this request had added ``fetched``."""
        self.touch()
        with _lock:
            known = self._traces or []
            if fetched is not None:
                kept = fetched if fetched < 2 else max(1, fetched - self._forgotten)
                known = known[: self._carried + kept]
        candidates = known if attribution == "first" else reversed(known)
        return next(
            (each for each in candidates if each.fetched_at + TRACE_LIFE > now and slug in (None, each.slug)), None
        )

    def claim(self, owner: str, *former: str) -> None:
        """Note whose scope this is; what somebody else carried here is dropped, and a new session begins.

        ``former`` are the hashes of the same user under older signing keys. A scope bound by hand has no visitor:
        it stays as it was made.
        """
        if self._carrier is None:
            return
        self.touch()
        with _lock:
            if self.owner == owner:
                return
            if self.owner is not None and self.owner not in former:
                self.has_lost_traces = self.has_lost_traces or self._carried > 0
                self._traces = (self._traces or [])[self._carried :]
                self._carried = 0
                self.session_id = new_session_id()
            self.owner = owner
            self.is_changed = True

    def remembered(self, key: PromptKey) -> Prompt | None:
        """Return the prompt that this scope has fetched under ``key``."""
        return self._prompts.get(key) if self._prompts else None

    def remember(self, key: PromptKey, prompt: Prompt) -> None:
        """Keep a prompt for the rest of this scope."""
        with _lock:
            self._prompts = {**(self._prompts or {}), key: prompt}

    def wait_for_visitor(self, event: Any) -> None:
        """Keep an event until the user id, and what the visitor carries, can be waited for."""
        self._keep("_waiting", event)

    def wait_for_status(self, event: Any) -> None:
        """Keep an event until the status of the response is known."""
        self._keep("_on_status", event)

    def wait_for_end(self, event: Any) -> None:
        """Keep an event until the response has left as a whole."""
        self._keep("_on_end", event)

    def take_waiting(self) -> list[Any]:
        """Hand over the events that wait for the visitor."""
        return self._take("_waiting")

    def take_on_status(self) -> list[Any]:
        """Hand over the events that wait for the status."""
        return self._take("_on_status")

    def take_on_end(self) -> list[Any]:
        """Hand over the events that wait for the end of the response."""
        return self._take("_on_end")

    def enter_transaction(self, transaction: Defer) -> None:
        """Have the events that are made from now on wait for a transaction that began here."""
        with _lock:
            self.transactions = (*self.transactions, transaction)

    def leave_transaction(self, transaction: Defer) -> None:
        """Note that a transaction has ended."""
        with _lock:
            self.transactions = tuple(each for each in self.transactions if each != transaction)

    def _keep(self, name: str, event: Any) -> None:
        self.is_touched = True
        with _lock:
            setattr(self, name, [*(getattr(self, name) or ()), event])

    def _take(self, name: str) -> list[Any]:
        with _lock:
            taken: list[Any] = getattr(self, name) or []
            setattr(self, name, None)
        return taken


# One for all scopes: it is held for well under a microsecond, and only by requests that use their scope.
_lock = ForkLock()


class _Registry(ContextVarsRegistry):  # type: ignore[misc]
    _registry_allocate_on_setattr: ClassVar[bool] = False

    scope: Any = None


_variable: ContextVar[Scope | None] = _Registry.scope.context_var

bound: Callable[[], Scope | None] = _variable.get
"""Return the scope bound here, or None."""

bind: Callable[[Scope | None], Token[Scope | None]] = _variable.set
"""Bind a scope; the token that comes back must not leave the calling frame."""

unbind: Callable[[Token[Scope | None]], None] = _variable.reset
"""Undo ``bind``."""


@contextmanager
def binding(scope: Scope | None) -> Iterator[None]:
    """Bind a scope for a block."""
    token = bind(scope)
    try:
        yield
    finally:
        unbind(token)


def new_session_id() -> str:
    """Return a random session id of ours."""
    return base64.urlsafe_b64encode(os.urandom(12)).decode()


def new_trace(prompt: Prompt, now: float | None = None) -> Trace | None:
    """Return the trace of a fetched prompt; a fallback has none."""
    if prompt.trace_id is None:
        return None
    return Trace(prompt.slug, prompt.trace_id, prompt.version_number, int(time.time() if now is None else now))
