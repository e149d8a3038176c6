"""Transactions of SQLAlchemy: an event that is made inside of one is made at its commit, and never after a rollback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable
from weakref import ref

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import (
    Session,
    SessionTransaction,
    SessionTransactionOrigin,
    object_mapper,
    scoped_session,
    sessionmaker,
)

from ..failures import tell_failed
from ..scope import Scope, bound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

Sessions: TypeAlias = (
    "type[Session] | sessionmaker[Any] | scoped_session[Any] | async_sessionmaker[Any] | Session | AsyncSession"
)

_KEY, _WRITTEN = "xr2_web.followed", "xr2_web.has_written"


def follow_transactions(sessions: Sessions) -> None:
    """Have events wait for the commit of the sessions in whose transactions they are made. Call it once, at start.

    Takes what makes the sessions (``sessionmaker``, ``async_sessionmaker``, ``scoped_session``, a class such as
    ``Session`` for all of them) or one session. An event waits where a transaction was begun explicitly, with
    ``begin()`` or ``begin_nested()``, or where the session has something to write by then. One that has only read
    so far keeps no event waiting: it will not be committed. SQL given as text, and statements on a bare connection,
    cannot be told from reading. Only transactions that begin while a scope is bound are followed.
    """
    target = _target(sessions)
    event.listen(target, "after_transaction_create", _begun)
    event.listen(target, "after_begin", _connected)
    event.listen(target, "after_flush", _flushed)
    event.listen(target, "do_orm_execute", _executed)
    event.listen(target, "before_commit", _about_to_commit)
    event.listen(target, "after_commit", _committed)
    event.listen(target, "after_transaction_end", _ended)


@runtime_checkable
class Record(Protocol):
    """What is to be written in a transaction itself; called when that has committed."""

    def belongs_to(self, engine: Engine) -> bool:
        """Say whether it is to be written over an engine."""

    def write(self, connection: Connection) -> None:
        """Write it, and raise nothing."""

    def __call__(self) -> None:
        """See to the rest, after the commit: it may not have been written."""


def enlist(scope: Scope, record: Record) -> bool:
    """Have a record written at the end of the one transaction that is open in a scope; False where it is not one."""
    entered = [each for each in scope.transactions if isinstance(each, _Entered)]
    open_now = [found for each in entered if (found := each.followed()) is not None and found.is_to_be_committed()]
    return len(entered) == len(scope.transactions) and len(open_now) == 1 and open_now[0].defer(record)


def _target(sessions: Any) -> Any:
    # Known by what they have: SQLAlchemy's asyncio cannot be imported where greenlet is not installed.
    if hasattr(sessions, "sync_session"):
        return sessions.sync_session
    made = getattr(getattr(sessions, "class_", None), "sync_session_class", None)
    if made is None:
        return sessions
    # A class for these sessions alone, as ``sessionmaker`` makes one too.
    made = sessions.kw.get("sync_session_class", made)
    followed = type(made.__name__, (made,), {})
    sessions.configure(sync_session_class=followed)
    return followed


class _Followed:
    """The transaction of one session in one scope, with the events that wait for it and for its savepoints."""

    def __init__(self, session: Session, scope: Scope) -> None:
        self.session = session
        self.scope = scope
        self.entered = _Entered(self)
        self.connections: set[Connection] = set()
        self.waiting: dict[SessionTransaction | None, list[Callable[[], None]]] = {}
        self.committed: list[Callable[[], None]] = []

    def is_to_be_committed(self) -> bool:
        """Tell whether somebody is going to commit it, as far as can be seen by now."""
        innermost = self._innermost()
        if innermost is None:
            return False
        is_begun_by_hand = innermost.origin is not SessionTransactionOrigin.AUTOBEGIN
        return is_begun_by_hand or _WRITTEN in self.session.info or bool(self._changed())

    def defer(self, callback: Callable[[], None]) -> bool:
        """Keep an event until the innermost savepoint and all around it are committed; False where none will be."""
        if not self.is_to_be_committed():
            return False
        self.waiting.setdefault(self._innermost(), []).append(callback)
        return True

    def write(self) -> None:
        """Write what goes into the transaction itself, if all of it is about to be committed."""
        innermost = self._innermost()
        if innermost is None or innermost.parent is not None:
            return
        waiting = [each for each in self.waiting.get(innermost, ()) if isinstance(each, Record)]
        bind = self._only_bind() if waiting else None
        records = [each for each in waiting if bind is not None and each.belongs_to(bind.engine)]
        if records:
            # It may fail as it would have failed a moment later, when the session writes what it has.
            connection = self.session.connection(bind_arguments={"bind": bind})
            for record in records:
                record.write(connection)

    def commit(self) -> None:
        """Hand on what waited for the innermost part of the transaction, which is committed now."""
        innermost = self._innermost()
        callbacks = self.waiting.pop(innermost, [])
        if innermost is None or innermost.parent is None:
            self.committed += callbacks
        else:
            self.waiting.setdefault(innermost.parent, []).extend(callbacks)

    def _innermost(self) -> SessionTransaction | None:
        return self.session.get_nested_transaction() or self.session.get_transaction()

    def _changed(self) -> list[Any]:
        return [*self.session.new, *self.session.dirty, *self.session.deleted]

    def _only_bind(self) -> Engine | Connection | None:
        """Return over what all of the transaction goes: None where that is several, or where it has nothing to say."""
        try:
            pending = {self.session.get_bind(object_mapper(each)) for each in self._changed()}
        except Exception:  # noqa: BLE001 - the session is going to say so itself
            return None
        binds = self.connections or pending
        engines = {each.engine for each in (*self.connections, *pending)}
        return next(iter(binds)) if len(engines) == 1 else None


class _Entered:
    """What a scope knows of a transaction.

    A WebSocket's scope lives for hours: it must not keep the session, and the connection, that nobody closed.
    """

    def __init__(self, followed: _Followed) -> None:
        self.followed = ref(followed)

    def __call__(self, callback: Callable[[], None]) -> bool:
        followed = self.followed()
        return followed is not None and followed.defer(callback)


def _begun(session: Session, transaction: SessionTransaction) -> None:
    scope = bound()
    # Sessions may be followed by their class, by what makes them and by hand, each of which comes by here.
    if transaction.parent is None and scope is not None and _KEY not in session.info:
        followed = session.info[_KEY] = _Followed(session, scope)
        scope.enter_transaction(followed.entered)


def _connected(session: Session, _: SessionTransaction, connection: Connection) -> None:
    if (followed := session.info.get(_KEY)) is not None:
        followed.connections.add(connection)


def _flushed(session: Session, _: Any) -> None:
    session.info[_WRITTEN] = True


def _executed(state: Any) -> None:
    # A first statement is seen before the transaction that it begins.
    if state.is_insert or state.is_update or state.is_delete:
        state.session.info[_WRITTEN] = True


def _about_to_commit(session: Session) -> None:
    if (followed := session.info.get(_KEY)) is not None:
        followed.write()


def _committed(session: Session) -> None:
    if (followed := session.info.get(_KEY)) is not None:
        followed.commit()


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    session.info.pop(_WRITTEN, None)
    if (followed := session.info.pop(_KEY, None)) is not None:
        followed.scope.leave_transaction(followed.entered)
        # Not at the commit itself: finding the user may take a query, and there none is allowed.
        for callback in followed.committed:
            _run(callback)


def _run(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception as exc:  # noqa: BLE001
        tell_failed("commit_failed", exc)
