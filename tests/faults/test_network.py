"""Events on a network that fails: each of them is kept until it has arrived, and nobody else sees the key."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trustme

from xr2_web import wire
from xr2_web.delivery import Delivery
from xr2_web.outbox import Claim, Entry
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.pacing import Budget, Chance, Pause

from ..certificates import certified
from ..conftest import RuntimeMaker
from ..scripted_server import Connection, Script, ScriptedServer, after_request, answer, each_request
from ..test_client import HEAD, dripped, within
from .sending import EVENTS, KEY, TAKEN, Clock, Sender, hurried, traces_of, track

TIMEOUT = 0.3
GRACE = 1.0
SOON = Chance(random=lambda: 0.02)
"""Luck by which what failed is tried again in 20 ms, and then in 40."""

Start = Callable[..., Sender]

served = each_request(TAKEN)


def sends(data: bytes) -> Script:
    return partial(Connection.send, data=data)


def drips(data: bytes) -> Script:
    return partial(dripped, data=data)


def in_turn(*steps: Script) -> Script:
    def script(connection: Connection) -> None:
        for step in steps:
            step(connection)

    return script


@pytest.fixture
def start_soon(make_runtime: RuntimeMaker) -> Callable[..., Any]:
    """Make a runtime, whose courier tries again soon."""
    return partial(make_runtime, api_key=KEY, chance=SOON)


class TestNoConnection:
    def test_an_event_waits_until_somebody_listens_at_the_port(self, start_soon: Callable[..., Any]) -> None:
        """Fault: refused port."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))  # and does not listen
            runtime = start_soon(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
            track(runtime, "evt_1")
            refused = runtime.flush(0.2)
            server = threading.Thread(target=serve_one, args=(listener,))
            listener.listen()
            server.start()

            flushed = runtime.flush(10)
            server.join()

        assert (refused.delivered, refused.left) == (0, 1)
        assert (runtime.counts["delivered"], flushed.refused, flushed.left) == (1, 0, 0)
        assert runtime.counts["failed"] >= 1

    @pytest.mark.parametrize("host", ["nothing.invalid", "a..b", "x" * 70 + ".example"])
    def test_an_event_to_a_host_that_nobody_knows_waits(self, start: Start, host: str) -> None:
        """Fault: unknown host."""
        sender = start(f"http://{host}")
        sender.track("evt_1")

        sender.run()

        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})

    def test_a_port_that_accepts_nobody_costs_a_request_its_time_and_no_more(self, start: Start) -> None:
        """Fault: connect hang."""
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            sender = start(f"http://127.0.0.1:{listener.getsockname()[1]}", chance=hurried(TIMEOUT))
            sender.track("evt_1")

            with within(TIMEOUT + GRACE, at_least=TIMEOUT - 0.05):
                sender.run()

        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})

    def test_whatever_goes_wrong_in_sending_an_event_is_tried_again(
        self, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not even a defect of ours, or of the HTTP library, keeps an event claimed for ever."""

        class Defective:
            def send(self, request: wire.Request[Any], until: float) -> wire.Answer:
                raise ValueError(bytes(entry.body))

            def close(self) -> None:
                pass

        entry = Entry("evt_1", "sign_up", b"ada@example.org", clock.wall)
        outbox = MemoryOutbox(10, clock=lambda: clock.now)
        paced: dict[str, Any] = {"pause": Pause(), "budget": Budget(None), "chance": clock.chance}
        delivery = Delivery(outbox, Defective, count=lambda outcome: None, **paced)
        outbox.put(entry)
        claim = delivery.take(clock.now + 10)
        assert isinstance(claim, Claim)

        delivery.deliver(claim, clock.now + 10)

        assert outbox.next_due() == 0.5
        assert "send_failed: ValueError" in caplog.text
        assert "ada@example.org" not in caplog.text


def serve_one(listener: socket.socket) -> None:
    """Take one request, and its event."""
    accepted, _ = listener.accept()
    received = b""
    with accepted:
        while not received.endswith(b"}"):
            received += accepted.recv(65536)
        accepted.sendall(TAKEN)


class TestSilence:
    @pytest.mark.parametrize(
        "silence",
        [
            pytest.param(Connection.hang, id="accepts and never answers"),
            pytest.param(drips(HEAD), id="one byte at a time, in the headers"),
            pytest.param(
                in_turn(sends(HEAD + b"Content-Length: 1000\r\n\r\n"), drips(b"x" * 1000)),
                id="one byte at a time, in the body",
            ),
            pytest.param(
                in_turn(sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"), drips(b"1\r\nx\r\n" * 200)),
                id="one byte at a time, in chunks",
            ),
            pytest.param(
                lambda connection: dripped(connection, b"HTTP/1.1 100 Continue\r\n\r\n" * 100), id="drips 100s"
            ),
            pytest.param(
                lambda connection: (connection.send(TAKEN[:-5]), connection.hang()), id="stops before the end"
            ),
        ],
    )
    def test_a_server_that_comes_to_no_end_is_left_in_time_and_asked_again(self, start: Start, silence: Any) -> None:
        """Faults: accepts and never answers; one byte a second, in headers; one byte a second, in the body."""
        with ScriptedServer(after_request(silence), served) as server:
            sender = start(server.base_url, chance=hurried(TIMEOUT))
            sender.track("evt_1")

            with within(TIMEOUT + GRACE, at_least=TIMEOUT - 0.05):
                sender.run()
            left = sender.pending
            is_given_up = server.until_ended(1)
            delivered_at_last(sender)

        assert (left, is_given_up) == (1, True)
        assert traces_of(server.requests) == ["evt_1"] * 2
        assert (sender.pending, sender.dead) == (0, 0)

    def test_a_server_that_takes_the_request_slowly_is_left_in_time(self, start: Start) -> None:
        """Drips the other way round: one byte a second, as the server reads."""
        slow = partial(Connection.read_slowly, size=512, interval=0.05)
        with ScriptedServer(slow, served, buffer=2048) as server:
            sender = start(server.base_url, chance=hurried(TIMEOUT))
            sender.track("evt_1", metadata={"a": "x" * 60_000})

            with within(TIMEOUT + GRACE, at_least=TIMEOUT - 0.05):
                sender.run()
            left = sender.pending
            delivered_at_last(sender)

        assert left == 1
        assert traces_of(server.requests) == ["evt_1"]


def delivered_at_last(sender: Sender) -> None:
    """Send until nothing is left; with luck as here a second try comes at once."""
    with within(5):
        while sender.pending:
            sender.run()


class TestBrokenConnections:
    @pytest.mark.parametrize("count", [0, 1, 20, 60, len(TAKEN) - 1])
    @pytest.mark.parametrize("end", [Connection.reset, Connection.close, Connection.half_close])
    def test_an_answer_that_breaks_off_is_none(
        self, start_soon: Callable[..., Any], count: int, end: Callable[[Connection], None]
    ) -> None:
        """Faults: reset after N bytes; half-close."""
        broken = after_request(sends(TAKEN[:count]), end)
        with ScriptedServer(broken, served) as server:
            runtime = start_soon(base_url=server.base_url)
            track(runtime, "evt_1")

            flushed = runtime.flush(10)

        assert (runtime.counts["delivered"], flushed.refused, flushed.left) == (1, 0, 0)
        assert traces_of(server.requests) == ["evt_1"] * 2

    def test_a_whole_answer_counts_though_the_server_sends_no_more(self, start: Start) -> None:
        """Fault: half-close after the answer."""
        script = after_request(sends(TAKEN), Connection.half_close, Connection.hang)
        with ScriptedServer(script) as server:
            sender = start(server.base_url)
            sender.track("evt_1")

            sender.run()

        assert traces_of(server.requests) == ["evt_1"]
        assert sender.counts == {"delivered": 1}

    def test_an_event_that_was_taken_without_an_answer_counts_once_and_is_no_news(
        self, start_soon: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fault: accepted but unanswered (a duplicate)."""
        again = TAKEN.replace(b'"is_duplicate": false', b'"is_duplicate":  true')
        with ScriptedServer(after_request(Connection.reset), each_request(again)) as server:
            runtime = start_soon(base_url=server.base_url)
            track(runtime, "evt_1")

            flushed = runtime.flush(10)

        assert (runtime.counts["delivered"], flushed.left, len(server.requests)) == (1, 0, 2)
        assert "duplicate_at_server" not in runtime.counts
        assert caplog.records == []

    def test_a_connection_that_the_server_has_closed_meanwhile_costs_no_try(self, start: Start) -> None:
        """Fault: stale keep-alive."""
        with ScriptedServer(after_request(sends(TAKEN))) as server:
            sender = start(server.base_url)
            sender.track("evt_1", "evt_2")

            sender.run()
            is_stale = server.until_ended(1)
            sender.run()

        assert is_stale
        assert sender.counts == {"delivered": 2}

    def test_a_connection_that_dies_under_an_event_costs_a_try_and_not_the_event(
        self, start_soon: Callable[..., Any]
    ) -> None:
        """Fault: stale keep-alive, closed while the next request is on its way."""

        def first_only(connection: Connection) -> None:
            connection.read_request()
            connection.send(TAKEN)
            connection.read_request()
            connection.reset()

        with ScriptedServer(first_only, served) as server:
            runtime = start_soon(base_url=server.base_url, concurrency=1)
            track(runtime, "evt_1", "evt_2")

            flushed = runtime.flush(10)

        assert (runtime.counts["delivered"], flushed.left) == (2, 0)
        assert traces_of(server.requests) == ["evt_1", "evt_2", "evt_2"]

    @pytest.mark.parametrize(
        "noise",
        [b"\x00" * 100, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"\n"],
    )
    def test_what_is_not_http_is_no_answer(self, start_soon: Callable[..., Any], noise: bytes) -> None:
        with ScriptedServer(after_request(sends(noise)), served) as server:
            runtime = start_soon(base_url=server.base_url)
            track(runtime, "evt_1")

            flushed = runtime.flush(10)

        assert (runtime.counts["delivered"], flushed.refused, flushed.left) == (1, 0, 0)


class TestTls:
    def test_over_a_good_certificate_events_share_a_connection(self, start: Start, trusted: trustme.CA) -> None:
        with ScriptedServer(served, tls=certified(trusted)) as server:
            sender = start(server.base_url)
            sender.track("evt_1", "evt_2")

            sender.run_out()

        assert (sender.counts, server.connections) == ({"delivered": 2}, 1)

    def test_a_self_signed_certificate_sees_neither_event_nor_key(self, start: Start, authority: trustme.CA) -> None:
        """Fault: self-signed."""
        with ScriptedServer(served, tls=certified(authority)) as server:
            sender = start(server.base_url)
            sender.track("evt_1")

            sender.run()

        assert server.requests == []
        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})

    @pytest.mark.parametrize(
        "options", [{"lasts": timedelta(days=-1)}, {"host": "other.example"}], ids=["expired", "wrong host"]
    )
    def test_a_certificate_for_another_time_or_host_sees_neither(
        self, start: Start, trusted: trustme.CA, options: dict[str, Any]
    ) -> None:
        """Faults: expired; wrong host."""
        with ScriptedServer(served, tls=certified(trusted, **options)) as server:
            sender = start(server.base_url)
            sender.track("evt_1")

            sender.run()

        assert server.requests == []
        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})

    def test_plain_http_on_a_tls_port_sees_neither(self, start: Start, trusted: trustme.CA) -> None:
        """Fault: plain HTTP on a TLS port."""
        with ScriptedServer(in_turn(sends(TAKEN), served)) as server:
            sender = start(server.base_url.replace("http:", "https:"))
            sender.track("evt_1")

            sender.run()

        assert server.requests == []
        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})

    def test_tls_where_plain_http_is_expected_is_no_answer(self, start: Start, trusted: trustme.CA) -> None:
        with ScriptedServer(served, tls=certified(trusted)) as server:
            sender = start(server.base_url.replace("https:", "http:"))
            sender.track("evt_1")

            sender.run()

        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})

    def test_an_event_arrives_once_the_certificate_is_renewed(
        self, start_soon: Callable[..., Any], trusted: trustme.CA
    ) -> None:
        """Fault: expired, and renewed."""
        contexts = [certified(trusted, lasts=timedelta(days=-1)), certified(trusted)]

        def renewed(connection: Connection) -> None:
            connection.start_tls(contexts.pop(0) if len(contexts) > 1 else contexts[0])
            served(connection)

        with ScriptedServer(renewed) as server:
            runtime = start_soon(base_url=server.base_url.replace("http:", "https:"))
            track(runtime, "evt_1")

            flushed = runtime.flush(10)

        assert (runtime.counts["delivered"], flushed.left) == (1, 0)


