"""Who the visitor is, asked when an event is made and not on every request.

Rules that need the user are written once, as generators that yield the scope whose user they want, or ``Carried``
for what its visitor carries; ``settle`` and ``asettle`` drive them. An id that looks like an e-mail address goes out
as its keyed hash only.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from . import values
from .errors import InvalidValue
from .incoming import WAITING
from .scope import Scope

T = TypeVar("T")


class Carried(NamedTuple):
    """What the visitor of a scope carries, where reading it takes waiting."""

    scope: Scope


Steps: TypeAlias = Generator[Scope | Carried, Any, T]


def settle(steps: Steps[T]) -> T:
    """Drive steps from sync code; they may be sent ``WAITING``."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(WAITING if isinstance(wanted, Carried) else _user(wanted))
    except StopIteration as end:
        result: T = end.value
        return result


async def asettle(steps: Steps[T]) -> T:
    """Drive steps from async code, waiting for what takes waiting."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(await (wanted.scope.aload() if isinstance(wanted, Carried) else _auser(wanted)))
    except StopIteration as end:
        result: T = end.value
        return result


def has_consent(scope: Scope) -> bool:
    """Say whether this visitor may be recognised: by CONSENT, and no Global Privacy Control signal."""
    if scope.consent is None:
        scope.consent = _consents(scope)
    return scope.consent


class Personal(str):
    """An id that is a name or an address of a person, and leaves the process as its keyed hash only."""

    __slots__ = ()


def disguised(runtime: Any, user_id: object) -> str:
    """Return the id as it may leave the process: a ``Personal`` one, or one with an ``@``, as its keyed hash."""
    text = values.user_id(user_id)
    is_personal = isinstance(user_id, Personal) or "@" in text
    shown: str = runtime.seal.pseudonym(text) if is_personal else text
    return shown


def claim(scope: Scope, user_id: str) -> None:
    """Note that a scope is this user's; what another user carried here is dropped."""
    scope.claim(*scope.runtime.seal.pseudonyms(user_id))


def note_login(scope: Scope | None) -> None:
    """Note that somebody has just logged in: what this visitor has carried so far is theirs, or dropped as another's.

    It is called from the framework's own signal, so a page without a login costs nothing. Never raises.
    """
    if scope is None or scope.incoming is None:
        return
    if scope.touch() and scope.session_id is not None:
        settle(_belongs(scope))


def _belongs(scope: Scope) -> Steps[None]:
    user = yield scope
    if user is WAITING:
        scope.is_changed = True  # the response asks again, and may wait
    elif user is not None:
        claim(scope, user)


def current_user(scope: Scope) -> str | None:
    """Return the user's id where it can be had without waiting, else None."""
    found = _user(scope)
    return None if found is WAITING else found


def named(scope: Scope, user_id: object) -> str | None:
    """Return the id of a user who is named for a scope bound by hand; one that cannot be sent is told and left out."""
    try:
        return _presentable(scope, user_id)  # type: ignore[no-any-return]
    except InvalidValue as exc:
        _unknown(scope, exc)
        return None


def _user(scope: Scope) -> Any:
    if scope.incoming is None or not has_consent(scope):
        return scope.given_user_id
    try:
        found = _ask(scope)
        if inspect.isawaitable(found):
            _discard(found)
            return WAITING
        return _presentable(scope, found)
    except Exception as exc:  # noqa: BLE001
        return _unknown(scope, exc)


async def _auser(scope: Scope) -> Any:
    if scope.incoming is None or not has_consent(scope):
        return scope.given_user_id
    try:
        found = _ask(scope)
        if inspect.isawaitable(found):
            found = await found
        elif found is WAITING:
            found = await scope.incoming.auser()
        return _presentable(scope, found)
    except Exception as exc:  # noqa: BLE001
        return _unknown(scope, exc)


def _ask(scope: Scope) -> Any:
    assert scope.incoming is not None
    if scope.given_user_id is not None:
        return scope.given_user_id
    custom = scope.runtime.settings.user_id
    return scope.incoming.user() if custom is None else custom(scope.incoming.native)


def _presentable(scope: Scope, found: Any) -> Any:
    if found is None or found is WAITING or found == "":
        return None if found == "" else found
    return disguised(scope.runtime, found)


def _unknown(scope: Scope, exc: Exception) -> None:
    reason = str(exc) if isinstance(exc, InvalidValue) else type(exc).__name__
    scope.runtime.tell_once(("user", reason), "xr2_web.user_unknown: the user id could not be found: %s", reason)


def _discard(found: Any) -> None:
    if inspect.iscoroutine(found):
        found.close()


def _consents(scope: Scope) -> bool:
    incoming, settings = scope.incoming, scope.runtime.settings
    if incoming is None:
        return True
    if settings.respect_gpc and incoming.header("sec-gpc") == "1":
        return False
    if settings.consent is None:
        return True
    try:
        answer = settings.consent(incoming.native)
    except Exception as exc:  # noqa: BLE001
        scope.runtime.tell_once("consent", "xr2_web.consent_failed: %s; taken as a no", type(exc).__name__)
        return False
    if inspect.isawaitable(answer):
        _discard(answer)
        scope.runtime.tell_once("consent", "xr2_web.consent_failed: CONSENT must not be async; taken as a no")
        return False
    return bool(answer)
