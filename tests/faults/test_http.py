"""What the courier does with an answer: with each of the table, and with those that no proper server gives."""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from typing import Any

import pytest

from xr2_web import wire
from xr2_web.delivery import DOUBTED_TRIES, FAILURES_TO_PAUSE
from xr2_web.pacing import Chance, timestamp

from ..conftest import RuntimeMaker
from ..scripted_server import Connection, Script, ScriptedServer, after_request, answer, each_request
from ..test_client import within
from .programs import wait_until
from .sending import DAY, EVENTS, KEY, PROBE, TAKEN, Clock, Sender, spool_by, traces_of, track

Start = Callable[..., Sender]

HTML = b"<html><title>Welcome to our Wi-Fi</title></html>"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = TAKEN.partition(b"\r\n\r\n")[2]
LIMITED = answer(429, b'{"detail": "Too many requests", "retry_after": 300}', {"Retry-After": "300"})
UNAVAILABLE = answer(503, b'{"detail": "busy"}')

served = each_request(TAKEN)


def said(detail: object) -> bytes:
    """Return a body in which xR2 says something."""
    return json.dumps({"detail": detail}).encode()


class Server:
    """Answers each request in the way of the moment."""

    def __init__(self) -> None:
        self.answer = TAKEN
        self._scripted = ScriptedServer(self._serve)
        self.base_url = self._scripted.base_url
        self.requests = self._scripted.requests

    def _serve(self, connection: Connection) -> None:
        while connection.read_request() is not None:
            connection.send(self.answer)

    def __enter__(self) -> Server:
        self._scripted.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self._scripted.__exit__(None, None, None)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


DELIVERED = (2, 0, 0, None)
BURIED = (2, 0, 2, None)
TRIED_AGAIN = (2, 2, 0, None)
PAUSED = (1, 2, 0, 1.0)
LOCKED_OUT = (1, 2, 0, 60.0)
LIMITED_FOR_A_MINUTE = (1, 2, 0, 60.0)


def outcome(sender: Sender, server: Server) -> tuple[int, int, int, float | None]:
    """Have two events sent, unless the answer to the first keeps the second from it.

    Returns how many requests that took, how many events are left and dead, and the seconds for which it is kept.
    """
    sender.track("evt_1", "evt_2")
    sender.run()
    pause = sender.run()
    return len(server.requests), sender.pending, sender.dead, pause or None


def table(status: int, body: bytes) -> tuple[int, int, int, float | None]:
    """The table of answers."""
    if 200 <= status < 300 and status != 204:
        return DELIVERED if body == GOOD else PAUSED
    if status in (401, 403):
        return LOCKED_OUT
    if status == 429:
        return LIMITED_FOR_A_MINUTE
    if status in (408, 409, 425) or status >= 500:
        return TRIED_AGAIN
    if status >= 400 and b"detail" in body:
        return BURIED
    return PAUSED


