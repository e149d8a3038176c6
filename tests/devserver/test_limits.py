"""The daily quota of a key, and the requests a minute of an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from xr2_web.devserver import Store
from xr2_web.devserver.limits import ADDRESSES_KEPT, IpLimit, Limits

from ..dev_process import running
from .conftest import Visitor

DAY = 24 * 60 * 60


@pytest.fixture
def limited(tmp_path: Path, store: Store) -> Any:
    """Make a visitor of a server with limits; its clock stands at 08:00 UTC until it is moved."""

    def make(**limits: int) -> Visitor:
        visitor = Visitor(tmp_path, store, limits=Limits(**limits))
        visitor.write(welcome="Hi")
        return visitor

    return make


def statuses(visitor: Visitor, count: int) -> list[int]:
    return [visitor.fetch().status_code for _ in range(count)]


def test_nothing_is_limited_unless_asked_for(visitor: Visitor) -> None:
    assert set(statuses(visitor, 150)) == {200}


@pytest.mark.parametrize("limit", ["daily_quota", "ip_limit"])
def test_a_limit_of_zero_lets_nothing_pass(limited: Any, limit: str) -> None:
    assert statuses(limited(**{limit: 0}), 1) == [429]


def test_a_used_up_quota_is_told_as_xr2_does(limited: Any) -> None:
    visitor = limited(daily_quota=2)
    served = statuses(visitor, 2)

    refused = visitor.fetch()

    assert served == [200, 200]
    assert refused.status_code == 429
    assert "Retry-After" not in refused.headers
    detail = refused.json()["detail"]
    assert {name: detail[name] for name in detail if name not in ("error", "message")} == {
        "current_usage": 2,
        "max_requests_per_day": 2,
        "reset_time": "2027-01-16T00:00:00+00:00",
    }
    assert "Daily limit of 2" in detail["message"]
    assert len(visitor.journal()["traces"]) == 2


def test_the_quota_resets_at_midnight_utc(limited: Any) -> None:
    visitor = limited(daily_quota=1)
    before = statuses(visitor, 2)

    visitor.now += 16 * 60 * 60 - 1
    a_second_before = statuses(visitor, 1)
    visitor.now += 1
    at_midnight = statuses(visitor, 2)

    assert (before, a_second_before, at_midnight) == ([200, 429], [429], [200, 429])


def test_each_key_has_a_quota_of_its_own(limited: Any) -> None:
    visitor = limited(daily_quota=1)
    first = statuses(visitor, 2)

    visitor.http.headers["Authorization"] = "Bearer xr2_dev_2"

    assert (first, statuses(visitor, 2)) == ([200, 429], [200, 429])


def test_a_key_is_the_same_however_the_header_is_spelt(limited: Any) -> None:
    visitor = limited(daily_quota=1)
    visitor.fetch()

    visitor.http.headers["Authorization"] = "bearer   xr2_dev_1"

    assert statuses(visitor, 1) == [429]


def test_events_and_refused_fetches_cost_nothing(limited: Any) -> None:
    visitor = limited(daily_quota=2)
    trace_id = visitor.trace_id()

    missing, invalid = visitor.fetch("nope"), visitor.fetch(version_number="x")
    visitor.fetch()
    over, event = visitor.fetch(), visitor.send(trace_id)

    assert [missing.status_code, invalid.status_code] == [404, 422]
    assert (over.status_code, event.status_code) == (429, 200)


def test_an_address_that_asks_too_often_is_refused_for_300_seconds(limited: Any) -> None:
    visitor = limited(ip_limit=3)

    answers = [visitor.fetch() for _ in range(4)]
    visitor.now += 299.9
    still = visitor.fetch()
    visitor.now += 0.1
    after = statuses(visitor, 4)

    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    for refused in (answers[-1], still):
        assert refused.json() == {"detail": "Too many requests", "retry_after": 300}
        assert refused.headers["Retry-After"] == "300"
    assert after == [200, 200, 200, 429]


def test_requests_are_counted_within_any_minute(limited: Any) -> None:
    visitor = limited(ip_limit=2)

    seen = []
    for pause in (0, 59, 1, 58, 1):
        visitor.now += pause
        seen.append(visitor.fetch().status_code)

    assert seen == [200, 200, 200, 429, 429]


def test_every_request_to_xr2_counts_and_no_other(limited: Any) -> None:
    visitor = limited(ip_limit=2)
    for path in ("/", "/health", "/api/local/traces"):
        assert visitor.http.get(path).status_code == 200
    visitor.http.headers["Authorization"] = "Bearer refused"

    first, second = visitor.http.get("/api/v1/check-api-key"), visitor.http.get("/api/v1/nothing")
    third = visitor.http.get("/api/v1/check-api-key")

    assert [first.status_code, second.status_code, third.status_code] == [401, 404, 429]
    assert visitor.http.get("/api/local/traces").status_code == 200


def test_each_address_is_counted_on_its_own(limited: Any) -> None:
    visitor = limited(ip_limit=1)
    statuses(visitor, 2)

    async def from_elsewhere(scope: Any, receive: Any, send: Any) -> None:
        await visitor.http.app({**scope, "client": ("127.0.0.9", 1)}, receive, send)

    other = TestClient(from_elsewhere, base_url="http://127.0.0.1:8765")

    assert visitor.fetch().status_code == 429
    assert other.get("/api/v1/nothing").status_code == 404


def test_callers_without_an_address_are_counted_together(limited: Any) -> None:
    visitor = limited(ip_limit=1)

    async def through_a_socket_file(scope: Any, receive: Any, send: Any) -> None:
        await visitor.http.app({**scope, "client": None}, receive, send)

    local = TestClient(through_a_socket_file, base_url="http://127.0.0.1:8765")

    assert [local.get("/api/v1/nothing").status_code for _ in range(2)] == [404, 429]


def test_the_start_and_the_end_of_the_server_are_no_requests(limited: Any) -> None:
    visitor = limited(ip_limit=1)

    with visitor.http:
        assert statuses(visitor, 2) == [200, 429]


def test_a_clock_that_is_put_back_refuses_nobody_for_longer(limited: Any) -> None:
    visitor = limited(daily_quota=1, ip_limit=1)
    visitor.now += 31 * DAY
    ahead = statuses(visitor, 2)

    visitor.now -= 31 * DAY

    assert (ahead, statuses(visitor, 1)) == ([200, 429], [200])


def test_requests_of_a_future_that_was_taken_back_do_not_count(limited: Any) -> None:
    visitor = limited(ip_limit=1)
    visitor.now += 31 * DAY
    visitor.fetch()

    visitor.now -= 31 * DAY

    assert statuses(visitor, 2) == [200, 429]


def test_those_of_a_future_less_than_a_minute_away_do_not_count_either() -> None:
    limit = IpLimit(3)

    assert [limit.admits("a", now=now) for now in (0.0, 30.0, 30.0, 1.0, 2.0, 3.0)] == [True] * 5 + [False]


def test_a_bounded_number_of_addresses_is_kept() -> None:
    limit = IpLimit(1)
    for number in range(ADDRESSES_KEPT):
        limit.admits(str(number), now=0)

    known = limit.admits(str(ADDRESSES_KEPT - 1), now=0)
    limit.admits("one more", now=0)

    assert not known
    assert not limit.admits("1", now=0)
    assert limit.admits("0", now=0)


def test_under_the_command_a_proxy_speaks_for_its_clients(tmp_path: Path) -> None:
    with (
        running(tmp_path, "--ephemeral", "--ip-limit", "1") as server,
        httpx.Client(base_url=server.base_url) as client,
    ):
        addresses = ["10.0.0.1", "10.0.0.1", "10.0.0.2"]
        answers = [client.get("/api/v1/check-api-key", headers={"X-Forwarded-For": each}) for each in addresses]

    assert [each.status_code for each in answers] == [403, 429, 403]


def test_the_command_takes_limits(tmp_path: Path) -> None:
    body = {"slug": "welcome", "source_name": "tests"}
    with (
        running(tmp_path, "--ephemeral", "--daily-quota", "1", "--ip-limit", "3") as server,
        httpx.Client(base_url=server.base_url, headers={"Authorization": "Bearer xr2_dev_1"}) as client,
    ):
        answers = [client.post("/api/v1/get-prompt", json=body) for _ in range(4)]
        _, _, err = server.end()

    assert "It limits prompt fetches to 1 a day for each key and requests to 3 a minute from each address" in err
    assert [each.status_code for each in answers] == [200, 429, 429, 429]
    assert [("max_requests_per_day" in each.text, "retry_after" in each.text) for each in answers[1:]] == [
        (True, False),
        (True, False),
        (False, True),
    ]
