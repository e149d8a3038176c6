"""One suite for both clients, against the local xR2 and against servers that do what no proper server does."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trustme

from xr2_web import flow, wire
from xr2_web.client import AsyncxR2Client, adrive, drive, xR2Client
from xr2_web.errors import ConfigurationError, ConnectionFailed, DeadlineExceeded, InvalidValue, NotFound
from xr2_web.models import Response
from xr2_web.transport import Address, AsyncTransport, SyncTransport

from .certificates import certified
from .local_xr2 import LocalXr2
from .scripted_server import KEY_OWNER, Connection, ScriptedServer, after_request, answer, each_request

KEY = "xr2_dev_SECRET"
DEADLINE = 0.3
GRACE = 0.2
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LIMITED = b'{"detail": "Too many requests"}'


@dataclass(frozen=True)
class Colour:
    """What is of one colour, and how to wait for what it returns."""

    client: type[Any]
    transport: type[Any]
    drive: Callable[..., Any]
    run: Callable[[Any], Any]


class Handle:
    """A client of either colour whose calls wait for their response."""

    def __init__(self, colour: Colour, client: Any) -> None:
        self.client = client
        self._run = colour.run

    def check_api_key(self) -> Response[Any]:
        return self._run(self.client.check_api_key())  # type: ignore[no-any-return]

    def get_prompt(self, **options: Any) -> Response[Any]:
        return self._run(self.client.get_prompt(**options))  # type: ignore[no-any-return]

    def track_event(self, **options: Any) -> Response[Any]:
        return self._run(self.client.track_event(**options))  # type: ignore[no-any-return]


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    if request.param == "sync":
        yield Colour(xR2Client, SyncTransport, drive, run=lambda result: result)
    else:
        with asyncio.Runner() as runner:
            yield Colour(AsyncxR2Client, AsyncTransport, adrive, run=runner.run)


@pytest.fixture
def connect(colour: Colour) -> Iterator[Callable[..., Handle]]:
    """Make a client that asks once, within a short deadline, unless it is told otherwise."""
    clients: list[Any] = []

    def make(base_url: str, key: str = KEY, **options: Any) -> Handle:
        client = colour.client(key, base_url=base_url, **{"total_retries": 0, "deadline": DEADLINE, **options})
        clients.append(client)
        return Handle(colour, client)

    yield make
    for client in clients:
        close(colour, client)


def close(colour: Colour, closable: Any) -> None:
    """Close a client or a transport of either colour."""
    colour.run(closable.aclose() if hasattr(closable, "aclose") else closable.close())


@contextmanager
def within(seconds: float, *, at_least: float = 0.0) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert at_least <= time.monotonic() - start < seconds


def dripped(connection: Connection, data: bytes) -> None:
    connection.drip(data, interval=0.2)


def refuses(response: Response[Any], kind: type[Exception] = ConnectionFailed) -> bool:
    """Whether the response is a failure without an answer, of that kind."""
    with pytest.raises(kind):
        response.unwrap()
    return not response.ok and response.status_code == 0 and bool(response.error) and response.data is None


class TestLocalXr2:
    def test_a_prompt_is_fetched_and_its_events_reported(
        self, local_xr2: LocalXr2, connect: Callable[..., Handle]
    ) -> None:
        client = connect(local_xr2.base_url, deadline=5)

        key = client.check_api_key()
        prompt = client.get_prompt(slug="product", version_number=3, status="production").unwrap()
        event = client.track_event(
            trace_id=prompt.trace_id,
            event_name="purchase_completed",
            user_id="u1",
            session_id="s1",
            value=19.9,
            currency="EUR",
            metadata={"plan": "pro"},
        ).unwrap()

        [arrived] = local_xr2.events()
        assert (key.ok, key.unwrap().user) == (True, "local")
        assert prompt.render({"product": "tea"}).user_prompt == "Describe tea in one sentence."
        assert (arrived["event_id"], arrived["slug"]) == (event.event_id, "product")
        assert (arrived["user_id"], arrived["session_id"], arrived["value"]) == ("u1", "s1", 19.9)
        assert (arrived["currency"], arrived["metadata"], arrived["source_name"]) == ("EUR", {"plan": "pro"}, "xr2_web")

    def test_an_event_sent_twice_counts_once(self, local_xr2: LocalXr2, connect: Callable[..., Handle]) -> None:
        client = connect(local_xr2.base_url, deadline=5)
        trace_id = client.get_prompt(slug="welcome").unwrap().trace_id

        first, again = (client.track_event(trace_id=trace_id, event_name="sign_up").unwrap() for _ in range(2))

        assert (first.is_duplicate, again.is_duplicate) == (False, True)
        assert first.event_id == again.event_id
        assert len(local_xr2.events()) == 1

    def test_what_the_server_refuses_is_a_response_in_its_words(
        self, local_xr2: LocalXr2, connect: Callable[..., Handle]
    ) -> None:
        client = connect(local_xr2.base_url, deadline=5)

        response = client.get_prompt(slug="nothing")

        assert (response.ok, response.status_code, response.data) == (False, 404, None)
        assert response.error == "Prompt not found. Available slugs: product, welcome"
        with pytest.raises(NotFound):
            response.unwrap()

    def test_a_wrong_key_names_the_setting_and_not_itself(
        self, local_xr2: LocalXr2, connect: Callable[..., Handle]
    ) -> None:
        response = connect(local_xr2.base_url, "xr2_prod_SECRET", deadline=5).check_api_key()

        assert response.status_code == 401
        assert "check API_KEY" in str(response.error)
        assert "SECRET" not in str(response.error)

    def test_a_value_that_cannot_be_sent_is_a_response_and_sends_nothing(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer() as server:
            response = connect(server.base_url).track_event(trace_id="t", event_name="e", metadata={"a": {1}})

        assert (response.ok, response.status_code, server.connections) == (False, 0, 0)
        with pytest.raises(InvalidValue, match=r"metadata\.a: "):
            response.unwrap()


class TestRequests:
    def test_every_request_carries_the_key_and_our_name_and_asks_for_plain_json(
        self, connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer() as server:
            client = connect(server.base_url)
            client.check_api_key()
            client.get_prompt(slug="welcome")

        get, post = server.requests
        common = {
            "host": f"127.0.0.1:{server.port}",
            "authorization": f"Bearer {KEY}",
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": wire.USER_AGENT,
        }
        assert (get.line, get.headers, get.body) == ("GET /api/v1/check-api-key HTTP/1.1", common, b"")
        assert post.line == "POST /api/v1/get-prompt HTTP/1.1"
        assert post.headers == {
            **common,
            "content-type": "application/json",
            "content-length": str(len(post.body)),
        }
        assert json.loads(post.body) == {"slug": "welcome", "source_name": "xr2_web"}

    def test_a_path_in_the_base_url_comes_first(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer() as server:
            response = connect(f"{server.base_url}/proxy/xr2/").check_api_key()

        assert response.ok
        assert server.requests[0].line == "GET /proxy/xr2/api/v1/check-api-key HTTP/1.1"

    def test_an_ipv6_address_is_reached(self, connect: Callable[..., Handle]) -> None:
        try:
            server = ScriptedServer(host="::1")
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")

        with server:
            response = connect(server.base_url).check_api_key()

        assert response.ok
        assert server.requests[0].headers["host"] == f"[::1]:{server.port}"

    def test_the_base_url_comes_from_the_environment_where_none_is_given(
        self, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as server:
            monkeypatch.setenv("XR2_BASE_URL", f"{server.base_url}/")
            client = connect("")
            response = client.check_api_key()

        assert response.ok
        assert client.client.base_url == server.base_url

    def test_calls_share_a_connection(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer() as server:
            client = connect(server.base_url)
            responses = [client.check_api_key() for _ in range(5)]

        assert all(responses)
        assert (len(server.requests), server.connections) == (5, 1)

    def test_a_server_that_sets_cookies_does_not_get_them_back(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(each_request(answer(headers={"Set-Cookie": "a=b"}))) as server:
            client = connect(server.base_url)
            client.check_api_key()
            client.check_api_key()

        assert "cookie" not in server.requests[1].headers

    def test_closing_twice_is_fine_and_a_later_call_connects_again(
        self, colour: Colour, connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer() as server:
            client = connect(server.base_url)
            first = client.check_api_key()
            close(colour, client.client)
            close(colour, client.client)
            are_closed = server.until_ended(1)
            later = client.check_api_key()

        assert (first.ok, are_closed, later.ok, server.connections) == (True, True, True, 2)


class TestSilence:
    """Trap 34: whatever keeps a caller waiting, it is back by the deadline, and no thread stays behind.

    What holds it is ``_left_or_raise`` in ``_DeadlineStream`` for the sync client, ``asyncio.timeout`` in
    ``AsyncTransport.send`` for the async one, and for both the one shared look-up in ``Resolver.begin``.
    """

    @pytest.fixture(autouse=True)
    def _threads(self) -> Iterator[None]:
        before = threading.active_count()
        yield
        assert threading.active_count() <= before

    @pytest.mark.parametrize(
        "silence",
        [
            pytest.param(Connection.hang, id="accepts and never answers"),
            pytest.param(partial(dripped, data=HEAD), id="one header byte per 0.2 s"),
            pytest.param(
                lambda connection: (
                    connection.send(HEAD + b"Content-Length: 1000\r\n\r\n"),
                    dripped(connection, b"x" * 1000),
                ),
                id="one body byte per 0.2 s",
            ),
            pytest.param(
                lambda connection: (
                    connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
                    dripped(connection, b"1\r\nx\r\n" * 200),
                ),
                id="one byte of a chunk per 0.2 s",
            ),
            pytest.param(
                lambda connection: (connection.send(answer()[:-5]), connection.hang()), id="stops before the end"
            ),
            pytest.param(
                lambda connection: dripped(connection, b"HTTP/1.1 100 Continue\r\n\r\n" * 100), id="drips 100s"
            ),
        ],
    )
    def test_a_server_that_does_not_come_to_an_end_is_left_at_the_deadline(
        self, silence: Callable[[Connection], None], connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer(after_request(silence)) as server:
            client = connect(server.base_url)
            with within(DEADLINE + GRACE, at_least=DEADLINE - 0.05):
                response = client.check_api_key()
            is_given_up = server.until_ended(1, within=0.5)

        assert refuses(response, DeadlineExceeded)
        assert is_given_up

    def test_a_server_that_takes_the_request_slowly_is_left_at_the_deadline(
        self, connect: Callable[..., Handle]
    ) -> None:
        slow = partial(Connection.read_slowly, size=512, interval=0.05)
        with ScriptedServer(slow, buffer=2048) as server:
            client = connect(server.base_url)
            with within(DEADLINE + GRACE):
                response = client.track_event(trace_id="t", event_name="e", metadata={"a": "x" * 60_000})

        assert refuses(response, DeadlineExceeded)

    def test_a_port_that_accepts_nobody_is_left_at_the_deadline(self, connect: Callable[..., Handle]) -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            client = connect(f"http://127.0.0.1:{listener.getsockname()[1]}")

            with within(DEADLINE + GRACE, at_least=DEADLINE - 0.05):
                response = client.check_api_key()

        assert refuses(response, DeadlineExceeded)

    def test_a_tls_handshake_that_drips_is_left_at_the_deadline(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(partial(dripped, data=b"\x16\x03\x03\x40\x00" + b"x" * 1000)) as server:
            client = connect(server.base_url.replace("http:", "https:"))
            with within(DEADLINE + GRACE, at_least=DEADLINE - 0.05):
                response = client.check_api_key()
            is_given_up = server.until_ended(1, within=0.5)
            gc.collect()

        assert refuses(response, DeadlineExceeded)
        assert is_given_up

    def test_the_deadline_holds_over_all_retries(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(after_request(Connection.hang)) as server:
            client = connect(server.base_url, timeout=0.05, total_retries=100, backoff_factor=0.01)
            with within(DEADLINE + GRACE):
                response = client.check_api_key()

        assert refuses(response, DeadlineExceeded)
        assert server.connections >= 3

    def test_a_deadline_that_is_over_already_sends_nothing(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer() as server, within(GRACE):
            response = connect(server.base_url, deadline=0).check_api_key()

        assert refuses(response, DeadlineExceeded)
        assert server.requests == []

    def test_a_resolver_that_hangs_holds_one_thread_however_many_call(
        self, colour: Colour, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Trap 34: `DeadlineBackend` waits for `Resolver.begin` so long and no longer, and the look-up is shared."""
        release = threading.Event()
        looked_up: list[object] = []

        def hang(*question: object, **options: object) -> list[Any]:
            looked_up.append(question)
            release.wait(5)
            return []

        address = Address("http://xr2.example", KEY, resolve=hang)
        before = threading.active_count()
        try:
            for _ in range(3):
                with within(0.1 + GRACE, at_least=0.1):
                    judgement = converse(colour, address, deadline=0.1)
                assert refuses(judgement.response, DeadlineExceeded)
            extra = threading.active_count() - before
        finally:
            release.set()
            join("xr2-resolve")

        assert (extra, len(looked_up)) == (1, 1)
        assert caplog.records == []

    def test_a_loop_that_is_gone_when_a_slow_look_up_ends_is_no_error(self, caplog: pytest.LogCaptureFixture) -> None:
        release = threading.Event()
        address = Address("http://xr2.example", KEY, resolve=lambda *_, **__: release.wait(5) and [])

        async def ask() -> wire.Judgement[Any]:
            return await adrive(conversation(deadline=0.05), AsyncTransport(address))

        judgement = asyncio.run(ask())
        release.set()
        join("xr2-resolve")

        assert refuses(judgement.response, DeadlineExceeded)
        assert caplog.records == []