class TestStatus:
    @pytest.mark.parametrize("body", [GOOD, said("no"), HTML], ids=["a good body", "a detail", "HTML"])
    def test_every_final_status_does_what_the_table_says(self, server: Server, start: Start, body: bytes) -> None:
        """Fault: every status from 100 to 599 against the table, here the final ones."""
        outcomes: dict[int, Any] = {}
        lines: set[str] = set()
        for status in range(200, 600):
            server.answer = answer(status, body)
            # In memory: where they wait makes no difference here, and 400 files would.
            outcomes[status] = outcome(start(server.base_url, outbox="memory", chance=Clock().chance), server)
            lines |= {each.line for each in server.requests}
            server.requests.clear()

        assert outcomes == {status: table(status, body) for status in outcomes}
        assert lines == {EVENTS}

    @pytest.mark.parametrize("status", [100, 101, 102, 103, 150, 199])
    def test_an_informational_status_alone_is_no_answer(self, start: Start, status: int) -> None:
        """Fault: every status from 100 to 599 against the table, here those that announce another."""
        with ScriptedServer(after_request(partial(Connection.send, data=answer(status, b"")))) as server:
            sender = start(server.base_url)
            sender.track("evt_1")

            with within(5):
                sender.run()

        assert (sender.pending, sender.dead, sender.counts) == (1, 0, {"failed": 1})

    def test_an_informational_status_before_the_answer_is_passed_over(self, server: Server, start: Start) -> None:
        server.answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + TAKEN
        sender = start(server.base_url)

        assert outcome(sender, server) == DELIVERED

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_key_that_is_not_accepted_is_probed_and_its_events_go_on_when_it_is(
        self, server: Server, start: Start, clock: Clock, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        sender = start(server.base_url)
        sender.track("evt_1")
        server.answer = answer(status, said("Invalid API key"))
        waits = [sender.run_out()]
        for _ in range(8):
            clock.advance(waits[-1] or 0.0)
            waits.append(sender.run_out())
        probes = [each.line for each in server.requests]
        server.answer = answer(200, b'{"ok": true, "user": "ada"}')
        clock.advance(3600)
        sender.run()
        server.answer = TAKEN
        sender.run_out()

        assert waits == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0]
        assert probes == [EVENTS] + [PROBE] * 8
        assert (sender.counts["delivered"], sender.pending, sender.dead) == (1, 0, 0)
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    @pytest.mark.parametrize(
        "detail", ["Internal server error: 404: Event definition not found", "Internal server error: 400: no plan"]
    )
    def test_a_500_that_hides_a_refusal_is_tried_a_few_times_and_buried(
        self, server: Server, start: Start, clock: Clock, detail: str
    ) -> None:
        server.answer = answer(500, said(detail))
        sender = start(server.base_url, outbox=spool_by(clock.chance))
        sender.track("evt_1")

        for _ in range(DOUBTED_TRIES + 3):
            sender.run_out()
            clock.advance(300.0)

        assert len(server.requests) == DOUBTED_TRIES
        assert (sender.pending, sender.reasons()) == (0, [f"500: {detail}"])


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(answer(200, HTML, {"Content-Type": "text/html"}), id="HTML"),
        pytest.param(answer(200, b""), id="empty"),
        pytest.param(answer(200, GOOD[:-3]), id="truncated JSON"),
        pytest.param(answer(200, b"[" + GOOD + b"]"), id="a list"),
        pytest.param(answer(200, b"null"), id="null"),
        pytest.param(answer(200, b'{"ok": true, "user": "ada"}'), id="another object"),
        pytest.param(answer(200, b"[" * 60_000), id="nested too deeply"),
        pytest.param(answer(200, GOOD.ljust(wire.EVENT_ANSWER_BYTES + 1)), id="over 64 KiB"),
        pytest.param(answer(200, gzip.compress(GOOD), {"Content-Encoding": "gzip"}), id="gzip that nobody asked for"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(answer(404, HTML), id="404 without JSON"),
        pytest.param(answer(404, said("Not Found")), id="404 of a path that another application does not have"),
        pytest.param(answer(405, said("Method Not Allowed")), id="405 of another application"),
        pytest.param(answer(404, said("no").ljust(wire.EVENT_ANSWER_BYTES + 1)), id="404 over 64 KiB"),
    ],
)
def test_who_is_not_xr2_takes_no_event(
    server: Server, start: Start, clock: Clock, caplog: pytest.LogCaptureFixture, stranger: bytes
) -> None:
    """Faults: 200 with HTML; 200, empty; 200 with truncated JSON; 200 with a list; 204."""
    server.answer = stranger
    sender = start(server.base_url)
    kept = outcome(sender, server)
    server.answer = TAKEN
    clock.advance(1.0)
    sender.run_out()

    assert kept == PAUSED
    assert (sender.counts["delivered"], sender.dead) == (2, 0)
    assert "check BASE_URL" in caplog.text or "without xR2's JSON" in caplog.text
    assert len(caplog.records) == 1


def test_an_answer_of_just_64_kib_is_read(server: Server, start: Start) -> None:
    server.answer = answer(200, GOOD.ljust(wire.EVENT_ANSWER_BYTES))

    assert outcome(start(server.base_url), server) == DELIVERED


