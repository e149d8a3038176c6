"""What every mode of every framework looks like to the contract: a site, its visitors, and what they are answered."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlencode

import xr2_web
from xr2_web.runtime import Runtime
from xr2_web.scope import bound

from ..local_xr2 import LocalXr2

KEY = "a key of the tests that is long enough for everyone"

HEADER = "x-xr2-carry"
"""The header that carries, in small letters as answers have their names."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Answer:
    """A response as it left, with its body read to the end. Names of headers are in lower case."""

    status: int
    text: str
    headers: Sequence[tuple[str, str]]
    native: Any = None

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None

    @property
    def cookies(self) -> dict[str, Any]:
        """The cookies that this response sets, with their attributes."""
        parsed: SimpleCookie = SimpleCookie()
        for name, value in self.headers:
            if name == "set-cookie":
                parsed.load(value)
        return dict(parsed)


@dataclass
class Reply:
    """What a view answers, in neutral terms."""

    text: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


class Refusal(Exception):
    """An exception of the application, for which it has an error handler."""


class Page(ABC):
    """A request as the neutral views see it.

    The views are written once, as coroutine functions. Where the mode is a sync one nothing that they await ever
    waits, so that a plain function can run them.
    """

    def __init__(
        self, *, is_async: bool, streams_async: bool, method: str, query: Mapping[str, str], path: Mapping[str, Any]
    ) -> None:
        self.is_async = is_async
        self.method = method
        self.query = query
        self.path = path
        self._streams_async = streams_async

    async def prompt(self, slug: str = "welcome", **options: Any) -> xr2_web.Prompt:
        if self.is_async:
            return await xr2_web.aget_prompt(slug, **options)
        return xr2_web.get_prompt(slug, **options)

    async def track(self, event: str, **fields: Any) -> xr2_web.Receipt:
        if self.is_async:
            return await xr2_web.atrack_event(event, **fields)
        return xr2_web.track_event(event, **fields)

    def stream(
        self, function: Callable[[Page], AsyncIterator[str]], decorate: Callable[[Any], Any] = lambda made: made
    ) -> Any:
        """Return a body of the kind that this mode streams."""
        self.is_async = self._streams_async

        @decorate
        async def awaited() -> AsyncIterator[str]:
            async for part in function(self):
                yield part

        @decorate
        def stepped() -> Iterator[str]:
            parts = function(self)
            try:
                while True:
                    yield finished(_next(parts))
            except StopAsyncIteration:
                return

        return awaited() if self._streams_async else stepped()

    def refuse(self) -> NoReturn:
        """Raise what the application answers with the neutral page for refusals."""
        raise Refusal

    @abstractmethod
    async def login(self, name: str) -> str:
        """Log a user in and return the id."""

    @abstractmethod
    async def logout(self) -> None:
        """Log the user out."""


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a view of a sync mode must not wait")


async def _next(parts: AsyncIterator[str]) -> str:
    return await anext(parts)


