"""Who may steer the local xR2: its own pages and programs, and no page of another site."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Visitor

CHAOS = "/api/local/chaos"
BREAK = {"503": 1}
OWN = "http://127.0.0.1:8765"


def steered(visitor: Visitor, **headers: str) -> tuple[int, Any]:
    """Try to break the server with these headers; return the status and what is in force then."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = visitor.http.put(CHAOS, json=BREAK, headers=named)
    return answer.status_code, visitor.http.get(CHAOS).json()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": OWN},
        {"Sec_Fetch_Site": "same-origin", "Origin": OWN},
        {"Sec_Fetch_Site": "none"},
        {"Host": "localhost:8765", "Origin": "http://localhost:8765"},
        {"Host": "LOCALHOST:8765", "Origin": "http://localhost:8765"},
        {"Host": "[::1]:8765", "Origin": "http://[::1]:8765"},
    ],
)
def test_own_pages_and_programs_steer_it(visitor: Visitor, headers: dict[str, str]) -> None:
    assert steered(visitor, **headers) == (200, {"503": 1})


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": OWN},
        {"Sec_Fetch_Site": "", "Origin": OWN},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:8765"},
        {"Origin": "http://127.0.0.1:8765.evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Host": "localhost", "Origin": "http://127.0.0.1"},
    ],
)
def test_pages_of_other_origins_do_not(visitor: Visitor, headers: dict[str, str]) -> None:
    status, faults = steered(visitor, **headers)

    assert (status, faults) == (403, {})


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", [CHAOS, "/", "/chaos", "/clock", "/api/local/", "/api/local/traces", "/whatever"])
def test_nothing_but_reading_is_taken_from_elsewhere(visitor: Visitor, method: str, path: str) -> None:
    answer = visitor.http.request(method, path, headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert "Cross-origin" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_link_from_elsewhere_opens_the_page(visitor: Visitor, method: str) -> None:
    answer = visitor.http.request(method, "/", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 200


def test_reading_changes_nothing(visitor: Visitor) -> None:
    visitor.http.put(CHAOS, json=BREAK)

    visitor.http.get(CHAOS, params={"503": "0"})
    visitor.http.head(CHAOS)

    assert visitor.http.get(CHAOS).json() == {"503": 1}


def test_the_endpoints_of_xr2_ask_for_a_key_whatever_the_origin(visitor: Visitor) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    trace_id = visitor.trace_id()
    event = {"trace_id": trace_id, "event_name": "sign_up", "source_name": "t"}

    with_key = visitor.http.post("/api/v1/events", json=event, headers=foreign)
    del visitor.http.headers["Authorization"]
    without = visitor.http.post("/api/v1/events", json=event, headers=foreign)

    assert (with_key.status_code, without.status_code) == (200, 403)
    assert without.json()["detail"] == "Not authenticated"


@pytest.mark.parametrize("path", ["//api/v1/../local/chaos", "/api/v1/../local/chaos", "/api/v1/%2e%2e/local/chaos"])
def test_no_spelling_of_a_path_leads_around_it(visitor: Visitor, path: str) -> None:
    visitor.http.request("PUT", path, json=BREAK, headers={"Sec-Fetch-Site": "cross-site"})

    assert visitor.http.get(CHAOS).json() == {}