def conversation(*, deadline: float = DEADLINE) -> flow.Conversation[Any]:
    return flow.converse(wire.check_api_key(), flow.Patience(deadline, deadline, 0, 0), flow.Chance())


def converse(colour: Colour, address: Address, *, deadline: float = DEADLINE) -> wire.Judgement[Any]:
    """Ask once through a transport to ``address``."""
    transport = colour.transport(address)
    try:
        return colour.run(colour.drive(conversation(deadline=deadline), transport))  # type: ignore[no-any-return]
    finally:
        close(colour, transport)


def join(name: str) -> None:
    """Wait for the end of the threads of that name."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(5)


class TestLookUp:
    def test_addresses_are_tried_in_turn(self, colour: Colour) -> None:
        with ScriptedServer() as server, socket.create_server(("127.0.0.2", server.port)) as closed:
            closed.close()
            found = [(0, 0, 0, "", (host, server.port)) for host in ("127.0.0.2", "127.0.0.1")]
            address = Address(f"http://xr2.example:{server.port}", KEY, resolve=lambda *_, **__: found)

            judgement = converse(colour, address)

        assert judgement.response.ok
        assert server.requests[0].headers["host"] == f"xr2.example:{server.port}"

    def test_when_no_address_answers_the_last_reason_is_given(self, colour: Colour) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        found = [(0, 0, 0, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

        judgement = converse(colour, Address("http://xr2.example", KEY, resolve=lambda *_, **__: found))

        assert refuses(judgement.response)

    @pytest.mark.parametrize("trouble", [socket.gaierror(-2, "Name or service not known"), ValueError("odd"), None])
    def test_an_unknown_host_is_named(self, colour: Colour, trouble: Exception | None) -> None:
        def fail(*question: object, **options: object) -> list[Any]:
            if trouble is not None:
                raise trouble
            return []

        judgement = converse(colour, Address("http://xr2.example", KEY, resolve=fail))

        assert refuses(judgement.response)
        assert "no address for xr2.example" in str(judgement.response.error)

    @pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "nothing.invalid"])
    def test_a_host_that_cannot_be_is_no_crash(self, host: str, connect: Callable[..., Handle]) -> None:
        response = connect(f"http://{host}", deadline=5).check_api_key()

        assert refuses(response)


class TestBrokenConnections:
    def test_a_refused_port(self, connect: Callable[..., Handle]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

        with within(GRACE):
            response = connect(f"http://127.0.0.1:{port}").check_api_key()

        assert refuses(response)

    @pytest.mark.parametrize("count", [0, 1, 20, 60, len(answer()) - 1])
    @pytest.mark.parametrize("end", [Connection.reset, Connection.close, Connection.half_close])
    def test_an_answer_that_breaks_off_is_no_answer(
        self, count: int, end: Callable[[Connection], None], connect: Callable[..., Handle]
    ) -> None:
        script = after_request(lambda connection: connection.send(answer()[:count]), end)
        with ScriptedServer(script) as server, within(GRACE):
            response = connect(server.base_url).check_api_key()

        assert refuses(response)

    def test_a_server_that_only_stops_sending_is_answered_for_what_it_said(
        self, connect: Callable[..., Handle]
    ) -> None:
        script = after_request(lambda connection: connection.send(answer()), Connection.half_close, Connection.hang)
        with ScriptedServer(script) as server:
            response = connect(server.base_url).check_api_key()

        assert response.ok

    def test_a_connection_that_the_server_closed_meanwhile_is_not_used(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(after_request(lambda connection: connection.send(answer()))) as server:
            client = connect(server.base_url)
            first = client.check_api_key()
            is_stale = server.until_ended(1)
            second = client.check_api_key()

        assert (first.ok, is_stale, second.ok, server.connections) == (True, True, True, 2)

    @pytest.mark.parametrize(("idle_seconds", "connections"), [(60, 1), (0, 2)])
    def test_a_connection_that_was_idle_for_long_is_not_used(
        self, idle_seconds: float, connections: int, colour: Colour
    ) -> None:
        with ScriptedServer() as server:
            transport = colour.transport(Address(server.base_url, KEY, idle_seconds=idle_seconds))
            judged = [colour.run(colour.drive(conversation(), transport)) for _ in range(2)]
            close(colour, transport)

        assert [each.response.ok for each in judged] == [True, True]
        assert server.connections == connections

    def test_a_connection_that_dies_under_a_request_is_tried_again(self, connect: Callable[..., Handle]) -> None:
        def once_only(connection: Connection) -> None:
            connection.read_request()
            connection.send(answer())
            connection.read_request()
            connection.reset()

        with ScriptedServer(once_only, each_request(answer())) as server:
            client = connect(server.base_url, total_retries=1, backoff_factor=0.01)
            responses = [client.check_api_key() for _ in range(2)]

        assert all(responses)
        assert len(server.requests) == 3

    def test_what_a_server_sends_unasked_is_not_taken_for_the_next_answer(self) -> None:
        unasked = answer(404, b'{"detail": "this was never asked"}')
        with ScriptedServer(each_request(answer() + unasked), each_request(answer())) as server:
            transport = SyncTransport(Address(server.base_url, KEY))
            judged = [drive(conversation(), transport) for _ in range(2)]
            transport.close()

        assert [each.response.ok for each in judged] == [True, True]
        assert server.connections == 2

    def test_an_answer_that_comes_before_the_whole_request_was_read_counts(self) -> None:
        """On asyncio a reset connection may drop what it has received."""

        def hasty(connection: Connection) -> None:
            connection.until_asked()
            connection.send(answer(413, b"{}"))
            connection.reset()

        with ScriptedServer(hasty, buffer=2048) as server:
            transport = SyncTransport(Address(server.base_url, KEY))
            answered = transport.send(wire.event_request(b"x" * 10_000_000), time.monotonic() + 5)
            transport.close()

        assert isinstance(answered, wire.Answer)
        assert answered.status == 413

    @pytest.mark.parametrize(
        "noise",
        [b"\x00" * 100, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"],
    )
    def test_what_is_not_http_is_no_answer(self, noise: bytes, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(after_request(lambda connection: connection.send(noise))) as server:
            response = connect(server.base_url).check_api_key()

        assert refuses(response)


class TestOddAnswers:
    @pytest.mark.parametrize(
        "odd",
        [
            answer(200, b"<html>Welcome to our Wi-Fi</html>", {"Content-Type": "text/html"}),
            answer(200, b""),
            answer(200, KEY_OWNER[:-3]),
            answer(200, b"[]"),
            b"HTTP/1.1 204 No Content\r\n\r\n",
            answer(200, gzip.compress(KEY_OWNER), {"Content-Encoding": "gzip"}),
        ],
    )
    def test_a_2xx_that_is_not_xr2s_is_an_error(self, odd: bytes, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(each_request(odd)) as server:
            response = connect(server.base_url, total_retries=3).check_api_key()

        assert not response.ok
        assert response.status_code in (200, 204)
        assert "not an answer of xR2" in str(response.error)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
    def test_a_redirect_is_never_followed(self, status: int, connect: Callable[..., Handle]) -> None:
        with ScriptedServer() as elsewhere, ExitStack() as stack:
            location = f"{elsewhere.base_url}/api/v1/events"
            server = stack.enter_context(ScriptedServer(each_request(answer(status, b"", {"Location": location}))))
            response = connect(server.base_url, total_retries=3).track_event(trace_id="t", event_name="e")

        assert (response.ok, response.status_code) == (False, status)
        assert "never followed" in str(response.error)
        assert (len(server.requests), elsewhere.connections) == (1, 0)

    @pytest.mark.parametrize(
        "head", [b"Content-Length: 500000000\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
    )
    def test_a_body_without_an_end_is_refused_at_a_mebibyte(self, head: bytes, connect: Callable[..., Handle]) -> None:
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        endless = partial(Connection.send_endlessly, data=chunk if b"chunked" in head else b"x" * 65536)
        script = after_request(lambda connection: connection.send(HEAD + head), endless)
        with ScriptedServer(script) as server:
            client = connect(server.base_url, deadline=5)
            with within(1):
                response = client.check_api_key()
            is_given_up = server.until_ended(1)

        assert (response.ok, response.status_code, is_given_up) == (False, 200, True)

    def test_a_body_of_just_a_mebibyte_is_read_and_one_byte_more_is_not(self, connect: Callable[..., Handle]) -> None:
        padded = KEY_OWNER + b" " * (wire.ANSWER_BYTES - len(KEY_OWNER))
        with ScriptedServer(
            each_request(answer(200, padded), answer(200, padded + b" ")), each_request(answer())
        ) as server:
            client = connect(server.base_url, deadline=5)
            responses = [client.check_api_key().ok for _ in range(3)]

        assert responses == [True, False, True]

    def test_the_answer_to_an_event_may_have_64_kib(self, connect: Callable[..., Handle]) -> None:
        large_one, small_one = answer(404, b" " * 70_000), answer(404, b'{"detail": "x"}')
        with ScriptedServer(each_request(large_one), each_request(small_one)) as server:
            client = connect(server.base_url)
            large, small = (client.track_event(trace_id="t", event_name="e") for _ in range(2))

        assert (large.error, small.error) == ("HTTP 404 without xR2's JSON", "x")

    def test_a_gzip_bomb_is_not_unpacked(self, connect: Callable[..., Handle]) -> None:
        bomb = gzip.compress(b"\0" * 20_000_000)
        with ScriptedServer(each_request(answer(200, bomb, {"Content-Encoding": "gzip"}))) as server:
            client = connect(server.base_url, deadline=5)
            with within(0.5):
                response = client.check_api_key()

        assert (response.ok, response.status_code) == (False, 200)

    def test_a_thousand_headers_are_read(self, connect: Callable[..., Handle]) -> None:
        many = {f"X-Header-{number}": "x" * 60 for number in range(1000)}
        with ScriptedServer(each_request(answer(headers=many))) as server:
            response = connect(server.base_url, deadline=5).check_api_key()

        assert response.ok

    def test_a_header_of_a_megabyte_is_no_answer(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(each_request(answer(headers={"X-Large": "x" * 1_000_000}))) as server:
            client = connect(server.base_url, deadline=5)
            with within(1):
                response = client.check_api_key()

        assert refuses(response)

    def test_informational_answers_are_passed_over(self, connect: Callable[..., Handle]) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        with ScriptedServer(each_request(early + answer())) as server:
            response = connect(server.base_url).check_api_key()

        assert response.ok

    def test_header_names_are_read_in_any_case(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(each_request(answer(503, b"", {"rEtRy-aFtEr": "77"}))) as server:
            response = connect(server.base_url).check_api_key()

        assert (response.status_code, response.retry_after) == (503, 77)

    def test_words_in_another_encoding_do_not_hurt(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(each_request(answer(400, b'{"detail": "\xff\xfe"}', {"X-Name": "caf\xe9"}))) as server:
            response = connect(server.base_url).check_api_key()

        assert (response.status_code, response.error) == (400, "HTTP 400 without xR2's JSON")


class TestStorms:
    def test_a_storm_of_429_is_waited_out_as_long_as_the_server_says(self, connect: Callable[..., Handle]) -> None:
        limited = answer(429, LIMITED, {"Retry-After": "0.15"})
        with ScriptedServer(each_request(limited, limited, answer())) as server:
            client = connect(server.base_url, total_retries=3, backoff_factor=0.01, deadline=2)
            with within(1, at_least=0.3):
                response = client.check_api_key()

        assert response.ok
        assert len(server.requests) == 3

    @pytest.mark.parametrize("retry_after", ["300", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT"])
    def test_a_429_that_lasts_longer_than_the_deadline_is_returned_at_once(
        self, retry_after: str, connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer(each_request(answer(429, LIMITED, {"Retry-After": retry_after}))) as server:
            client = connect(server.base_url, total_retries=3)
            with within(GRACE):
                response = client.check_api_key()

        assert (response.status_code, response.error, len(server.requests)) == (429, "Too many requests", 1)
        assert response.retry_after is not None
        assert response.retry_after >= 300

    def test_a_server_in_trouble_is_asked_a_bounded_number_of_times(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(each_request(answer(503, b""))) as server:
            response = connect(server.base_url, total_retries=2, backoff_factor=0.01).check_api_key()

        assert (response.status_code, len(server.requests)) == (503, 3)

    def test_a_refusal_is_not_asked_again(self, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(
            each_request(answer(422, b'{"detail": [{"loc": ["body", "slug"], "msg": "bad"}]}'))
        ) as server:
            response = connect(server.base_url, total_retries=3).get_prompt(slug="welcome")

        assert (response.error, len(server.requests)) == ("body.slug: bad", 1)


class TestTls:
    def test_a_server_with_a_good_certificate_is_talked_to(
        self, trusted: trustme.CA, connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer(tls=certified(trusted)) as server:
            client = connect(server.base_url, deadline=5)
            responses = [client.check_api_key() for _ in range(2)]

        assert all(responses)
        assert server.connections == 1

    def test_a_self_signed_certificate_is_refused_and_sees_no_key(
        self, authority: trustme.CA, connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer(tls=certified(authority)) as server:
            response = connect(server.base_url, deadline=5).check_api_key()

        assert refuses(response)
        assert "certificate" in str(response.error).lower()
        assert server.requests == []

    @pytest.mark.parametrize(
        "options", [{"host": "other.example"}, {"lasts": timedelta(days=-1)}], ids=["wrong host", "expired"]
    )
    def test_a_certificate_for_another_host_or_time_is_refused(
        self, options: dict[str, Any], trusted: trustme.CA, connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer(tls=certified(trusted, **options)) as server:
            response = connect(server.base_url, deadline=5).check_api_key()

        assert refuses(response)
        assert server.requests == []

    def test_plain_http_on_a_tls_port_is_no_answer(self, trusted: trustme.CA, connect: Callable[..., Handle]) -> None:
        with ScriptedServer(lambda connection: connection.send(answer(400, b""))) as server:
            response = connect(server.base_url.replace("http:", "https:"), deadline=5).check_api_key()

        assert refuses(response)

    def test_tls_where_plain_http_is_expected_is_no_answer(
        self, trusted: trustme.CA, connect: Callable[..., Handle]
    ) -> None:
        with ScriptedServer(tls=certified(trusted)) as server:
            response = connect(server.base_url.replace("https:", "http:"), deadline=5).check_api_key()

        assert refuses(response)

    def test_certificates_that_cannot_be_read_are_no_crash(
        self, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")

        response = connect("https://127.0.0.1:1").check_api_key()

        assert refuses(response)

    def test_a_body_that_drips_over_tls_is_left_at_the_deadline(
        self, trusted: trustme.CA, connect: Callable[..., Handle]
    ) -> None:
        script = after_request(
            lambda connection: connection.send(HEAD + b"Content-Length: 1000\r\n\r\n"),
            partial(dripped, data=b"x" * 1000),
        )
        with ScriptedServer(script, tls=certified(trusted)) as server:
            client = connect(server.base_url)
            with within(DEADLINE + GRACE, at_least=DEADLINE - 0.05):
                response = client.check_api_key()

        assert refuses(response, DeadlineExceeded)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxy settings are none of the tests' business."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class TestProxies:
    def test_plain_http_goes_to_the_proxy_with_the_whole_address(
        self, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.base_url.replace("//", "//user:pass@"))
            monkeypatch.setenv("http_proxy", proxy.base_url.replace("//", "//user:pass@"))
            response = connect("http://xr2.example:8000").check_api_key()

        assert response.ok
        assert proxy.requests[0].line == "GET http://xr2.example:8000/api/v1/check-api-key HTTP/1.1"
        assert proxy.requests[0].headers["host"] == "xr2.example:8000"
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"

    @pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
    def test_a_proxy_may_be_named_without_a_scheme(
        self, name: str, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv(name, f"127.0.0.1:{proxy.port}")
            response = connect("http://xr2.example").check_api_key()

        assert response.ok
        assert len(proxy.requests) == 1

    @pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "localhost,127.0.0.1"])
    def test_what_no_proxy_names_is_reached_directly(
        self, no_proxy: str, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as server, ScriptedServer() as proxy:
            monkeypatch.setenv("http_proxy", proxy.base_url)
            monkeypatch.setenv("no_proxy", no_proxy)
            response = connect(server.base_url).check_api_key()

        assert response.ok
        assert (proxy.connections, server.connections) == (0, 1)

    def test_https_goes_through_a_tunnel_that_sees_no_key(
        self, trusted: trustme.CA, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = certified(trusted, "xr2.example")

        def tunnel(connection: Connection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            connection.start_tls(context)
            each_request(answer())(connection)

        with ScriptedServer(tunnel) as proxy:
            monkeypatch.setenv("https_proxy", proxy.base_url.replace("//", "//user:pass@"))
            response = connect("https://xr2.example", deadline=5).check_api_key()

        outer, inner = proxy.requests
        assert response.ok
        assert outer.line == "CONNECT xr2.example:443 HTTP/1.1"
        assert "authorization" not in outer.headers
        assert outer.headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
        assert inner.headers["authorization"] == f"Bearer {KEY}"
        assert "proxy-authorization" not in inner.headers

    @pytest.mark.parametrize(("scheme", "status"), [("http", 407), ("https", 0)])
    def test_a_proxy_that_wants_a_password_is_an_error_without_retries_of_the_key(
        self, scheme: str, status: int, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refusal = answer(407, b"", {"Proxy-Authenticate": "Basic"})
        with ScriptedServer(each_request(refusal)) as proxy:
            monkeypatch.setenv(f"{scheme}_proxy", proxy.base_url.replace("//", "//user:PASSWORD@"))
            response = connect(f"{scheme}://xr2.example").check_api_key()

        assert (response.ok, response.status_code) == (False, status)
        assert "407" in str(response.error)
        assert "PASSWORD" not in str(response.error)

    def test_a_tunnel_that_never_opens_is_left_at_the_deadline(
        self, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer(after_request(partial(dripped, data=HEAD))) as proxy:
            monkeypatch.setenv("https_proxy", proxy.base_url)
            client = connect("https://xr2.example")
            with within(DEADLINE + GRACE):
                response = client.check_api_key()

        assert refuses(response, DeadlineExceeded)

    @pytest.mark.parametrize(
        "proxy", ["ftp://127.0.0.1:1", "http://[::1", "http://127.0.0.1:port", "socks5://127.0.0.1:1"]
    )
    def test_a_proxy_that_cannot_work_is_no_crash(
        self, proxy: str, connect: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", proxy)

        response = connect("http://xr2.example").check_api_key()

        assert refuses(response)


class TestSecrets:
    def everything_shown(self, client: Handle, response: Response[Any]) -> str:
        try:
            response.unwrap()
        except Exception as exc:  # noqa: BLE001
            trace = "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())
        return f"{client.client!r}{client.client}{vars(client.client)}{response!r}{response.to_dict()}{trace}"

    def test_the_key_is_nowhere_to_be_seen(
        self, connect: Callable[..., Handle], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with ScriptedServer(each_request(answer(404, b'{"detail": "no"}')), after_request(Connection.reset)) as server:
            client = connect(server.base_url)
            refused = client.get_prompt(slug="welcome")
            broken = connect(server.base_url).check_api_key()

        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert "SECRET" not in self.everything_shown(client, refused)
        assert "SECRET" not in self.everything_shown(client, broken)
        assert "SECRET" not in "".join(f"{record.getMessage()}{vars(record)}" for record in caplog.records)

    def test_a_client_cannot_be_pickled_with_its_key(self, colour: Colour) -> None:
        client = colour.client(KEY)

        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(client)

    def test_the_repr_says_where_it_sends(self, colour: Colour) -> None:
        client = colour.client(KEY, base_url="https://xr2.example/")

        assert repr(client) == f"{colour.client.__name__}(base_url='https://xr2.example')"

    @pytest.mark.parametrize("key", ["", "SECRET\r\nX-Evil: 1", "SECRET ключ", "SECRET\0", None, 5])
    def test_a_malformed_key_is_an_error_that_does_not_show_it(self, colour: Colour, key: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            colour.client(key)

        assert str(caught.value).startswith("api_key")
        assert "SECRET" not in repr(caught.value)

    @pytest.mark.parametrize("base_url", ["https://user:SECRET@xr2.uk", "file:///etc", "https://xr2.uk\\@evil.example"])
    def test_a_malformed_address_is_an_error(self, colour: Colour, base_url: str) -> None:
        with pytest.raises(ConfigurationError, match="base_url") as caught:
            colour.client(KEY, base_url=base_url)

        assert "SECRET" not in str(caught.value)


class Slow:
    """A script that answers one request, when it is released, and keeps the connection open."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.release = threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.read_request()
        self.asked.set()
        self.release.wait(5)
        connection.send(answer())
        connection.hang()


