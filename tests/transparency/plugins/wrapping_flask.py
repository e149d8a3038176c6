"""A pytest plugin: every application of Flask's own suite has the extension, ``-p wrapping_flask --wrapped busy``.

- ``idle``: nothing is fetched or tracked;
- ``watched``: a route rule has every response looked at;
- ``busy``: each request fetches and tracks, so that a cookie and caching headers are set and an event is made; these
  headers are checked and taken back, so that the suite's own assertions on headers hold.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import additions
import pytest
from flask import Flask, Response

from xr2_web import track_event
from xr2_web.flask import Xr2
from xr2_web.models import Trace
from xr2_web.runtime import Runtime
from xr2_web.scope import bound

# Port 9 is the discard service: nobody listens there.
SETTINGS: dict[str, Any] = {"api_key": "xr2_dev_key", "base_url": "http://127.0.0.1:9", "outbox": "memory"}
EVENTS = {
    f"{method} {path}": "seen" for method in ("GET", "POST") for path in ("/", "/{a}", "/{a}/{b}", "/{a}/{b}/{c}")
}

made: list[Runtime] = []
counted: Counter[str] = Counter()


def install(app: Flask, variant: str) -> None:
    """Install the extension, with hooks that see an answer before it and after it: the last registered runs first."""
    is_busy = variant == "busy"
    app.wsgi_app = inside(app.wsgi_app, is_busy)  # type: ignore[method-assign]
    app.after_request(lambda response: compare(response, is_busy))
    Xr2(app, **SETTINGS, events={} if variant == "idle" else EVENTS)
    app.after_request(note)
    made.append(app.extensions["xr2_web"].runtime)


def inside(application: Any, is_busy: bool) -> Callable[..., Any]:
    """Stand for the application, in the extension's sight; where busy, fetch and track."""

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Any:
        ours = bound()
        counted["unbound" if ours is None else "bound"] += 1
        if is_busy and ours is not None:
            ours.add(Trace("welcome", "9d4c0a6e-6a7b-4b0e-8a57-1de2a4c3f0b1", 1, int(time.time())))
            track_event("opened")
        return application(environ, start_response)

    return wsgi_app


def note(response: Response) -> Response:
    """Note what the application itself answers."""
    vars(response)[OWN] = response.headers.copy()
    return response


def compare(response: Response, is_busy: bool) -> Response:
    """Compare an answer with the application's own, and show the suite that."""
    own, left = vars(response).pop(OWN), list(response.headers)
    if is_busy and bound() is not None:
        counted["with a token"] += additions.check(own, left, response.status_code)
        response.headers = own
    else:
        assert left == list(own)
    return response


OWN = "the application's own headers"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wrapped", choices=("idle", "watched", "busy"), required=True)


def pytest_configure(config: pytest.Config) -> None:
    variant, init = config.getoption("--wrapped"), Flask.__init__

    def application(self: Flask, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        install(self, variant)

    Flask.__init__ = application  # type: ignore[method-assign]


@pytest.fixture(autouse=True, scope="session")
def _counts_are_reported(record_testsuite_property: Any) -> Iterator[None]:
    yield
    for name, count in counted.items():
        record_testsuite_property(name, count)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    while made:
        made.pop().close(0)
