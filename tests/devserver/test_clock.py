"""The time of the server, put ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from xr2_web.devserver import Store
from xr2_web.devserver.clock import Clock
from xr2_web.devserver.limits import Limits
from xr2_web.devserver.visits import VISITS_SHOWN

from ..dev_process import running
from .conftest import Visitor

CLOCK = "/api/local/clock"
DAY = 24 * 60 * 60


def ahead(visitor: Visitor, span: object) -> Any:
    """Put the clock ahead."""
    return visitor.http.post(CLOCK, json={"ahead": span})


def test_the_time_is_told(visitor: Visitor) -> None:
    assert visitor.http.get(CLOCK).json() == {"now": "2027-01-15T08:00:00+00:00", "ahead": 0}


@pytest.mark.parametrize(
    ("span", "seconds", "now"),
    [
        ("31d", 31 * DAY, "2027-02-15T08:00:00+00:00"),
        ("12h", DAY / 2, "2027-01-15T20:00:00+00:00"),
        ("1.5m", 90, "2027-01-15T08:01:30+00:00"),
        (60, 60, "2027-01-15T08:01:00+00:00"),
        (0, 0, "2027-01-15T08:00:00+00:00"),
        ("3650d", 3650 * DAY, "2037-01-12T08:00:00+00:00"),
    ],
)
def test_it_goes_forward_by_a_span(visitor: Visitor, span: object, seconds: float, now: str) -> None:
    answer = ahead(visitor, span)

    assert answer.status_code == 200
    assert answer.json() == visitor.http.get(CLOCK).json() == {"now": now, "ahead": seconds}


def test_each_step_goes_further_and_time_passes_meanwhile(visitor: Visitor) -> None:
    ahead(visitor, "1d")
    visitor.now += 60

    assert ahead(visitor, "1d").json() == {"now": "2027-01-17T08:01:00+00:00", "ahead": 2 * DAY}


@pytest.mark.parametrize(
    "body",
    [
        '{"ahead": -1}',
        '{"ahead": "-1d"}',
        '{"ahead": "soon"}',
        '{"ahead": "1w"}',
        '{"ahead": ""}',
        '{"ahead": null}',
        '{"ahead": true}',
        '{"ahead": 1e400}',
        '{"ahead": "3651d"}',
        '{"ahead": 1, "back": 2}',
        "{}",
        "[]",
        "31d",
    ],
)
def test_anything_else_is_a_422_and_changes_nothing(visitor: Visitor, body: str) -> None:
    ahead(visitor, "1h")

    answer = visitor.http.post(CLOCK, content=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["msg"]
    assert visitor.http.get(CLOCK).json()["ahead"] == 3600


def test_it_never_goes_back() -> None:
    clock = Clock(lambda: 100.0)
    clock.advance(50)

    with pytest.raises(ValueError, match="forward only"):
        clock.advance(-1)
    assert clock() == 150


def test_it_goes_ten_years_ahead_in_total(visitor: Visitor) -> None:
    ahead(visitor, "3649d")

    assert ahead(visitor, "2d").status_code == 422
    assert ahead(visitor, "1d").status_code == 200


def test_traces_expire_and_later_fetches_are_dated_by_it(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    ahead(visitor, "30d")
    on_the_last_day = visitor.send(trace_id)
    ahead(visitor, 1)

    too_late = visitor.send(trace_id, "upgraded")
    fresh = visitor.send(visitor.trace_id())

    assert (on_the_last_day.status_code, fresh.status_code) == (200, 200)
    assert (too_late.status_code, too_late.json()["detail"]["error"]) == (404, "trace_expired")
    assert fresh.json()["timestamp"] == "2027-02-14T08:00:01+00:00"
    assert [each["fetched_at"][:10] for each in visitor.journal()["traces"]] == ["2027-01-15", "2027-02-14"]


def test_what_comes_after_it_was_put_back_still_comes_first_on_the_page(visitor: Visitor) -> None:
    ahead(visitor, "1d")
    for _ in range(VISITS_SHOWN):
        visitor.send(visitor.trace_id())
    visitor.http.delete("/api/local/clock")

    fetched = visitor.trace_id()
    of_fetch = visitor.http.get("/").text
    visitor.send("evt_astray")
    of_event = visitor.http.get("/").text

    assert fetched in of_fetch
    assert 0 < of_event.index("evt_astray") < of_event.index(fetched)


def test_limits_follow_it(tmp_path: Path, store: Store) -> None:
    visitor = Visitor(tmp_path, store, limits=Limits(daily_quota=1, ip_limit=3))
    visitor.write(welcome="Hi")
    first = [visitor.fetch().status_code for _ in range(2)]

    ahead(visitor, "1d")
    next_day = [visitor.fetch() for _ in range(4)]
    ahead(visitor, "5m")
    after_the_pause = visitor.send("evt_unknown")

    assert first == [200, 429]
    assert [each.status_code for each in next_day] == [200, 429, 429, 429]
    assert next_day[1].json()["detail"]["reset_time"] == "2027-01-17T00:00:00+00:00"
    assert next_day[3].json()["retry_after"] == 300
    assert after_the_pause.status_code == 404


def test_a_quota_that_chaos_has_used_up_resets_by_it(visitor: Visitor) -> None:
    visitor.http.put("/api/local/chaos", json={"quota": 1})
    ahead(visitor, "1d")

    assert visitor.fetch().json()["detail"]["reset_time"] == "2027-01-17T00:00:00+00:00"


def test_back_in_the_real_time_traces_take_events_again(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    ahead(visitor, "31d")
    of_the_future = visitor.trace_id()

    reset = visitor.http.delete(CLOCK)

    assert reset.json() == {"now": "2027-01-15T08:00:00+00:00", "ahead": 0}
    assert [visitor.send(each).status_code for each in (trace_id, of_the_future)] == [200, 200]


def test_no_other_site_moves_it(visitor: Visitor) -> None:
    foreign = {"Origin": "https://evil.example"}

    answers = [
        visitor.http.post(CLOCK, json={"ahead": 1}, headers=foreign),
        visitor.http.delete(CLOCK, headers=foreign),
    ]

    assert [each.status_code for each in answers] == [403, 403]


def test_the_running_server_goes_with_it(tmp_path: Path) -> None:
    key = {"Authorization": "Bearer xr2_dev_1"}
    with (
        running(tmp_path, "--ephemeral") as server,
        httpx.Client(base_url=server.base_url, headers=key) as client,
    ):
        fetched = client.post("/api/v1/get-prompt", json={"slug": "welcome", "source_name": "tests"}).json()
        client.post(CLOCK, json={"ahead": "31d"})
        event = {"trace_id": fetched["trace_id"], "event_name": "sign_up", "source_name": "tests"}
        answer = client.post("/api/v1/events", json=event)

    assert (answer.status_code, answer.json()["detail"]["error"]) == (404, "trace_expired")
