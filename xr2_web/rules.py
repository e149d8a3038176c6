"""The rules by which a call or a response is an event: of ``@track``, and of routes in EVENTS."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from . import values
from .drafts import Draft, Outstanding
from .errors import InvalidValue
from .incoming import Incoming
from .interruptions import let_through
from .runtime import Runtime
from .scope import Scope
from .witness import record_of
from .wrapping import Call

Field: TypeAlias = Any
"""A value, or a function of the ``Call``."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that only show something (RFC 9110, 9.2.1): they are no conversion unless a rule says so."""


class Rule(NamedTuple):
    """When a call or a response is an event, and what it reports."""

    event: str
    value: Field = None
    currency: Field = None
    metadata: Field = None
    prompt: Field = None
    user_id: Field = None
    session_id: Field = None
    when: Callable[[Call], Any] | None = None
    methods: frozenset[str] | None = None
    after: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Rule:
        """Make a rule of the arguments of ``track``. Raises ``InvalidValue`` for what can never work."""
        values.event_name(options["event"])
        if options.get("after") not in (None, "response"):
            raise InvalidValue("may be 'response' only", path="after")
        if options.get("when") is not None and not callable(options["when"]):
            raise InvalidValue("must be a function of the call", path="when")
        methods = options.get("methods")
        if methods is not None:
            names = (methods,) if isinstance(methods, str) else methods
            methods = frozenset(str(name).upper() for name in names)
        return cls(**{**options, "methods": methods})

    def admits(self, method: str, *, is_named_for_it: bool = False) -> bool:
        """Say whether a request of this method can be the event; a handler named ``get`` is named for its GET."""
        if self.methods is not None:
            return method in self.methods
        return method not in SAFE_METHODS or is_named_for_it

    def tell_skipped(self, method: str, name: str, call: Call, runtime: Runtime) -> None:
        """Tell once that ``name`` answered a GET which would have been the event, had it been a POST."""
        key = ("get", name, self.event)
        # Once told, ``when`` is asked no more on pages that only show: it may take a query.
        if method != "GET" or self.methods is not None or runtime.has_told(key) or not self._agrees(call):
            return
        runtime.tell_once(
            key,
            "xr2_web.get_skipped: %s answered a GET, which is no %r: opening a page is not a conversion; "
            "say methods={'GET'} if it is",
            name,
            self.event,
        )

    def _agrees(self, call: Call) -> bool:
        try:
            return self.when is None or bool(self.when(call))
        except Exception:  # noqa: BLE001
            return False

    def draft(self, call: Call, runtime: Runtime, scope: Scope | None) -> Draft | None:
        """Evaluate the fields; None where ``when`` says no, or where one of them raises."""
        field = "when"
        try:
            if self.when is not None and not self.when(call):
                return None
            read: dict[str, Any] = {}
            for field in ("value", "currency", "metadata", "prompt", "user_id", "session_id"):
                given = getattr(self, field)
                read[field] = given(call) if callable(given) else given
            return Draft(self.event, **read)
        except Exception as exc:  # noqa: BLE001
            let_through(exc)
            runtime.count("invalid")
            if (record := record_of(scope)) is not None:
                record.note_event(self.event).refuse("invalid")
            runtime.tell_once(
                ("field", self.event, field),
                "xr2_web.event_invalid: %r is not reported: its %s raised %s",
                self.event,
                field,
                type(exc).__name__,
            )
            return None


class Routes:
    """The rules of EVENTS, by the name of a route or by a method and path such as ``POST /orders/{id}``."""

    def __init__(self, events: Mapping[str, Mapping[str, Any]]) -> None:
        self._names: dict[str, Rule] = {}
        self._paths: list[tuple[str, re.Pattern[str], Rule]] = []
        for name, options in events.items():
            method, _, path = name.partition(" ")
            if path.startswith("/"):
                options = {"methods": {method}, **options}
                self._paths.append((method.upper(), _pattern(path), Rule.of(options)))
            else:
                self._names[name] = Rule.of(options)

    def __bool__(self) -> bool:
        return bool(self._names or self._paths)

    def unknown(self, routes: Iterable[tuple[str | None, ...]]) -> list[str]:
        """Return the names of rules that none of an application's routes has, each with the nearest that one has.

        Of an application that shows no routes nothing is known.
        """
        import difflib

        names = {name for route in routes for name in route if name}
        missing = [name for name in self._names if names and name not in names]
        nearest = {name: difflib.get_close_matches(name, names, n=1) for name in missing}
        return [f"{name!r}; did you mean {nearest[name][0]!r}?" if nearest[name] else repr(name) for name in missing]

    def find(self, runtime: Runtime, scope: Scope, status: int, headers: Mapping[str, str]) -> list[Outstanding]:
        """Return the events of a response that is no error."""
        incoming = scope.incoming
        if incoming is None or status >= 400:
            return []
        found = []
        for rule, shown, parameters in self._matching(incoming.route_names, incoming):
            call = Call((), parameters, (status, headers), incoming.native)
            if not rule.admits(incoming.method):
                rule.tell_skipped(incoming.method, shown, call, runtime)
            elif (draft := rule.draft(call, runtime, scope)) is not None:
                found.append(Outstanding(draft, needs_success=True, at_end=True))
        return found

    def _matching(self, names: tuple[str, ...], incoming: Incoming) -> Generator[tuple[Rule, str, Mapping[str, Any]]]:
        name = next((name for name in names if name in self._names), None)
        if name is not None:
            yield self._names[name], name, incoming.route_parameters
        for method, pattern, rule in self._paths:
            if method == incoming.method and (match := pattern.fullmatch(incoming.path)):
                yield rule, pattern.pattern, match.groupdict()


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{([A-Za-z_]\w*)\}", path)
    return re.compile(
        "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    )
