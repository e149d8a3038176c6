"""The courier without its threads: what it does with each answer, and when it comes back."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from xr2_web import pacing, wire
from xr2_web.courier import SEND_TIMEOUT, Courier
from xr2_web.delivery import DOUBTED_TRIES, Delivery
from xr2_web.outbox import Claim, Counts, Entry
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.values import TRACE_LIFE

DAY = 24 * 60 * 60

DELIVERED = {
    "status": "success",
    "event_id": "1",
    "trace_id": "evt_1",
    "event_name": "sign_up",
    "timestamp": "2026-01-01T00:00:00Z",
    "is_duplicate": False,
}


def answer(status: int, body: object = None, **headers: str) -> wire.Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


OK = answer(200, DELIVERED)
DUPLICATE = answer(200, {**DELIVERED, "is_duplicate": True})
REFUSED = answer(404, {"detail": {"message": "event not defined"}})
UNAVAILABLE = answer(503, {"detail": "busy"})
LOCKED_OUT = answer(401, {"detail": "Invalid API key"})
PORTAL = answer(200, b"<html>Sign in to the hotel</html>")
HIDDEN_REFUSAL = answer(500, {"detail": "Internal server error: 404: Event definition not found"})


class Unmanned(Courier):
    """Starts no thread, as where the interpreter exits already."""

    def _start_thread(self) -> None:
        pass


class World:
    """A courier with a scripted server and a clock that only moves when it is told to."""

    def __init__(self, *, limit: int | None = None) -> None:
        self.now = 1000.0
        self.wall = 1_800_000_000.0
        self.is_closed = False
        self.answers: list[wire.Answer | wire.Failure] = []
        self.sent: list[tuple[str, bytes | None]] = []
        self.counts: Counter[str] = Counter()
        self.pause = pacing.Pause()
        self.budget = pacing.Budget(limit)
        self.outbox = MemoryOutbox(1000, clock=lambda: self.now)
        self.start_anew()

    def start_anew(self) -> None:
        """Let another process deliver what waits."""
        chance = pacing.Chance(monotonic=lambda: self.now, wall=lambda: self.wall, random=lambda: 0.5)
        self.delivery = Delivery(
            self.outbox,
            lambda: self,
            pause=self.pause,
            budget=self.budget,
            count=lambda outcome: self.counts.update([outcome]),
            chance=chance,
        )
        self.chance = chance
        self.courier: Courier = Unmanned(self.outbox, self.delivery, concurrency=1, chance=chance)

    def send(self, request: wire.Request[Any], until: float) -> wire.Answer | wire.Failure:
        assert until <= self.now + SEND_TIMEOUT
        self.sent.append((request.path, request.body))
        return self.answers.pop(0)

    def close(self) -> None:
        self.is_closed = True

    def put(self, number: int = 1, event_name: str = "sign_up") -> None:
        self.outbox.put(Entry(f"evt_{number}", event_name, b"{%d}" % number, self.wall))
        self.courier.wake()

    def run(self, *answers: wire.Answer | wire.Failure) -> float | None:
        self.answers += answers
        return self.courier.run_once()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_to_do_means_wait_to_be_woken(world: World) -> None:
    assert world.run() is None


def test_a_delivered_event_is_gone(world: World) -> None:
    world.put()

    wait = world.run(OK)

    assert wait == 0.0
    assert world.sent == [("/api/v1/events", b"{1}")]
    assert world.outbox.counts() == (0, 0)
    assert world.counts == {"delivered": 1}


@pytest.mark.parametrize(
    "refusal",
    [REFUSED, answer(400, {"detail": "bad"}), answer(413, {"detail": "big"}), answer(422, {"detail": []})],
    ids=lambda refusal: str(refusal.status),
)
def test_a_refused_event_becomes_a_dead_letter(world: World, refusal: wire.Answer) -> None:
    world.put()

    wait = world.run(refusal)

    assert wait == 0.0
    assert world.outbox.counts() == (0, 1)
    assert world.counts == {"refused": 1}


def test_a_refusal_is_told_once_for_an_event_name(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        world.put(number)

    world.run(REFUSED)
    world.run(REFUSED)
    world.run(REFUSED)

    assert [record.getMessage() for record in caplog.records] == [
        "xr2_web.event_refused: 'sign_up': xR2 refuses it (404: event not defined)"
    ]


def test_each_event_name_that_is_refused_or_repeated_is_told_by_its_name(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(["sign_up", "paid"] * 2):
        world.put(number, name)

    for said in (REFUSED, REFUSED, DUPLICATE, DUPLICATE):
        world.run(said)

    assert [record.getMessage().split(": ")[:2] for record in caplog.records] == [
        ["xr2_web.event_refused", "'sign_up'"],
        ["xr2_web.event_refused", "'paid'"],
        ["xr2_web.event_duplicate", "'sign_up'"],
        ["xr2_web.event_duplicate", "'paid'"],
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_names_that_are_made_up_for_each_event_fill_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        world.put(number, f"event_{number}")
        world.run(REFUSED)
    told = len(caplog.records)
    for number in range(1000, 1010):
        world.put(number, f"event_{number}")
        world.run(REFUSED)

    assert (told, len(caplog.records)) == (1000, 1000)


@pytest.mark.parametrize(
    "trouble",
    [UNAVAILABLE, answer(500, b"oops"), answer(408), answer(409), wire.Failure("reset"), wire.Failure("late", True)],
)
def test_trouble_is_retried_with_jitter_and_growing_delay(world: World, trouble: wire.Answer | wire.Failure) -> None:
    world.put()

    delays = []
    for _ in range(4):
        world.run(trouble)
        due = world.outbox.next_due()
        assert due is not None
        delays.append(due)
        world.advance(due + 300.0)

    assert delays == [0.5, 1.0, 2.0, 4.0]
    assert world.outbox.counts() == (1, 0)


def test_an_event_that_fails_alone_does_not_hold_up_the_others(world: World) -> None:
    world.put(1)
    world.put(2)

    world.run(UNAVAILABLE)
    world.run(OK)

    assert [body for _, body in world.sent] == [b"{1}", b"{2}"]
    assert world.counts["delivered"] == 1


def test_a_server_that_fails_is_left_alone_after_three_failures(world: World) -> None:
    for number in range(10):
        world.put(number)

    for _ in range(3):
        world.run(UNAVAILABLE)
    wait = world.run()

    assert wait == 0.5
    assert len(world.sent) == 3


def test_an_outage_is_told_once_it_lasts_and_so_is_its_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put()

    def told(said: wire.Answer | wire.Failure, *, after: float) -> list[str]:
        caplog.clear()
        world.advance(after)
        world.run(said)
        return [record.getMessage().partition(":")[0] for record in caplog.records]

    # A short one is nobody's concern.
    assert told(UNAVAILABLE, after=0.0) == []
    assert told(OK, after=29.0) == []
    world.put()
    assert told(wire.Failure("connection refused"), after=60.0) == []
    assert told(wire.Failure("connection refused"), after=29.0) == []
    assert told(wire.Failure("connection refused"), after=2.0) == ["xr2_web.unreachable"]
    assert "(connection refused)" in caplog.text
    assert told(UNAVAILABLE, after=300.0) == []
    assert told(OK, after=300.0) == ["xr2_web.reachable"]
    world.put()
    assert told(OK, after=300.0) == []
    world.put()
    assert told(UNAVAILABLE, after=0.0) == []
    assert told(UNAVAILABLE, after=30.0) == ["xr2_web.unreachable"]
    assert world.counts["delivered"] == 3


def test_an_outage_and_its_end_are_warnings(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put()
    for said in (UNAVAILABLE, UNAVAILABLE, OK):
        world.run(said)
        world.advance(60.0)

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_server_that_only_hides_refusals_is_told_as_away(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put()

    world.run(HIDDEN_REFUSAL)
    world.advance(60.0)
    world.run(HIDDEN_REFUSAL)

    assert "xr2_web.unreachable" in caplog.text


@pytest.mark.parametrize("said", [REFUSED, LOCKED_OUT, answer(429, {"detail": "slow"}, retry_after="1")])
def test_a_server_that_says_anything_is_not_away(
    world: World, caplog: pytest.LogCaptureFixture, said: wire.Answer
) -> None:
    for number in range(3):
        world.put(number)
    world.run(UNAVAILABLE)
    world.run(said)
    caplog.clear()

    world.advance(3600.0)
    world.run(UNAVAILABLE)

    assert "unreachable" not in caplog.text


def test_who_is_not_xr2_does_not_end_an_outage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put()
    for after in (0.0, 60.0, 600.0, 600.0, 6000.0):
        world.advance(after)
        world.run(PORTAL if after == 600.0 else UNAVAILABLE)

    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told == ["xr2_web.unreachable", "xr2_web.event_misrouted"]


def test_who_is_not_xr2_is_told_once_with_the_setting_to_check(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for number, name in enumerate(["sign_up", "paid"]):
        world.put(number, name)
        world.advance(world.run(PORTAL) or 60.0)

    assert [record.getMessage() for record in caplog.records] == [
        "xr2_web.event_misrouted: HTTP 200, but not an answer of xR2: check BASE_URL"
    ]


@pytest.mark.parametrize(("said", "outcome"), [(REFUSED, "refused"), (OK, "delivered")])
def test_an_event_that_is_settled_shows_that_the_server_is_there(world: World, said: wire.Answer, outcome: str) -> None:
    for number in range(5):
        world.put(number)

    for each in (UNAVAILABLE, UNAVAILABLE, said, UNAVAILABLE, OK):
        world.run(each)

    assert [body for _, body in world.sent] == [b"{%d}" % number for number in range(5)]
    assert world.counts[outcome] >= 1


@pytest.mark.parametrize(
    "stranger",
    [
        PORTAL,
        answer(204, b""),
        answer(200, []),
        wire.Answer(200, {}, None),
        answer(302, b"", location="https://elsewhere"),
        answer(404, b"<h1>Not Found</h1>"),
        answer(404, {"detail": "Not Found"}),
        answer(407, b""),
    ],
    ids=lambda stranger: str(stranger.status),
)
def test_an_answer_that_is_not_of_xr2_deletes_nothing_and_pauses(world: World, stranger: wire.Answer) -> None:
    world.put(1)
    world.put(2)

    world.run(stranger)
    wait = world.run()

    assert wait is not None
    assert wait > 0
    assert len(world.sent) == 1
    assert world.outbox.counts() == (2, 0)


def test_a_hidden_refusal_is_tried_a_few_times_and_then_buried(world: World) -> None:
    world.put()

    for _ in range(DOUBTED_TRIES):
        world.run(HIDDEN_REFUSAL)
        world.advance(300.0)

    assert len(world.sent) == DOUBTED_TRIES
    assert world.outbox.counts() == (0, 1)


@pytest.mark.parametrize(("number", "event_name"), [(1, "paid"), (2, "sign_up")], ids=["its trace", "its name"])
def test_an_event_has_its_own_tries_of_a_hidden_refusal_whatever_it_shares(
    world: World, number: int, event_name: str
) -> None:
    world.put(1, "sign_up")
    for _ in range(DOUBTED_TRIES - 1):
        world.advance(300.0)
        world.run(HIDDEN_REFUSAL)
    world.advance(1.0)

    world.put(number, event_name)
    world.run(HIDDEN_REFUSAL)

    assert [body for _, body in world.sent] == [b"{1}"] * (DOUBTED_TRIES - 1) + [b"{%d}" % number]
    assert world.outbox.counts() == (2, 0)


@pytest.mark.parametrize("said", [OK, REFUSED], ids=["taken", "refused"])
def test_an_event_that_comes_again_has_all_its_tries_of_a_hidden_refusal(world: World, said: wire.Answer) -> None:
    world.put()
    for each in [HIDDEN_REFUSAL] * (DOUBTED_TRIES - 1) + [said]:
        world.run(each)
        world.advance(300.0)

    world.put()
    for _ in range(DOUBTED_TRIES - 1):
        world.run(HIDDEN_REFUSAL)
        world.advance(300.0)

    assert world.outbox.counts().pending == 1


class TestLockedOut:
    def test_a_key_that_is_not_accepted_loses_nothing(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.put()

        world.run(LOCKED_OUT)
        wait = world.run()

        assert wait == 60.0
        assert world.outbox.counts() == (1, 0)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "xR2 answers 401" in caplog.text

    def test_until_when_and_why_nothing_is_sent_can_be_asked(self, world: World) -> None:
        world.put()
        world.run(LOCKED_OUT)
        at_first = world.delivery.paused()

        world.advance(60.0)
        world.run(LOCKED_OUT)

        assert at_first == (world.wall, "xR2 does not accept API_KEY")
        assert world.delivery.paused() == (world.wall + 120.0, "xR2 does not accept API_KEY")

    def test_what_was_under_way_tells_no_second_time(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        claims = []
        for number in range(2):
            world.put(number)
            claims.append(world.delivery.take(world.now + 10.0))

        world.answers += [LOCKED_OUT] * 2
        for claim in claims:
            assert isinstance(claim, Claim)
            world.delivery.deliver(claim, world.now + 10.0)

        assert len(caplog.records) == 1
        assert world.outbox.counts() == (2, 0)

    def test_a_server_in_trouble_does_not_accept_the_key(self, world: World) -> None:
        world.put()
        world.run(LOCKED_OUT)
        world.advance(60.0)

        waits = []
        for said in (UNAVAILABLE, wire.Failure("reset"), PORTAL):
            waits.append(world.run(said))
            world.advance(waits[-1] or 0.0)

        assert waits == [120.0, 240.0, 480.0]
        assert [path for path, _ in world.sent].count("/api/v1/events") == 1

    def test_a_key_that_is_refused_again_much_later_is_probed_as_soon_as_the_first_time(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.put(1)
        world.put(2)
        accepted = answer(200, {"ok": True, "user": "ada"})

        waits = []
        for settled in (OK, OK):
            world.run(LOCKED_OUT)
            world.advance(60.0)
            waits.append(world.run(LOCKED_OUT))
            world.advance(waits[-1] or 0.0)
            world.run(accepted)
            world.run(settled)

        assert waits == [120.0, 120.0]
        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]

    def test_a_key_that_is_accepted_but_for_events_is_tried_less_and_less_often_and_told_once(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.put()
        accepted = answer(200, {"ok": True, "user": "ada"})

        waits = []
        for _ in range(8):
            world.run(LOCKED_OUT)
            waits.append(world.run() or 0.0)
            world.advance(waits[-1])
            world.run(accepted)
        world.run(OK)
        world.put(2)
        world.run(LOCKED_OUT)

        assert waits == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
        assert world.run() == 60.0

    def test_it_is_probed_seldom_and_goes_on_when_accepted(self, world: World) -> None:
        world.put()
        world.run(LOCKED_OUT)
        waits = []
        for _ in range(3):
            world.advance(world.run() or 0.0)
            waits.append(world.run(LOCKED_OUT))

        world.advance(waits[-1] or 0.0)
        accepted = world.run(answer(200, {"ok": True, "user": "ada"}))
        world.run(OK)

        assert waits == [120.0, 240.0, 480.0]
        assert accepted == 0.0
        assert [path for path, _ in world.sent].count("/api/v1/events") == 2
        assert world.counts["delivered"] == 1

    def test_probes_are_never_more_than_an_hour_apart_though_it_takes_months(self, world: World) -> None:
        world.put()
        world.run(LOCKED_OUT)

        for _ in range(24 * 60):
            world.advance(world.run() or 0.0)
            wait = world.run(LOCKED_OUT)

        assert wait == 3600.0


class TestRateLimit:
    @pytest.mark.parametrize(
        ("limited", "pause"),
        [
            (answer(429, {"detail": "Too many requests", "retry_after": 300}), 300.0),
            (answer(429, {"detail": "Too many requests"}, retry_after="20"), 20.0),
            (answer(429, {"detail": "Too many requests"}), 60.0),
            (answer(429, {"detail": "Too many requests"}, retry_after="0"), 1.0),
            (answer(429, {"detail": "Too many requests"}, retry_after="1e9"), 600.0),
            (answer(429, b"", retry_after="garbage"), 60.0),
        ],
    )
    def test_it_pauses_everything_for_as_long_as_the_server_said(
        self, world: World, limited: wire.Answer, pause: float
    ) -> None:
        world.put()

        world.run(limited)
        wait = world.run()

        assert wait == pause
        assert world.pause.left(world.now) == pause
        assert world.outbox.counts() == (1, 0)

    def test_a_used_up_quota_waits_for_its_reset_and_some_jitter(self, world: World) -> None:
        world.put()
        detail = {"reset_time": "2027-01-15T10:00:00Z", "current_usage": 100, "max_requests_per_day": 100}
        reset = pacing.timestamp(detail["reset_time"])
        assert reset is not None
        world.wall = reset - 3600

        world.run(answer(429, {"detail": detail}))
        wait = world.run()

        assert wait == 3600 + 60
        assert world.pause.left(world.now) == 0.0

    @pytest.mark.parametrize("reset_time", ["9999-12-31T00:00:00Z", "3000-01-01"])
    def test_a_reset_time_beyond_a_day_is_not_believed(self, world: World, reset_time: str) -> None:
        world.put()

        world.run(answer(429, {"detail": {"reset_time": reset_time}}))

        assert world.run() == 26 * 60 * 60

    def test_an_unreadable_reset_time_waits_longer_and_longer(self, world: World) -> None:
        world.put()
        waits = []
        for _ in range(4):
            world.run(answer(429, {"detail": {"reset_time": "soon"}}))
            waits.append(world.run())
            world.advance(waits[-1] or 0.0)

        assert waits == [900.0, 1800.0, 3600.0, 3600.0]

    def test_the_budget_holds_events_back_and_takes_nothing_when_idle(self) -> None:
        world = World(limit=2)
        for _ in range(5):
            world.run()
        for number in range(3):
            world.put(number)

        waits = [world.run(OK), world.run(OK), world.run()]

        assert waits == [0.0, 0.0, 60.0]
        assert world.outbox.counts().pending == 1


class TestDuplicates:
    def test_a_duplicate_on_the_first_attempt_is_told_once(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.put(1)
        world.put(2)

        world.run(DUPLICATE)
        world.run(DUPLICATE)

        assert world.counts["duplicate_at_server"] == 2
        assert len(caplog.records) == 1
        assert "keeps the first" in caplog.text

    def test_a_duplicate_after_a_retry_is_our_own_and_not_told(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.put()
        world.run(wire.Failure("reset"))
        world.advance(300.0)

        world.run(DUPLICATE)

        assert world.counts["delivered"] == 1
        assert not caplog.records


def test_an_event_older_than_its_trace_expires_unsent(world: World) -> None:
    world.put()
    world.advance(TRACE_LIFE + 1)

    wait = world.run()

    assert wait == 0.0
    assert world.sent == []
    assert world.counts == {"expired": 1}
    assert world.outbox.counts() == (0, 0)


def test_events_that_expire_are_told_once_whatever_their_names(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for number, name in enumerate(["sign_up", "paid"]):
        world.put(number, name)
    world.advance(TRACE_LIFE + 1)

    for _ in range(2):
        world.run()

    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith("xr2_web.event_expired: could not be delivered in 30 days")


def test_events_that_expire_take_nothing_of_the_budget() -> None:
    world = World(limit=1)
    world.put(1)
    world.put(2)
    world.advance(TRACE_LIFE + 1)
    world.put(3)

    waits = [world.run(), world.run(), world.run(OK)]

    assert waits == [0.0, 0.0, 0.0]
    assert world.counts == {"expired": 2, "delivered": 1}


def test_what_others_left_is_sent_once_though_the_clock_was_wrong_at_the_start(world: World) -> None:
    world.put()
    world.wall += 31 * DAY

    world.start_anew()
    world.run(OK)

    assert world.counts == {"delivered": 1}


@pytest.mark.parametrize("trouble", [UNAVAILABLE, PORTAL, HIDDEN_REFUSAL])
def test_what_others_left_expires_once_it_was_tried(world: World, trouble: wire.Answer) -> None:
    world.put()
    world.advance(TRACE_LIFE + 1)

    world.start_anew()
    world.run(trouble)

    assert len(world.sent) == 1
    assert world.counts == {"failed": 1, "expired": 1}
    assert world.outbox.counts() == (0, 0)


def test_a_clock_set_back_loses_nothing(world: World) -> None:
    world.put()
    world.wall -= 365 * DAY

    world.run(OK)

    assert world.counts == {"delivered": 1}


def test_stopping_delivers_what_is_due_in_the_calling_thread(world: World) -> None:
    world.put(1)
    world.put(2)
    world.answers += [OK, OK]

    left = world.courier.stop(2.0)

    assert left == 0
    assert len(world.sent) == 2


def test_stopping_closes_the_connections(world: World) -> None:
    world.put()
    world.answers.append(OK)

    world.courier.stop(2.0)

    assert world.is_closed


def test_stopping_leaves_the_connections_to_a_thread_that_is_still_sending(world: World) -> None:
    is_sending, may_end = threading.Event(), threading.Event()

    def send(request: wire.Request[Any], until: float) -> wire.Answer:
        is_sending.set()
        may_end.wait(10)
        return OK

    world.send = send  # type: ignore[method-assign]
    world.courier = Courier(world.outbox, world.delivery, concurrency=1, chance=world.chance)
    world.put()
    assert is_sending.wait(10)

    world.courier.stop(0.0)

    assert not world.is_closed
    may_end.set()


def test_stopping_does_not_wait_for_what_is_not_due(world: World) -> None:
    world.put()
    world.run(UNAVAILABLE)

    left = world.courier.stop(2.0)

    assert left == 1
    assert len(world.sent) == 1


def test_stopping_never_sends_beyond_its_timeout() -> None:
    world = World()
    deadlines: list[float] = []
    send: Callable[..., Any] = world.send
    world.send = lambda request, until: deadlines.append(until) or send(request, until)  # type: ignore[method-assign]
    world.put()
    world.answers.append(OK)

    world.courier.stop(2.0)

    assert deadlines == [world.now + 2.0]


def test_no_metadata_and_no_trace_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.outbox.put(Entry("evt_secret", "sign_up", b'{"metadata":{"mail":"ada@example.com"}}', world.wall))

    world.run(REFUSED)

    assert "ada@example.com" not in caplog.text
    assert "evt_secret" not in caplog.text


def test_only_doubtful_answers_count_as_tries_of_a_doubtful_refusal(world: World) -> None:
    world.put()

    for _ in range(5):
        world.run(UNAVAILABLE)
        world.advance(400.0)
    for _ in range(DOUBTED_TRIES - 1):
        world.run(HIDDEN_REFUSAL)
        world.advance(400.0)
    before = world.outbox.counts()
    world.run(HIDDEN_REFUSAL)

    assert before == (1, 0)
    assert world.outbox.counts() == (0, 1)


@pytest.mark.parametrize("said", [answer(429, {"detail": "Too many requests"}, retry_after="5"), LOCKED_OUT])
def test_an_answer_that_says_nothing_of_the_event_is_no_attempt(world: World, said: wire.Answer) -> None:
    world.put()
    world.run(said)
    world.advance(100.0)

    claim = world.outbox.claim()

    assert claim is not None
    assert claim.attempts == 0


def test_an_event_whose_thread_is_ended_from_outside_is_sent_by_the_next(world: World) -> None:
    send = world.send

    def end(request: wire.Request[Any], until: float) -> wire.Answer:
        raise SystemExit

    world.put()
    world.send = end  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        world.run()
    world.send = send  # type: ignore[method-assign]

    world.run(OK)

    assert world.counts == {"delivered": 1}


def test_a_flush_ends_when_the_last_event_leaves_without_a_word(world: World) -> None:
    """It may expire, or a command may forget it: nobody tells."""
    world.put()
    claim = world.outbox.claim()
    assert claim is not None
    courier = Courier(world.outbox, world.delivery, concurrency=1, chance=pacing.Chance())
    done = threading.Timer(0.2, world.outbox.done, [claim])
    done.start()

    began = time.monotonic()
    flushed = courier.flush(30.0)
    took = time.monotonic() - began

    done.join()
    courier.stop(0)
    assert flushed.left == 0
    assert took < 10


def test_an_outbox_that_fails_at_the_end_keeps_nothing_open(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryOutbox):
        def next_due(self) -> float | None:
            raise OSError("disk")

    delivery = Delivery(
        Failing(10),
        lambda: world,
        pause=world.pause,
        budget=world.budget,
        count=lambda outcome: None,
        chance=pacing.Chance(),
    )
    assert delivery._transport is world
    courier = Unmanned(Failing(10), delivery, concurrency=1, chance=pacing.Chance())
    courier.wake()

    courier.stop(1.0)

    assert world.is_closed
    assert "xr2_web.courier_failed" in caplog.text


def test_who_has_put_nothing_asks_nothing_of_the_outbox_at_the_end(world: World) -> None:
    class Hanging(MemoryOutbox):
        def next_due(self) -> float | None:
            raise AssertionError

        def counts(self) -> Counts:
            raise AssertionError

    courier = Courier(Hanging(10), world.delivery, concurrency=1, chance=world.chance)

    assert courier.stop(1.0) == 0