@dataclass(frozen=True)
class View:
    """One neutral view: where it is mounted, and what decorates the native function that serves it."""

    path: str
    function: Callable[[Page], Coroutine[Any, Any, Reply]]
    decorate: Callable[[Any], Any] | None = None

    @property
    def name(self) -> str:
        return self.function.__name__

    def native(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        """Return a native function as its user would have written it: named, and decorated."""
        endpoint.__name__ = endpoint.__qualname__ = self.name
        return endpoint if self.decorate is None else self.decorate(endpoint)


class Site(ABC):
    """An application with all the neutral views, in one mode of one framework.

    ``settings`` are those of xr2_web in lower case; ``is_twice`` installs it a second time. ``keys`` are the
    framework's signing keys, newest first; ``has_users`` adds the framework's login where it costs something on every
    page; ``extend`` gets what the framework's own routes can be added to.
    """

    is_async: ClassVar[bool]
    streams_async: ClassVar[bool]
    shown_key: ClassVar[str] = "api_key="
    """How the key is called in this framework's settings."""

    @classmethod
    def start_error(cls) -> type[Exception]:
        """Return what the application raises at start for settings that cannot work."""
        return xr2_web.ConfigurationError

    def __init__(
        self,
        xr2: LocalXr2,
        *,
        is_installed: bool = True,
        is_twice: bool = False,
        has_users: bool = False,
        keys: Sequence[str] = (KEY,),
        extend: Callable[[Any], None] | None = None,
        **settings: Any,
    ) -> None:
        self._xr2 = xr2
        self.keys = list(keys)
        self.extend = extend or (lambda _: None)
        self.is_installed = is_installed
        self.is_twice = is_twice
        self.has_users = has_users
        self.settings = {
            "api_key": xr2.api_key,
            "base_url": xr2.base_url,
            "outbox": "memory",
            "concurrency": 1,  # so that events arrive in the order in which they were made
            # Distinct settings make distinct runtimes, where an adapter keeps one for the same settings.
            "source_name": f"site {next(_numbers)}",
            **settings,
        }
        self.open()
        self._is_open = True

    @abstractmethod
    def open(self) -> None:
        """Build the application."""

    @property
    @abstractmethod
    def runtime(self) -> Runtime:
        """The runtime of the adapter."""

    @abstractmethod
    def ask(self, method: str, path: str, headers: Mapping[str, str], *, is_secure: bool) -> Answer:
        """Send one request through the framework's own test client."""

    @abstractmethod
    def abandon(self, path: str, headers: Mapping[str, str]) -> None:
        """POST, and go away after the first part of a streamed body."""

    @abstractmethod
    def begin(self, path: str) -> Any:
        """POST, and return the streamed body, which is then taken part by part: see ``HeldResponse``."""

    def leave_thread(self) -> None:  # noqa: B027
        """Release what the framework keeps for the current thread, before it ends."""

    def visitor(self, *, is_secure: bool = False, headers: Mapping[str, str] | None = None) -> Visitor:
        """Return a new browser."""
        return Visitor(self, is_secure=is_secure, headers=headers or {})

    def events(self) -> list[dict[str, Any]]:
        """Return what has arrived at xR2, once nothing is on its way any more."""
        assert self.runtime.flush(5)
        return self._xr2.events()

    def clear(self) -> None:
        """Forget what has arrived so far."""
        self._xr2.clear()

    def event_names(self) -> list[str]:
        return [event["event_name"] for event in self.events()]

    def close(self) -> None:
        """Release what the application holds; a second time does nothing."""
        if self._is_open:
            self._is_open = False
            self._release()

    def _release(self) -> None:
        if self.is_installed:
            self.runtime.close(5)


class HeldResponse:
    """A streamed WSGI response that a test takes part by part, or leaves."""

    def __init__(self, response: Any, body: Any) -> None:
        self._response = response
        self._parts = iter(body)

    @property
    def bound_after(self) -> object:
        """What is bound on the thread that the application ran on."""
        return bound()

    def part(self) -> str:
        """Return the next part of the body, empty at its end."""
        return str(next(self._parts, b"").decode())

    def rest(self) -> str:
        """Return all that is left."""
        return "".join(iter(self.part, ""))

    def close(self) -> None:
        """Close the response, as servers do."""
        self._response.close()

    def drop(self) -> None:
        """Forget the response without closing it."""
        self._response = self._parts = None


class Visitor:
    """A browser: it keeps cookies and the header that carries, and sends ``headers`` with every request."""

    def __init__(self, site: Site, *, is_secure: bool, headers: Mapping[str, str]) -> None:
        self.site = site
        self.jar: dict[str, str] = {}
        self.headers = dict(headers)
        self.seen_cookies: set[str] = set()
        self._is_secure = is_secure

    def get(self, path: str, **query: object) -> Answer:
        return self.request("GET", path, **query)

    def post(self, path: str, **query: object) -> Answer:
        return self.request("POST", path, **query)

    def request(self, method: str, path: str, **query: object) -> Answer:
        path = f"{path}?{urlencode(query)}" if query else path
        answer = self.site.ask(method, path, self.sent(), is_secure=self._is_secure)
        for name, morsel in answer.cookies.items():
            self.jar[name] = morsel.value
            self.seen_cookies.add(morsel.value)
            if morsel["max-age"] == "0" or "1970" in morsel["expires"]:
                del self.jar[name]
        if (token := answer.header(HEADER)) is not None:
            self.headers[HEADER] = token
        return answer

    def abandon(self, path: str) -> None:
        self.site.abandon(path, self.sent())

    def in_another_tab(self) -> Visitor:
        """Return the same browser, as it is now; what one tab is answered does not reach the other."""
        tab = Visitor(self.site, is_secure=self._is_secure, headers=self.headers)
        tab.jar = dict(self.jar)
        return tab

    def take_from(self, tab: Visitor) -> None:
        """Take the cookies and the header that a tab has got: what came last stays."""
        self.jar.update(tab.jar)
        self.headers.update(tab.headers)

    def sent(self) -> dict[str, str]:
        """Return the headers of the next request."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        return {**self.headers, **({"Cookie": cookies} if cookies else {})}