@pytest.mark.parametrize("is_other_host", [False, True], ids=["to the same host", "to another host"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(
    server: Server, start: Start, clock: Clock, status: int, is_other_host: bool
) -> None:
    """Faults: 301; 302; 303; 307; 308 to the same and to another host."""
    with ScriptedServer(served) as elsewhere:
        host = elsewhere if is_other_host else server
        server.answer = answer(status, GOOD, {"Location": f"{host.base_url}/api/v1/events"})
        sender = start(server.base_url)
        kept = outcome(sender, server)
        server.answer = TAKEN
        clock.advance(1.0)
        sender.run_out()

    assert kept == PAUSED
    assert elsewhere.connections == 0
    assert {each.line for each in server.requests} == {EVENTS}
    assert sender.counts["delivered"] == 2


def endless(head: bytes, data: bytes) -> Script:
    return after_request(partial(Connection.send, data=HEAD + head), partial(Connection.send_endlessly, data=data))


BOMB = gzip.compress(b"\0" * 20_000_000) * 4


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(endless(b"Content-Length: 500000000\r\n\r\n", b"x" * 65536), id="500 MB"),
        pytest.param(endless(b"\r\n", b"x" * 65536), id="no length"),
        pytest.param(
            endless(b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"), id="chunks"
        ),
        pytest.param(
            endless(b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n", b"10\r\n" + b"\0" * 16 + b"\r\n"),
            id="small chunks",
        ),
        pytest.param(each_request(answer(200, BOMB, {"Content-Encoding": "gzip"})), id="gzip bomb"),
    ],
)
def test_a_large_answer_is_given_up_before_it_fills_the_memory(start: Start, clock: Clock, script: Script) -> None:
    """Faults: 500 MB body; endless chunks; gzip bomb."""
    with ScriptedServer(script, served) as server:
        sender = start(server.base_url)
        sender.track("evt_0")

        tracemalloc.start()
        with within(5):
            sender.run()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        is_given_up = server.until_ended(1)
        left = sender.pending
        clock.advance(1.0)
        sender.run_out()

    assert peak < 1024 * 1024
    assert is_given_up
    assert (left, sender.pending, sender.dead) == (1, 0, 0)


class TestHeaders:
    def test_a_thousand_headers_are_read(self, server: Server, start: Start) -> None:
        """Fault: 1,000 headers."""
        server.answer = answer(200, GOOD, {f"X-Header-{number}": "value" for number in range(1000)})

        assert outcome(start(server.base_url), server) == DELIVERED

    def test_a_header_of_a_megabyte_is_no_answer(self, server: Server, start: Start) -> None:
        """Fault: a 1 MB header."""
        server.answer = answer(200, GOOD, {"X-Large": "x" * 1_000_000})

        with within(5):
            kept = outcome(start(server.base_url), server)

        assert kept == TRIED_AGAIN


class TestDetail:
    @pytest.mark.parametrize(
        ("detail", "reason"),
        [
            ("no such event", "no such event"),
            ({"error": "not_found", "message": "no such event"}, "no such event"),
            ({"error": "not_found"}, "{'error': 'not_found'}"),
            ([{"loc": ["body", "value"], "msg": "is no number"}], "body.value: is no number"),
            ([], ""),
            (7, "7"),
            ("one\r\nERROR two", "one  ERROR two"),
        ],
    )
    @pytest.mark.parametrize("status", [400, 404, 413, 422, 451])
    def test_a_refusal_makes_a_dead_letter_with_its_reason(
        self, server: Server, start: Start, status: int, detail: object, reason: str
    ) -> None:
        """Faults: `detail` as text; `detail` as an object; `detail` as a list."""
        server.answer = answer(status, said(detail))
        sender = start(server.base_url)
        sender.track("evt_1")

        sender.run_out()

        assert (sender.pending, sender.reasons()) == (0, [f"{status}: {reason}"])

    @pytest.mark.parametrize(
        "body", [b'{"detail": null}', b"{}", b"[]", b"", b'{"error": "no"}', b'{"detail": "\xff"}']
    )
    @pytest.mark.parametrize("status", [400, 404, 413, 422])
    def test_without_a_word_of_xr2_nothing_is_refused(
        self, server: Server, start: Start, status: int, body: bytes
    ) -> None:
        """Faults: `detail` as null; `detail` absent."""
        server.answer = answer(status, body)

        assert outcome(start(server.base_url), server) == PAUSED


NOW = Clock().wall


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("said", "pause"),
        [
            ("0", 1.0),
            ("-1", 1.0),
            ("1", 1.0),
            ("20", 20.0),
            ("1.5", 1.5),
            ("1e9", 600.0),
            ("NaN", 60.0),
            ("inf", 60.0),
            ("", 60.0),
            ("soon", 60.0),
            ("1 2", 60.0),
            ("9" * 5000, 60.0),
            (formatdate(NOW - 3600, usegmt=True), 1.0),
            (formatdate(NOW + 30, usegmt=True), 30.0),
            (formatdate(NOW + DAY, usegmt=True), 600.0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 600.0),
            ("Fri, 31 Dec 99999 23:59:59 GMT", 60.0),
        ],
    )
    @pytest.mark.parametrize("place", ["header", "body"])
    def test_a_429_pauses_for_what_it_says_between_a_second_and_ten_minutes(
        self, server: Server, start: Start, place: str, said: str, pause: float
    ) -> None:
        """What servers say of when to come back.

        Faults: Retry-After 0; Retry-After -1; Retry-After 1e9; Retry-After NaN; Retry-After as an HTTP date, past;
        Retry-After as an HTTP date, future; Retry-After, garbage.
        """
        if place == "header":
            server.answer = answer(429, b'{"detail": "Too many requests"}', {"Retry-After": said})
        else:
            server.answer = answer(429, json.dumps({"detail": "Too many requests", "retry_after": said}).encode())
        sender = start(server.base_url)

        assert outcome(sender, server) == (1, 2, 0, pause)

    @pytest.mark.parametrize("said", [None, True, [], {}, [300], "x" * 60_000, -1, 0, 1e300, 10**400])
    def test_no_value_of_any_type_makes_the_pause_longer_than_ten_minutes(
        self, server: Server, start: Start, said: Any
    ) -> None:
        server.answer = answer(429, json.dumps({"detail": "Too many requests", "retry_after": said}).encode())

        requests, pending, dead, pause = outcome(start(server.base_url), server)

        assert (requests, pending, dead) == (1, 2, 0)
        assert pause is not None
        assert 1.0 <= pause <= 600.0

    def test_the_word_of_the_body_counts_before_that_of_the_header(self, server: Server, start: Start) -> None:
        server.answer = answer(429, b'{"detail": "no", "retry_after": 300}', {"Retry-After": "20"})

        assert outcome(start(server.base_url), server) == (1, 2, 0, 300.0)

    def test_the_whole_machine_pauses_and_so_do_its_prompt_fetches(self, server: Server, start: Start) -> None:
        server.answer = LIMITED
        first, second = start(server.base_url), start(server.base_url, api_key="another")
        second.track("evt_2")

        first.track("evt_1")
        first.run()

        assert (first.fetch(), second.fetch()) == (wire.Verdict.UNAVAILABLE, wire.Verdict.UNAVAILABLE)
        assert second.run() == 300.0
        assert len(server.requests) == 1

    def test_a_prompt_fetch_that_is_refused_for_the_rate_pauses_the_events_too(
        self, server: Server, start: Start
    ) -> None:
        server.answer = LIMITED
        sender = start(server.base_url)
        sender.track("evt_1")

        verdict = sender.fetch()

        assert verdict is wire.Verdict.RATE_LIMITED
        assert sender.run() == 300.0
        assert len(server.requests) == 1


NOON = timestamp("2027-01-15T12:00:00Z")


class TestQuota:
    @pytest.mark.parametrize(
        ("reset_time", "pause"),
        [
            ("2027-01-15T18:00:00Z", 6 * 3600.0),
            ("2027-01-15T18:00:00", 6 * 3600.0),
            ("2027-01-15T18:00:00+02:00", 4 * 3600.0),
            ("2027-01-15 18:00:00.25", 21600.25),
            ("2027-01-16", 12 * 3600.0),
            ("2027-01-15", 0.0),
            ("2020-01-01T00:00:00Z", 0.0),
        ],
    )
    def test_it_pauses_until_the_reset_time_and_up_to_two_minutes_longer(
        self, server: Server, start: Start, clock: Clock, reset_time: str, pause: float
    ) -> None:
        """Faults: reset_time as a date; reset_time, naive; reset_time in the past."""
        assert NOON is not None
        clock.wall = NOON
        server.answer = answer(429, said({"reset_time": reset_time, "max_requests_per_day": 100}))

        requests, pending, dead, wait = outcome(start(server.base_url), server)

        assert (requests, pending, dead) == (1, 2, 0)
        assert wait == pytest.approx(pause + 60.0, abs=1.0)

    @pytest.mark.parametrize("reset_time", ["9999-12-31T23:59:59Z", "3000-01-01", "2027-01-17T12:00:00Z"])
    def test_a_reset_beyond_a_day_is_waited_for_no_longer_than_26_hours(
        self, server: Server, start: Start, clock: Clock, reset_time: str
    ) -> None:
        """Fault: reset_time in the year 9999."""
        assert NOON is not None
        clock.wall = NOON
        server.answer = answer(429, said({"reset_time": reset_time}))

        assert outcome(start(server.base_url), server) == (1, 2, 0, 26 * 3600.0)

    @pytest.mark.parametrize("reset_time", ["soon", "", None, 7, [], "10000-01-01", "0000-00-00", "9" * 500])
    def test_one_that_cannot_be_read_is_asked_again_in_15_minutes_and_then_later(
        self, server: Server, start: Start, clock: Clock, reset_time: object
    ) -> None:
        server.answer = answer(429, said({"reset_time": reset_time}))
        sender = start(server.base_url)
        sender.track("evt_1")
        waits = []
        for _ in range(4):
            waits.append(sender.run_out())
            clock.advance(waits[-1] or 0.0)
        server.answer = TAKEN
        sender.run_out()

        assert waits == [900.0, 1800.0, 3600.0, 3600.0]
        assert sender.counts["delivered"] == 1

    def test_the_quota_of_prompt_fetches_holds_no_event_up(self, server: Server, start: Start) -> None:
        sender = start(server.base_url)
        sender.track("evt_1")
        server.answer = answer(429, said({"reset_time": "9999-12-31T23:59:59Z", "max_requests_per_day": 100}))

        verdict = sender.fetch()
        server.answer = TAKEN
        sender.run_out()

        assert verdict is wire.Verdict.QUOTA_USED_UP
        assert sender.counts["delivered"] == 1


class TestBackoff:
    def test_the_waits_of_an_event_double_up_to_five_minutes(self, server: Server, start: Start) -> None:
        clock = Clock(luck=1.0)
        server.answer = UNAVAILABLE
        sender = start(server.base_url, chance=clock.chance, outbox=spool_by(clock.chance))
        sender.track("evt_1")
        waits: list[float] = []
        while len(waits) < 12:
            requests, waited = len(server.requests), 0.0
            while len(server.requests) == requests:
                wait = sender.run() or 0.0
                clock.advance(wait)
                waited += wait
            waits.append(waited)

        assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]
        assert (sender.pending, sender.dead) == (1, 0)

    def test_without_luck_they_are_as_short_as_they_can_be(self, server: Server, start: Start) -> None:
        """Full jitter begins at nothing: so those who failed together do not come back together."""
        clock = Clock(luck=0.0)
        server.answer = UNAVAILABLE
        sender = start(server.base_url, chance=clock.chance, outbox=spool_by(clock.chance))
        sender.track("evt_1")

        waits = [sender.run() for _ in range(20)]

        assert waits == [0.0] * 20
        assert len(server.requests) == 20

    def test_a_server_in_trouble_is_asked_less_and_less_often_however_many_events_wait(
        self, server: Server, start: Start
    ) -> None:
        clock = Clock(luck=1.0)
        server.answer = UNAVAILABLE
        sender = start(server.base_url, chance=clock.chance, outbox=spool_by(clock.chance))
        sender.track(*(f"evt_{number}" for number in range(1000)))
        end = clock.now + 3600
        while clock.now < end:
            clock.advance(sender.run() or 0.0)

        assert len(server.requests) == FAILURES_TO_PAUSE + 9 + 10
        assert (sender.pending, sender.dead) == (1000, 0)