class TestThreads:
    def test_twenty_threads_share_a_client(self, local_xr2: LocalXr2) -> None:
        def visit(number: int) -> tuple[str, str]:
            trace_id = client.get_prompt(slug="welcome").unwrap().trace_id or ""
            event = client.track_event(trace_id=trace_id, event_name="sign_up", user_id=f"u{number}").unwrap()
            return event.trace_id, f"u{number}"

        with xR2Client(local_xr2.api_key, base_url=local_xr2.base_url) as client, ThreadPoolExecutor(20) as threads:
            visits = list(threads.map(visit, range(100)))

        arrived = {event["trace_id"]: event["user_id"] for event in local_xr2.events()}
        assert len(arrived) == 100
        assert arrived == dict(visits)

    def test_the_deadline_of_one_thread_is_not_that_of_another(self) -> None:
        def slow(connection: Connection) -> None:
            connection.read_request()
            connection.pause(0.4)
            connection.send(answer())

        with ScriptedServer(slow) as server, ThreadPoolExecutor(20) as threads:
            transport = SyncTransport(Address(server.base_url, KEY))
            deadlines = [0.1, 5.0] * 5
            asked = [threads.submit(drive, conversation(deadline=each), transport) for each in deadlines]
            outcomes = [each.result().response.ok for each in asked]
            transport.close()

        assert outcomes == [False, True] * 5

    def test_calls_beyond_the_connections_wait_for_their_turn(self) -> None:
        with ScriptedServer() as server, ThreadPoolExecutor(20) as threads:
            transport = SyncTransport(Address(server.base_url, KEY), connections=2)
            judged = list(threads.map(lambda _: drive(conversation(deadline=5), transport), range(100)))
            transport.close()

        assert all(each.response.ok for each in judged)
        assert server.connections <= 2

    def test_a_call_for_which_no_connection_becomes_free_is_left_at_its_deadline(self) -> None:
        slow = Slow()
        with ScriptedServer(slow) as server, ThreadPoolExecutor(1) as threads:
            transport = SyncTransport(Address(server.base_url, KEY), connections=1)
            call = threads.submit(drive, conversation(deadline=5), transport)
            was_asked = slow.asked.wait(5)
            with within(DEADLINE + GRACE):
                beyond = drive(conversation(), transport)
            slow.release.set()
            first = call.result()
            transport.close()

        assert (was_asked, first.response.ok) == (True, True)
        assert refuses(beyond.response, DeadlineExceeded)
        assert server.connections == 1

    def test_closing_under_a_call_closes_its_connection_after_the_answer(self) -> None:
        slow = Slow()
        with ScriptedServer(slow) as server, ThreadPoolExecutor(1) as threads:
            transport = SyncTransport(Address(server.base_url, KEY))
            call = threads.submit(drive, conversation(deadline=5), transport)
            was_asked = slow.asked.wait(5)
            transport.close()
            slow.release.set()
            judgement = call.result()
            is_closed = server.until_ended(1)

        assert (was_asked, judgement.response.ok, is_closed) == (True, True, True)

    def test_a_client_that_is_forgotten_closes_its_connections(self) -> None:
        with ScriptedServer() as server:
            xR2Client(KEY, base_url=server.base_url).check_api_key()
            gc.collect()
            are_closed = server.until_ended(1)

        assert are_closed

    def test_a_call_while_the_interpreter_ends_is_answered(self) -> None:
        program = """
import atexit, sys
from xr2_web.client import xR2Client
client = xR2Client("xr2_dev_x", base_url=sys.argv[1], total_retries=0, deadline=5)
atexit.register(lambda: print(client.check_api_key().ok))
"""
        with ScriptedServer() as server:
            ended = subprocess.run(
                [sys.executable, "-c", program, server.base_url], capture_output=True, text=True, check=False
            )

        assert (ended.stdout, ended.stderr) == ("True\n", "")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_does_not_share_its_parents_connections(self) -> None:
        """Trap 24: the pid in `SyncTransport._way`."""
        program = """
import os, sys
from xr2_web.client import xR2Client
client = xR2Client("xr2_dev_x", base_url=sys.argv[1], total_retries=0, deadline=5)
client.check_api_key().unwrap()
if (child := os.fork()) == 0:
    os._exit(0 if client.check_api_key().ok and client.check_api_key().ok else 1)
_, status = os.waitpid(child, 0)
raise SystemExit(os.waitstatus_to_exitcode(status) or not client.check_api_key().ok)
"""
        with ScriptedServer() as server:
            ended = subprocess.run(
                [sys.executable, "-c", program, server.base_url], capture_output=True, text=True, check=False
            )

        assert (ended.returncode, ended.stderr) == (0, "")
        assert (len(server.requests), server.connections) == (4, 2)


