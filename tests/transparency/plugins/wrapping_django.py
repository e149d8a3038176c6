"""What has the middleware in every handler of Django's own suite, whatever a test's MIDDLEWARE says.

- ``idle``: nothing is fetched or tracked; each response must leave as it was made, and the session as it was used;
- ``watched``: a route rule has every response looked at; likewise;
- ``busy``: each request fetches and tracks, so that a cookie and caching headers are set and an event is made; these
  headers are checked and taken back, so that the suite's own assertions on headers hold.

Each is ``innermost``, where projects have it, ``outermost``, around all middleware of the test, or ``async``:
innermost, around a middleware that is async only, so that Django has the whole chain on an event loop. That alone
might make a difference; ``plain-async`` is the same without ours, to compare with.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

import additions
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.handlers import base
from recording_django import counted, problems

from xr2_web import track_event
from xr2_web.models import Trace
from xr2_web.scope import bound


def looked_at(_: object) -> bool:
    counted["looked at"] += 1
    return True


# Port 9 is the discard service: nobody listens there.
SETTINGS: dict[str, Any] = {"API_KEY": "xr2_dev_key", "BASE_URL": "http://127.0.0.1:9", "OUTBOX": "memory"}
EVENTS = {
    f"{method} {path}{end}": {"event": "seen", "when": looked_at}
    for method in ("GET", "POST")
    for path in ("", "/{a}", "/{a}/{b}", "/{a}/{b}/{c}")
    for end in ("", "/")
    if path + end
}
OUTSIDE, OURS, INSIDE = "wrapping_django.Outside", "xr2_web.django.Xr2Middleware", "wrapping_django.Inside"

is_busy = False


def install(variant: str, module: Any) -> None:
    """Have every handler load the middleware; its settings are added to the suite's settings module."""
    global is_busy
    way, _, place = variant.partition("-")
    is_busy = way == "busy"
    module.XR2 = {**SETTINGS, "EVENTS": {} if way == "idle" else EVENTS}
    Inside.sync_capable = place != "async"
    chain = [OUTSIDE, INSIDE] if way == "plain" else [OUTSIDE, OURS, INSIDE]
    base.settings = SettingsOfHandlers(chain, is_outermost=place == "outermost")


class SettingsOfHandlers:
    """The settings as handlers see them: the suite itself sees the test's own MIDDLEWARE."""

    def __init__(self, chain: list[str], *, is_outermost: bool) -> None:
        self._chain = chain
        self._is_outermost = is_outermost

    def __getattr__(self, name: str) -> Any:
        return getattr(settings, name)

    @property
    def MIDDLEWARE(self) -> list[str]:  # noqa: N802
        own = list(settings.MIDDLEWARE)
        return [*self._chain, *own] if self._is_outermost else [*own, *self._chain]


class Around:
    """A middleware, sync and async, that only looks."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if iscoroutinefunction(self):
            return self.acall(request)
        self.before(request)
        return self.after(request, self.get_response(request))

    async def acall(self, request: Any) -> Awaitable[Any]:
        self.before(request)
        return self.after(request, await self.get_response(request))

    def before(self, request: Any) -> None: ...

    def after(self, request: Any, response: Any) -> Any:
        raise NotImplementedError


class Inside(Around):
    """Stands for the application, in the middleware's sight: notes what it answers; where busy, fetches and tracks."""

    def before(self, request: Any) -> None:
        ours = bound()
        mode = "async" if iscoroutinefunction(self) else "sync"
        counted[f"{mode} {'unbound' if ours is None else 'bound'}"] += 1
        if is_busy and ours is not None:
            ours.add(Trace("welcome", "9d4c0a6e-6a7b-4b0e-8a57-1de2a4c3f0b1", 1, int(time.time())))
            track_event("opened")

    def after(self, request: Any, response: Any) -> Any:
        vars(request)[OWN] = (response, headers_of(response), rest_of(request, response))
        return response


class Outside(Around):
    """Compares what leaves with what the application answered, and shows the suite the application's own."""

    def before(self, request: Any) -> None:
        # Views of the suite make requests too.
        vars(request)[AROUND] = bound()

    def after(self, request: Any, response: Any) -> Any:
        try:
            assert bound() is vars(request).pop(AROUND), "a scope is left bound"
            assert OWN in vars(request), "a response where the application answered none"
            answered, own, rest = vars(request).pop(OWN)
            assert response is answered, "another response"
            assert rest_of(request, response) == rest, f"{rest_of(request, response)} instead of {rest}"
            compare(own, response)
        except AssertionError as exc:
            # Raised here it would become an error page, which a test may expect.
            problems.append(str(exc))
        return response


OWN = "the application's own response"
AROUND = "the scope of a request around this one"


def compare(own: list[tuple[str, str]], response: Any) -> None:
    """Compare the headers, and take back ours."""
    left = headers_of(response)
    if not is_busy:
        assert left == own, f"{left} instead of {own}"
    elif additions.check(own, left, response.status_code):
        counted["with a token"] += 1
        take_back(own, response)


def take_back(own: list[tuple[str, str]], response: Any) -> None:
    del response.cookies["xr2_carry"]
    for name in ("vary", "cache-control"):
        del response.headers[name]
    for name, value in own:
        if name.lower() in ("vary", "cache-control"):
            response.headers[name] = value


def headers_of(response: Any) -> list[tuple[str, str]]:
    cookies = [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
    return [*response.items(), *cookies]


def rest_of(request: Any, response: Any) -> tuple[Any, ...]:
    """Return all else that an application may see: of the session, whether it was used."""
    session = getattr(request, "session", None)
    body = None if response.streaming else response.content
    return response.status_code, body, getattr(session, "accessed", None), getattr(session, "modified", None)