class Crowd:
    """A server that takes its time, and notes how many requests it has at once."""

    def __init__(self) -> None:
        self.is_up = False
        self.at_once: list[int] = []
        self._here = 0
        self._lock = threading.Lock()

    def serve(self, connection: Connection) -> None:
        while connection.read_request() is not None:
            with self._lock:
                self._here += 1
                self.at_once.append(self._here)
            connection.pause(0.005)
            with self._lock:
                self._here -= 1
            connection.send(TAKEN if self.is_up else UNAVAILABLE)


def test_after_an_outage_one_event_tries_and_the_others_follow_within_concurrency(make_runtime: RuntimeMaker) -> None:
    """Fault: recovery without a stampede."""
    crowd = Crowd()
    with ScriptedServer(crowd.serve) as server:
        runtime = make_runtime(base_url=server.base_url, concurrency=8, chance=Chance(random=lambda: 0.02))
        track(runtime, *(f"evt_{number}" for number in range(1000)))
        # Those that are under way when the outage shows, and two that came before them.
        first = 8 + FAILURES_TO_PAUSE - 1
        wait_until(lambda: len(crowd.at_once) >= first + 3)
        crowd.is_up = True
        flushed = runtime.flush(20)
        trials = runtime.counts["failed"] + 1

    assert (flushed.left, flushed.refused) == (0, 0)
    assert runtime.counts["delivered"] == 1000
    assert set(crowd.at_once[first:trials]) == {1}
    assert 1 < max(crowd.at_once[trials:]) <= 8