class TestProxies:
    def test_events_go_through_the_proxy_of_the_environment(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fault: proxy variables, for plain HTTP."""
        with ScriptedServer(served) as proxy:
            monkeypatch.setenv("http_proxy", proxy.base_url)
            sender = start("http://xr2.example")
            sender.track("evt_1")

            sender.run()

        assert proxy.requests[0].line == "POST http://xr2.example/api/v1/events HTTP/1.1"
        assert sender.counts == {"delivered": 1}

    def test_a_tunnel_sees_neither_key_nor_event(
        self, start: Start, trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fault: proxy variables, for HTTPS."""
        context = certified(trusted, "xr2.example")

        def tunnel(connection: Connection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            connection.start_tls(context)
            served(connection)

        with ScriptedServer(tunnel) as proxy:
            monkeypatch.setenv("https_proxy", proxy.base_url)
            sender = start("https://xr2.example")
            sender.track("evt_1")

            sender.run()

        outer, inner = proxy.requests
        assert (outer.line, outer.body) == ("CONNECT xr2.example:443 HTTP/1.1", b"")
        assert KEY not in str(outer.headers)
        assert (inner.line, traces_of([inner])) == (EVENTS, ["evt_1"])
        assert sender.counts == {"delivered": 1}

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_proxy_that_wants_a_password_keeps_no_event_from_arriving_later(
        self, start: Start, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scheme: str
    ) -> None:
        """Fault: proxy 407."""
        refusal = answer(407, b"", {"Proxy-Authenticate": "Basic"})
        with ScriptedServer(each_request(refusal)) as proxy:
            monkeypatch.setenv(f"{scheme}_proxy", proxy.base_url.replace("//", "//user:PASSWORD@"))
            sender = start(f"{scheme}://xr2.example")
            sender.track("evt_1")

            sender.run()

        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})
        assert scheme == "http" or KEY not in str(proxy.requests)
        assert "PASSWORD" not in caplog.text
