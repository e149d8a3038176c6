"""The wall clock is set while events wait: no pause gets longer or shorter, and no event is given up for it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from xr2_web.values import TRACE_LIFE

from ..scripted_server import Connection, ScriptedServer, answer, each_request
from .sending import TAKEN, YEAR, Clock, Sender, spool_by, traces_of

Start = Callable[..., Sender]


def said(detail: object) -> bytes:
    return json.dumps({"detail": detail}).encode()


PAUSES = {
    "after a 429": ([answer(429, b'{"detail": "no", "retry_after": 300}')], 300.0),
    "of the daily quota": ([answer(429, said({"reset_time": "2027-01-15T10:00:00Z"}))], 2 * 3600.0 + 60.0),
    "of a quota that says nothing": ([answer(429, said({"reset_time": "soon"}))], 900.0),
    "of a key that is not accepted": ([answer(401, said("Invalid API key"))], 60.0),
    "of a server in trouble": ([answer(503, b"")] * 3, 0.5),
    "of something else than xR2": ([answer(200, b"<html>")], 1.0),
}
JUMPS = {"a year forward": YEAR, "a year back": -YEAR, "an hour forward": 3600.0, "to the epoch": -1_800_000_000.0}
served = each_request(TAKEN)
KEY_OWNER = answer(200, b'{"ok": true, "user": "ada"}')


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS.keys())
@pytest.mark.parametrize(("answers", "pause"), PAUSES.values(), ids=PAUSES.keys())
def test_a_clock_that_is_set_in_the_middle_of_a_pause_changes_neither_it_nor_the_events(
    start: Start, clock: Clock, answers: list[bytes], pause: float, jump: float
) -> None:
    """Faults: a year forward; a year back; in the middle of a pause."""

    def serve(connection: Connection) -> None:
        while (request := connection.read_request()) is not None:
            healthy = TAKEN if request.line.startswith("POST") else KEY_OWNER
            connection.send(answers.pop(0) if answers else healthy)

    answers = list(answers)
    with ScriptedServer(serve) as server:
        sender = start(server.base_url, outbox=spool_by(clock.chance))
        sender.track("evt_1", "evt_2", "evt_3")
        before = sender.run_out()
        clock.advance(pause / 2)

        clock.wall += jump
        after = sender.run_out()
        clock.advance(pause / 2)
        clock.advance(sender.run_out() or 0.0)
        sender.run_out()

    assert (before, after) == (pause, pause / 2)
    assert (sender.counts["delivered"], sender.counts["expired"], sender.pending, sender.dead) == (3, 0, 0, 0)


class TestAge:
    @pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS.keys())
    def test_an_event_that_waits_while_the_clock_is_set_is_sent(self, start: Start, clock: Clock, jump: float) -> None:
        """Faults: a year forward; a year back."""
        with ScriptedServer(served) as server:
            sender = start(server.base_url)
            sender.track("evt_1")
            clock.wall += jump
            sender.track("evt_2")

            sender.run_out()

        assert sorted(traces_of(server.requests)) == ["evt_1", "evt_2"]
        assert "expired" not in sender.counts

    def test_an_event_is_sent_for_thirty_days_and_then_it_is_told_that_it_was_not(
        self, start: Start, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The time to live: xR2 keeps a trace for 30 days."""
        with ScriptedServer(served) as server:
            sender = start(server.base_url)
            sender.track("evt_1")
            clock.advance(TRACE_LIFE)
            sender.run_out()
            sender.track("evt_2", "evt_3")
            clock.advance(TRACE_LIFE + 1.0)
            sender.run_out()

        assert traces_of(server.requests) == ["evt_1"]
        assert sender.counts == {"delivered": 1, "expired": 2}
        assert (sender.pending, len(caplog.records)) == (0, 1)
        assert "could not be delivered in 30 days" in caplog.text

    def test_an_outage_of_a_month_less_a_day_loses_nothing(self, start: Start) -> None:
        clock = Clock(luck=1.0)
        is_up = False

        def serve(connection: Connection) -> None:
            while connection.read_request() is not None:
                connection.send(TAKEN if is_up else answer(503, b""))

        with ScriptedServer(serve) as server:
            sender = start(server.base_url, chance=clock.chance, outbox=spool_by(clock.chance))
            sender.track("evt_1", "evt_2", "evt_3")
            for _ in range(29 * 24):
                clock.advance(3600.0)
                sender.run()
            is_up = True
            clock.advance(3600.0)
            sender.run_out()

        assert (sender.counts["delivered"], sender.counts["expired"], sender.pending) == (3, 0, 0)
        assert sender.counts["failed"] == 29 * 24