def test_a_storm_of_429_is_met_by_no_more_than_one_request_a_pause(server: Server, start: Start, clock: Clock) -> None:
    """Fault: a 429 storm."""
    server.answer = LIMITED
    sender = start(server.base_url)
    sender.track(*(f"evt_{number}" for number in range(100)))
    for _ in range(20):
        clock.advance(sender.run_out() or 0.0)
    during = len(server.requests)
    server.answer = TAKEN
    sender.run_out()

    assert during == 20
    assert (sender.counts["delivered"], sender.pending, sender.dead) == (100, 0, 0)


def test_threads_that_meet_a_429_stop_all_together(make_runtime: RuntimeMaker) -> None:
    """Fault: a 429 storm, over eight threads."""
    limited = answer(429, b'{"detail": "Too many requests", "retry_after": 1}')
    times: list[float] = []
    is_over = threading.Event()

    def serve(connection: Connection) -> None:
        while connection.read_request() is not None:
            times.append(time.monotonic())
            connection.send(TAKEN if is_over.is_set() else limited)

    with ScriptedServer(serve) as server:
        runtime = make_runtime(base_url=server.base_url, concurrency=8)
        track(runtime, *(f"evt_{number}" for number in range(200)))
        stopped = runtime.flush(0.5)
        is_over.set()
        flushed = runtime.flush(20)

    assert (stopped.left, flushed.left, flushed.refused) == (200, 0, 0)
    assert 1 <= sum(each < times[0] + 1.0 for each in times) <= 8