class TestLoops:
    def test_a_client_serves_one_loop_after_another_and_leaves_nothing_open(self) -> None:
        with ScriptedServer() as server:
            client = AsyncxR2Client(KEY, base_url=server.base_url, total_retries=0)
            responses = [asyncio.run(client.check_api_key()) for _ in range(20)]
            are_closed = server.until_ended(20)
            gc.collect()

        assert all(responses)
        assert are_closed

    def test_a_client_serves_many_loops_at_once(self, request: pytest.FixtureRequest) -> None:
        request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
        sys.setswitchinterval(1e-6)
        with ScriptedServer() as server, ThreadPoolExecutor(20) as threads:
            client = AsyncxR2Client(KEY, base_url=server.base_url, total_retries=0)
            responses = list(threads.map(lambda _: asyncio.run(client.check_api_key()), range(200)))
            are_closed = server.until_ended(200)
            gc.collect()

        assert [response.error for response in responses if not response.ok] == []
        assert are_closed

    async def test_calls_at_once_on_one_loop_each_get_their_own_answer(self, local_xr2: LocalXr2) -> None:
        async with AsyncxR2Client(local_xr2.api_key, base_url=local_xr2.base_url) as client:
            prompts = await asyncio.gather(*(client.get_prompt(slug="welcome") for _ in range(50)))

        assert len({prompt.unwrap().trace_id for prompt in prompts}) == 50

    async def test_a_cancelled_call_leaves_the_pool_usable(self) -> None:
        def hang_once(connection: Connection) -> None:
            connection.read_request()
            connection.hang()

        with ScriptedServer(*[hang_once] * 5, each_request(answer())) as server:
            transport = AsyncTransport(Address(server.base_url, KEY), connections=2)
            for number in range(1, 6):
                call = asyncio.create_task(adrive(conversation(), transport))
                while len(server.requests) < number:
                    await asyncio.sleep(0.005)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            judgement = await adrive(conversation(), transport)
            await transport.aclose()
            are_closed = await asyncio.to_thread(server.until_ended, 6)

        assert judgement.response.ok
        assert are_closed

    async def test_calls_beyond_the_pool_wait_for_their_turn(self) -> None:
        with ScriptedServer() as server:
            transport = AsyncTransport(Address(server.base_url, KEY), connections=2)
            judged = await asyncio.gather(*(adrive(conversation(deadline=5), transport) for _ in range(20)))
            await transport.aclose()

        assert all(each.response.ok for each in judged)
        assert server.connections <= 2

    async def test_the_loop_is_not_blocked_while_a_call_waits(self) -> None:
        with ScriptedServer(after_request(Connection.hang)) as server:
            client = AsyncxR2Client(KEY, base_url=server.base_url, total_retries=0, deadline=0.3)
            call = asyncio.create_task(client.check_api_key())
            turns = 0
            while not call.done():
                await asyncio.wait([call], timeout=0.01)
                turns += 1
            await client.aclose()

        assert turns > 10
