"""What every adapter does around a request, in neutral terms.

``open_scope`` before it, ``depart`` when the status is known and the headers can still be set, ``finish`` when the
body has left. Adapters bind the scope and translate; they decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from .drafts import Outstanding, decide, put, record
from .failures import tell_failed
from .identity import Carried, Steps, claim, has_consent, settle
from .incoming import WAITING, Incoming
from .outbox import Entry
from .panel import trace_page
from .rules import SAFE_METHODS, Routes
from .runtime import Runtime
from .scope import Scope
from .tracking import untracked
from .witness import ABORTED, EventNote, record_of

TRACE_HEADER = "X-XR2-Trace"
"""The header of a response that names the page of its trace, while xR2 is on this machine."""

CARRY_NAMES = {"cookie": "xr2_carry", "session": "xr2_carry", "header": "X-Xr2-Carry", "none": ""}


class Registered(NamedTuple):
    """A view as it is registered, and the names that rules may call its route by."""

    view: object
    names: tuple[str | None, ...]


class Exchange:
    """The start and the end of the requests of one installation.

    A request whose scope is not touched needs neither ``depart`` nor ``finish``: adapters then only note that it
    ended, and the status where a body may still be produced.
    """

    def __init__(self, runtime: Runtime, show: Callable[[Any], Incoming]) -> None:
        """Serve an installation; ``show`` makes the neutral view of the framework's request."""
        self.runtime = runtime
        self._routes = Routes(runtime.settings.events)
        self._has_routes = bool(self._routes) and runtime.settings.is_active
        self._scope_kind = Scope.kind_for(runtime, show, self, is_watched=self._has_routes)
        self.open_scope: Callable[[], Scope] = self._open_first
        """Returns a scope, whose ``native`` is then the framework's request; all else is read on first use."""
        self.mode: str = runtime.settings.carry
        self.name: str = runtime.settings.carry_name or CARRY_NAMES[self.mode]
        self.max_age: int = runtime.settings.carry_max_age

    def _open_first(self) -> Scope:
        # The class itself from now on, and no method: nothing is cheaper to call.
        self.open_scope = self._scope_kind
        self.runtime.inherit()
        return self.open_scope()

    def depart(self, scope: Scope, status: int, headers: Callable[[], Mapping[str, str]]) -> Steps[str | None]:
        """Make the events that waited for the status, and return the token that the visitor must carry on.

        Nothing that is fetched afterwards is carried.
        """
        token = None
        try:
            scope.status = status
            yield from self._make_waiting_events(scope, status, headers)
            token = yield from self._token(scope, status)
            if scope.record is not None:
                scope.record.has_lost_traces = scope.has_lost_traces
        except Exception as exc:  # noqa: BLE001
            tell_failed("depart_failed", exc)
        return token

    def finish(self, scope: Scope, *, is_complete: bool) -> None:
        """Make the events that waited for the end of the response, if it left as a whole.

        An event that still waits for the user id goes without it. Where no status was seen, as in a mounted
        application that the adapter does not reach into, what waited for the end alone is made all the same.
        """
        scope.status, scope.is_ended = scope.status or 0, True
        for draft in scope.take_waiting():
            settle(record(self.runtime, scope, draft))
        outstanding: list[Outstanding] = scope.take_on_status()
        for found in outstanding:
            if is_complete and not found.needs_success:
                settle(decide(self.runtime, scope, found))
            elif found.draft.note is not None:
                found.draft.note.refuse(ABORTED)
        entries: list[tuple[Entry, EventNote | None]] = scope.take_on_end()
        for entry, note in entries:
            if is_complete:
                put(self.runtime, scope, entry, note)
            else:
                self.runtime.count("aborted")
                if note is not None:
                    note.refuse(ABORTED)

    def shown_trace(self, scope: Scope, headers: Mapping[str, str]) -> str | None:
        """Return the page of the last trace of a request, for ``TRACE_HEADER``; None where it is not to be told.

        It is told while xR2 is on this machine, on a response that no shared cache keeps: nothing else of the response
        changes for it.
        """
        record = scope.record
        if not self.runtime.is_local or record is None or record.last_trace_id is None or scope.incoming is None:
            return None
        if not _is_private(scope.incoming.method, headers):
            return None
        return trace_page(self.runtime.settings, record.last_trace_id)

    def look_at(self, registered: Iterable[Registered]) -> None:
        """Tell what of an application is never reported: views registered beneath their ``@track``, unknown routes."""
        try:
            found = list(registered)
            for view, event in untracked(each.view for each in found):
                name = f"{getattr(view, '__module__', '')}.{getattr(view, '__qualname__', '')}"
                self.runtime.tell_once(("untracked", name, event), _UNTRACKED, name, event)
            for name in self._routes.unknown(each.names for each in found):
                self.runtime.tell_once(("unknown", name), "xr2_web.route_unknown: EVENTS names no route: %s", name)
        except Exception as exc:  # noqa: BLE001
            # Applications of all kinds come by here, and what they show as their routes may be anything.
            tell_failed("look_failed", exc)

    def tell_twice(self) -> None:
        """Tell once that a request has come through two installations, of which the outer one serves it."""
        self.runtime.tell_once("twice", _TWICE)

    def cookie(self, token: str, *, is_secure: bool) -> dict[str, Any]:
        """Return the cookie that carries a token, as the arguments of the framework's ``set_cookie``."""
        return {
            "key": self.name,
            "value": token,
            "max_age": self.max_age,
            "httponly": True,
            "samesite": "Lax",
            "secure": is_secure,
        }

    def _make_waiting_events(self, scope: Scope, status: int, headers: Callable[[], Mapping[str, str]]) -> Steps[None]:
        for draft in scope.take_waiting():
            yield from record(self.runtime, scope, draft)
        waiting: list[Outstanding] = scope.take_on_status()
        if self._has_routes:
            waiting += self._routes.find(self.runtime, scope, status, headers())
        for outstanding in waiting:
            yield from decide(self.runtime, scope, outstanding)

    def _token(self, scope: Scope, status: int) -> Steps[str | None]:
        if not scope.is_changed or status >= 500 or self.mode == "none" or not has_consent(scope):
            return None
        if scope.hindrance is not None:
            self.runtime.tell_once("hindrance", scope.hindrance)
            return None
        if not scope.touch():
            yield Carried(scope)
        user = yield scope
        if isinstance(user, str):
            claim(scope, user)
        assert scope.session_id is not None
        return self.runtime.seal.write(scope.session_id, scope.owner, scope.traces)

    def load(self, scope: Scope) -> bool:
        """Have ``scope`` take what its visitor carries; False where that would block."""
        token = None
        if self.mode != "none" and has_consent(scope) and scope.incoming is not None:
            try:
                token = self._carried(scope.incoming)
            except Exception as exc:  # noqa: BLE001
                self._unread(exc)
        if token is WAITING:
            return False
        self._take(scope, token)
        return True

    async def aload(self, scope: Scope) -> None:
        """Have ``scope`` take what its visitor carries, waiting for the framework's session."""
        assert scope.incoming is not None
        try:
            token = await scope.incoming.asession(self.name)
        except Exception as exc:  # noqa: BLE001
            self._unread(exc)
        else:
            self._take(scope, token)

    def _carried(self, incoming: Incoming) -> Any:
        if self.mode == "cookie":
            return incoming.cookie(self.name)
        if self.mode == "header":
            return incoming.header(self.name)
        return incoming.session(self.name)

    def _take(self, scope: Scope, token: object) -> None:
        if not token or not isinstance(token, str):
            return
        carried = self.runtime.seal.read(token)
        if carried is None:
            self.runtime.count("bad_token")
        else:
            scope.load(list(carried.traces), carried.session_id, carried.owner)
            if (kept := record_of(scope)) is not None:
                kept.carried = carried.traces

    def _unread(self, exc: Exception) -> None:
        self.runtime.tell_once("unread", "xr2_web.carry_unread: what the visitor carries: %s", type(exc).__name__)


