"""Visitors who walk through an example project, each with a cookie jar, all at once."""

from __future__ import annotations

import random
import re
import ssl
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import httpx

from .servers import Server

CLIENTS = 32
PRICES = {"teapot": 48.0, "sencha": 14.5, "gaiwan": 26.0, "whisk": 19.0}
QUIET_PAGES = ("/thanks", "/login", "/signup")
"""Pages that fetch no prompt."""

TLS = ssl.create_default_context()
"""Made once: it takes longer than a request."""


class Proxy(httpx.HTTPTransport):
    """What stands before servers: it tries a request again whose connection was closed without an answer.

    A worker of uvicorn, hypercorn or gunicorn's threads that ends closes connections that it has accepted and not read.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(10):
            try:
                return super().handle_request(request)
            except (httpx.ReadError, httpx.RemoteProtocolError):
                continue
        return super().handle_request(request)


def new_client(base_url: str, transport: type[httpx.HTTPTransport] = httpx.HTTPTransport) -> httpx.Client:
    """Return a client with a cookie jar.

    No connection is kept: one that the server closes just before it is used again would fail the request.
    """
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=base_url, timeout=20, transport=transport(verify=TLS, limits=limits))


class Visitor:
    """One visitor; a walk is a generator that stops after each request."""

    def __init__(self, number: int, base_url: str, transport: type[httpx.HTTPTransport] = httpx.HTTPTransport) -> None:
        self.number = number
        self.trace_ids: list[str] = []
        self.signed_up_from: str | None = None
        self.price: float | None = None
        self._form_token: dict[str, str] = {}
        self._chance = random.Random(number)
        self._client = new_client(base_url, transport)

    def shop(self) -> Iterator[None]:
        """Look at two products and buy the second one three pages later; every tenth visitor signs up before."""
        first, second = self._chance.sample(list(PRICES), 2)
        yield self._open("/")
        yield self._open(f"/products/{first}")
        if self.number % 10 == 0:
            yield self._open("/signup")
            yield self._send("/signup", username=f"visitor{self.number}", password="camellia sinensis")
            self.signed_up_from = self.trace_ids[-1]
        yield self._open(f"/products/{second}")
        for page in self._chance.sample(QUIET_PAGES, 3):
            yield self._open(page)
        yield self._send("/checkout", product=second)
        self.price = PRICES[second]
        self._client.close()

    def chat(self) -> Iterator[None]:
        """Ask twice and like the second answer three pages later."""
        for question in ("How long?", "How hot?"):
            yield self._ask(question)
        for _ in range(3):
            yield self._open("/")
        yield self._send("/like")
        self._client.close()

    def _open(self, path: str) -> None:
        page = self._client.get(path)
        assert page.status_code == 200, page
        self.trace_ids += re.findall(r'<code class="trace">(.+?)</code>', page.text)
        for token in re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text):
            self._form_token = {"csrfmiddlewaretoken": token}

    def _send(self, path: str, **form: str) -> None:
        answer = self._client.post(path, data=form | self._form_token)
        assert answer.status_code < 400, answer

    def _ask(self, question: str) -> None:
        answer = self._client.post("/chat", data={"message": question})
        assert question in answer.text
        self.trace_ids.append(answer.headers["X-Prompt-Trace"])


def buy(server: Server) -> str:
    """Come to an application of ``probe`` as a new visitor, see a prompt, buy, and return the prompt's trace."""
    with new_client(server.base_url) as client:
        trace_id = client.get("/page").text
        assert client.post("/buy").json() == {"accepted": True}
    return trace_id


def interleave(walks: Iterable[Iterator[None]], *, seed: int) -> None:
    """Take the walks one request at a time, in random order, with CLIENTS requests at once."""
    chance = random.Random(seed)
    waiting, lock = list(walks), Lock()

    def draw() -> Iterator[None] | None:
        with lock:
            return waiting.pop(chance.randrange(len(waiting))) if waiting else None

    def take_steps() -> None:
        while walk := draw():
            for _ in walk:
                with lock:
                    waiting.append(walk)
                break

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(take_steps) for _ in range(CLIENTS)]
    for client in clients:
        client.result()