class Limiting:
    """xR2's own limit: who has asked a hundred times in a minute is refused for five."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: list[float] = []
        self._refused_until = 0.0
        self.arrived: dict[str, float] = {}

    def serve(self, connection: Connection) -> None:
        while (request := connection.read_request()) is not None:
            connection.send(self._answer(request))

    def _answer(self, request: Any) -> bytes:
        now = self._clock.now
        if now < self._refused_until:
            return LIMITED
        self._times = [each for each in self._times if each > now - 60] + [now]
        if len(self._times) > 100:
            self._refused_until = now + 300
            return LIMITED
        if request.line != EVENTS:
            return answer(200, b'{"slug": "welcome", "user_prompt": "Hello", "trace_id": "evt_0"}')
        for each in traces_of([request]):
            self.arrived[each] = now
        return TAKEN


def test_with_five_prompt_fetches_a_second_for_an_hour_every_event_is_still_delivered(
    start: Start, clock: Clock
) -> None:
    limiting = Limiting(clock)
    tracked: dict[str, float] = {}
    with ScriptedServer(limiting.serve) as server:
        sender = start(server.base_url, rate_limit="90/min", api_key=KEY)
        for second in range(3600):
            if second % 5 == 0:
                tracked[f"evt_{second}"] = clock.now
                sender.track(f"evt_{second}")
            for _ in range(5):
                sender.fetch()
            sender.run_out()
            clock.advance(1.0)
        waits = [limiting.arrived.get(each, clock.now) - made_at for each, made_at in tracked.items()]
        while (wait := sender.run_out()) is not None:
            clock.advance(wait)

    assert limiting.arrived.keys() == tracked.keys()
    assert max(waits) < 400
    assert (sender.counts["delivered"], sender.dead) == (len(tracked), 0)