_UNTRACKED = (
    "xr2_web.track_above_route: %s is registered without its @track(%r), and is never reported: place @track below the "
    "route decorator"
)

_TWICE = (
    "xr2_web.installed_twice: a request came through two installations of xr2_web; the outer one serves it with its "
    "settings, and the inner one does nothing: remove it"
)


class Headers(Protocol):
    """The headers of a response, as every framework has them."""

    def get(self, name: str, /) -> str | None:
        """Return the value of a header, or None."""

    def __setitem__(self, name: str, value: str, /) -> None: ...


def make_private(headers: Headers, carrier: str) -> None:
    """Keep a response that carries a token out of shared caches; ``carrier`` is the header that it came in."""
    headers["Vary"] = _vary(headers.get("Vary"), carrier)
    headers["Cache-Control"] = _cache_control(headers.get("Cache-Control"))


def _is_private(method: str, headers: Mapping[str, str]) -> bool:
    """Say whether no shared cache keeps a response (RFC 9111, 3): it says so, or answers what is no look at a page."""
    stated = headers.get("Cache-Control")
    if stated is None:
        return method not in SAFE_METHODS and headers.get("Expires") is None
    return not {each.strip().lower() for each in stated.split(",")}.isdisjoint(("private", "no-store"))


def _cache_control(present: str | None) -> str:
    directives = [each.strip() for each in (present or "").split(",") if each.strip()]
    kept = [each for each in directives if each.lower().partition("=")[0] not in ("public", "s-maxage", "private")]
    return ", ".join([*kept, "private"])


def _vary(present: str | None, carrier: str) -> str:
    names = [each.strip() for each in (present or "").split(",") if each.strip()]
    if "*" in names or carrier.lower() in map(str.lower, names):
        return ", ".join(names)
    return ", ".join([*names, carrier])
