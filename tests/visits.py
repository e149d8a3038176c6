"""An adapter without a framework: requests as values, and a clock that a test can put forward."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from xr2_web.behind import is_behind
from xr2_web.exchange import Exchange
from xr2_web.identity import settle
from xr2_web.pacing import Chance
from xr2_web.runtime import Runtime
from xr2_web.scope import Scope, bind, bound, unbind

DAY = 24 * 60 * 60


class Clock:
    """The real time, put forward by ``ahead`` seconds; luck is always the middle."""

    def __init__(self) -> None:
        self.ahead = 0.0

    @property
    def chance(self) -> Chance:
        return Chance(lambda: time.monotonic() + self.ahead, lambda: time.time() + self.ahead, lambda: 0.5)


@dataclass
class Answer:
    """A response of this framework."""

    status_code: int = 200


@dataclass(eq=False)
class Request:
    """A request of this framework, which is its own neutral view, and the token that its visitor gets."""

    method: str = "POST"
    path: str = "/"
    route_names: tuple[str, ...] = ()
    route_parameters: dict[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    carried: str | None = None
    user_id: Any = None
    view: Any = None
    token: str | None = None

    @property
    def native(self) -> Request:
        return self

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    def cookie(self, name: str) -> str | None:
        return self.carried

    def session(self, name: str) -> str | None:
        return self.carried

    async def asession(self, name: str) -> str | None:
        return self.carried

    def user(self) -> Any:
        return self.user_id

    async def auser(self) -> Any:
        return self.user_id

    def serves(self, function: object) -> bool:
        return is_behind(function, self.view, self.method)

    def is_response(self, result: object) -> bool:
        return isinstance(result, Answer)


class Door:
    """Where the requests of one installation come in."""

    def __init__(self, runtime: Runtime) -> None:
        self.exchange = Exchange(runtime, lambda request: request)

    @contextmanager
    def visit(self, *, status: int = 200, is_complete: bool = True, **about: Any) -> Iterator[Request]:
        """Bind the scope of a request for a block, and answer with ``status`` at its end."""
        request = Request(**about)
        scope = self.exchange.open_scope()
        scope.native = request
        token = bind(scope)
        try:
            yield request
            request.token = settle(self.exchange.depart(scope, status, dict))
        finally:
            unbind(token)
        self.exchange.finish(scope, is_complete=is_complete)


def here() -> Scope:
    """Return the scope that is bound."""
    scope = bound()
    assert scope is not None
    return scope
