"""A pytest plugin: every application of Starlette's own suite is wrapped, ``-p wrapping_starlette --wrapped busy``.

- ``idle``: around the application, and nothing is fetched or tracked; each message must leave as it was sent;
- ``watched``: a route rule has every response looked at; likewise;
- ``busy``: each request fetches and tracks, so that a cookie and caching headers are set and an event is made; these
  headers are checked and taken back, so that the suite's own assertions on headers hold;
- ``inside``: as ``watched``, where ``add_middleware`` puts it: inside the application's own handling of errors.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import additions
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xr2_web import track_event
from xr2_web.models import Trace
from xr2_web.scope import bound
from xr2_web.starlette import Xr2Middleware

# Port 9 is the discard service: nobody listens there.
SETTINGS: dict[str, Any] = {"api_key": "xr2_dev_key", "base_url": "http://127.0.0.1:9", "outbox": "memory"}
EVENTS = {
    f"{method} {path}": "seen" for method in ("GET", "POST") for path in ("/", "/{a}", "/{a}/{b}", "/{a}/{b}/{c}")
}

made: list[Xr2Middleware] = []
counted: Counter[str] = Counter()


class Installed(Xr2Middleware):
    """The middleware; its connections and threads end with the test that made it."""

    def __init__(self, app: ASGIApp, **settings: Any) -> None:
        super().__init__(app, **SETTINGS, **settings)
        made.append(self)


class Inside:
    """Stands for the application, in the middleware's sight: notes what it sends; where busy, fetches and tracks."""

    def __init__(self, app: ASGIApp, *, is_busy: bool = False) -> None:
        self.app = app
        self.is_busy = is_busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            scope[SENT] = message
            await send(message)

        ours = bound()
        counted[f"{scope['type']} {'unbound' if ours is None else 'bound'}"] += 1
        if self.is_busy and ours is not None:
            ours.add(Trace("welcome", "9d4c0a6e-6a7b-4b0e-8a57-1de2a4c3f0b1", 1, int(time.time())))
            track_event("opened")
        await self.app(scope, receive, note)


class Outside:
    """Compares what leaves with what the application sent, and shows the suite the application's own."""

    def __init__(self, app: ASGIApp, *, is_busy: bool = False) -> None:
        self.app = app
        self.is_busy = is_busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def compare(message: Message) -> None:
            own = scope.pop(SENT)
            if self.is_busy and message["type"] == "http.response.start":
                counted["http with a token"] += additions.check(_headers(own), _headers(message), message["status"])
                assert {**message, "headers": ()} == {**own, "headers": ()}
            else:
                assert message == own
            await send(own)

        await self.app(scope, receive, compare)


SENT = "sent by the application"


def _headers(message: Message) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]


WRAPPED: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "idle": lambda app: Outside(Installed(Inside(app))),
    "watched": lambda app: Outside(Installed(Inside(app), events=EVENTS)),
    "busy": lambda app: Outside(Installed(Inside(app, is_busy=True), events=EVENTS), is_busy=True),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wrapped", choices=(*WRAPPED, "inside"), required=True)


def pytest_configure(config: pytest.Config) -> None:
    variant = config.getoption("--wrapped")
    if variant == "inside":
        add_to_every_application()
    else:
        wrap_whatever_is_called(WRAPPED[variant])


@pytest.fixture(autouse=True, scope="session")
def _counts_are_reported(record_testsuite_property: Any) -> Iterator[None]:
    yield
    for name, count in counted.items():
        record_testsuite_property(name, count)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    while made:
        made.pop().runtime.close(0)


def wrap_whatever_is_called(wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Wrap what the two clients of the suite are given."""
    init_client, init_transport = TestClient.__init__, httpx2.ASGITransport.__init__

    def client(self: Any, *args: Any, **kwargs: Any) -> None:
        init_client(self, *args, **kwargs)
        # ``self.app`` is what its lifespan runs; ASGI 2 has become ASGI 3 by now.
        self.app = self._transport.app = wrap(self.app)

    def transport(self: Any, app: Any, *args: Any, **kwargs: Any) -> None:
        init_transport(self, wrap(app), *args, **kwargs)

    TestClient.__init__ = client  # type: ignore[method-assign]
    httpx2.ASGITransport.__init__ = transport  # type: ignore[method-assign]


def add_to_every_application() -> None:
    """Put the middleware where ``add_middleware`` would, at the end of the application's making."""
    init = Starlette.__init__

    def application(self: Starlette, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.user_middleware[:0] = [Middleware(Installed, events=EVENTS), Middleware(Inside)]

    Starlette.__init__ = application  # type: ignore[method-assign]
