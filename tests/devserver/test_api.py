"""The endpoints, as the contract with the real server describes them."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from xr2_web.devserver import Library, Store

from .conftest import Visitor

DAY = 24 * 60 * 60
EVENTS = '[sign_up]\n[purchase_completed]\nrequired = ["order_id"]\noptional = ["plan"]\n'
TYPED = EVENTS + '[purchase_completed.types]\norder_id = "string"\ntotal = "number"\ngift = "boolean"\n'
AB_TEST = '---\nversion = {0}\nab_test = "tone"\n---\nText {0}'


@pytest.mark.parametrize(
    ("authorization", "status", "message"),
    [
        (None, 403, "Not authenticated"),
        ("Bearer", 401, "Invalid authentication credentials"),
        ("Basic eHIyX2Rldl8x", 401, "Invalid authentication credentials"),
        ("Bearer secret-key", 401, "begins with xr2_dev_"),
        ("Bearer xr2_prod_secret-key", 401, "production key"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "check-api-key"), ("POST", "get-prompt"), ("POST", "events")])
def test_only_a_local_key_is_let_in(
    visitor: Visitor, authorization: str | None, status: int, message: str, method: str, path: str
) -> None:
    del visitor.http.headers["Authorization"]
    headers = {"Authorization": authorization} if authorization else {}

    answer = visitor.http.request(method, f"/api/v1/{path}", headers=headers)

    assert answer.status_code == status
    assert message in answer.json()["detail"]
    assert "secret-key" not in answer.text


def test_any_local_key_belongs_to_the_local_user(visitor: Visitor) -> None:
    assert visitor.http.get("/api/v1/check-api-key").json() == {"ok": True, "user": "local"}


def test_a_prompt_comes_with_all_its_fields(visitor: Visitor) -> None:
    visitor.write(
        welcome='---\nversion = 4\nvariables = ["name"]\n[model_config]\nmodel = "m"\n---\n'
        "system:\nBe kind.\nuser:\nHi {{name}}"
    )

    content = visitor.fetch().json()

    times = [content.pop(name) for name in ("deployed_at", "created_at", "updated_at")]
    assert all(datetime.fromisoformat(each).tzinfo for each in times)
    assert re.fullmatch(r"evt_c0b137fe_1800000000_[0-9a-f]{8}", content.pop("trace_id"))
    assert content == {
        "slug": "welcome",
        "source_name": "tests",
        "version_number": 4,
        "status": "production",
        "system_prompt": "Be kind.",
        "user_prompt": "Hi {{name}}",
        "assistant_prompt": None,
        "variables": [{"name": "name"}],
        "model_config": {"model": "m"},
        "ab_test_id": None,
        "ab_test_name": None,
        "ab_test_variant": None,
    }


def test_every_fetch_has_a_fresh_trace(visitor: Visitor) -> None:
    assert len({visitor.trace_id() for _ in range(50)}) == 50


def test_without_a_filter_the_newest_production_version_is_served(visitor: Visitor) -> None:
    visitor.write(welcome__2="---\nversion = 2\n---\nHi", welcome__3='---\nversion = 3\nstatus = "draft"\n---\nHi')

    assert visitor.fetch().json()["version_number"] == 2


@pytest.mark.parametrize(
    ("filters", "version"),
    [
        ({"version_number": 1}, 1),
        ({"status": "draft"}, 3),
        ({"version_number": 2, "status": "production"}, 2),
        ({"version_number": None, "status": None}, 2),
        ({"version_number": 1.0}, 1),
    ],
)
def test_filters_choose_the_version(visitor: Visitor, filters: dict[str, Any], version: int) -> None:
    visitor.write(welcome__2="---\nversion = 2\n---\nHi", welcome__3='---\nversion = 3\nstatus = "draft"\n---\nHi')

    assert visitor.fetch(**filters).json()["version_number"] == version


@pytest.mark.parametrize(
    ("slug", "filters", "status", "error", "message"),
    [
        ("nope", {}, 404, "prompt_not_found", "Available slugs: draft, welcome"),
        ("welcome", {"version_number": 9}, 404, "version_not_found", "Available versions of welcome: 1 (production)"),
        ("welcome", {"status": "draft"}, 404, "status_not_found", "Available versions of welcome: 1 (production)"),
        ("draft", {}, 404, "no_deployed_version", "Available versions of draft: 1 (draft)"),
        ("welcome", {"status": "live"}, 400, "invalid_status", "draft, testing, production, inactive, deprecated"),
    ],
)
def test_a_version_that_is_not_there_is_refused_with_what_is(
    visitor: Visitor, slug: str, filters: dict[str, Any], status: int, error: str, message: str
) -> None:
    visitor.write(draft='---\nstatus = "draft"\n---\nHi')

    answer = visitor.fetch(slug, **filters)

    assert answer.status_code == status
    assert answer.json()["detail"]["error"] == error
    assert message in answer.json()["detail"]["message"]
    assert visitor.journal()["traces"] == []


def test_a_running_ab_test_serves_its_variants_in_turn(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(7), welcome__a=AB_TEST.format(3))

    served = [visitor.fetch().json() for _ in range(4)]

    chosen = [(each["version_number"], each["ab_test_name"], each["ab_test_variant"]) for each in served]
    assert chosen == [(3, "tone", "version_a"), (7, "tone", "version_b")] * 2
    assert len({each["ab_test_id"] for each in served}) == 1


def test_a_filter_bypasses_the_ab_test(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(2), welcome__a=AB_TEST.format(1))
    visitor.fetch()

    bypassed = visitor.fetch(version_number=2).json()

    assert (bypassed["version_number"], bypassed["ab_test_variant"]) == (2, None)
    assert visitor.fetch().json()["ab_test_variant"] == "version_b"


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ("{}", [["body", "slug"], ["body", "source_name"]]),
        ('{"slug": 1, "source_name": "t", "version_number": "x"}', [["body", "slug"], ["body", "version_number"]]),
        ('{"slug": "w", "source_name": "t", "version_number": 1.5}', [["body", "version_number"]]),
        ('{"slug": "welcome"', [["body"]]),
        ("[]", [["body"]]),
        ("", [["body"]]),
        ("[" * 100_000, [["body"]]),
    ],
)
def test_a_body_that_does_not_validate_is_a_422_with_every_problem(
    visitor: Visitor, body: str, places: list[list[str]]
) -> None:
    answer = visitor.http.post("/api/v1/get-prompt", content=body)

    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == places
    assert all(each["msg"] and each["type"] for each in answer.json()["detail"])


def test_an_event_is_taken_under_its_trace(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()

    answer = visitor.send(
        trace_id, user_id="u1", session_id="s1", value=20, currency="EUR", metadata={"plan": "pro", "items": [1]}
    )

    assert answer.status_code == 200
    taken = answer.json()
    [trace] = visitor.journal()["traces"]
    [event] = trace["events"]
    assert taken == {
        "status": "success",
        "event_id": event["event_id"],
        "trace_id": trace_id,
        "event_name": "sign_up",
        "timestamp": "2027-01-15T08:00:00+00:00",
        "is_duplicate": False,
    }
    assert (
        event.items()
        >= {
            "user_id": "u1",
            "session_id": "s1",
            "value": 20,
            "currency": "EUR",
            "metadata": {"plan": "pro", "items": [1]},
            "refused": None,
        }.items()
    )


def test_a_repeat_answers_with_the_first_event(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    first = visitor.send(trace_id, value=1).json()

    repeat = visitor.send(trace_id, value=2)

    assert repeat.status_code == 200
    assert (repeat.json()["event_id"], repeat.json()["is_duplicate"]) == (first["event_id"], True)
    [trace] = visitor.journal()["traces"]
    assert [each["is_duplicate"] for each in trace["events"]] == [False, True]


def test_another_name_or_another_trace_is_no_repeat(visitor: Visitor) -> None:
    one, other = visitor.trace_id(), visitor.trace_id()

    answers = [visitor.send(one), visitor.send(one, "upgraded"), visitor.send(other)]

    assert [each.json()["is_duplicate"] for each in answers] == [False] * 3


def test_an_event_without_a_known_trace_is_refused_and_recorded(visitor: Visitor) -> None:
    answer = visitor.send("evt_c0b137fe_1_00000000")

    assert answer.status_code == 404
    [refused] = visitor.journal()["refused"]
    assert (refused["event_name"], refused["refused"]) == ("sign_up", answer.json()["detail"]["message"])


def test_a_trace_takes_events_for_30_days(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()

    visitor.now += 30 * DAY
    on_the_last_day = visitor.send(trace_id)
    visitor.now += 1
    too_late = visitor.send(trace_id, "upgraded")

    assert on_the_last_day.status_code == 200
    assert (too_late.status_code, too_late.json()["detail"]["error"]) == (404, "trace_expired")


def test_without_definitions_any_event_is_taken_and_marked(visitor: Visitor) -> None:
    visitor.send(visitor.trace_id(), "whatever")

    [trace] = visitor.journal()["traces"]
    assert trace["events"][0]["is_undefined"]


def test_an_undefined_event_is_refused_with_what_is_defined(visitor: Visitor) -> None:
    visitor.define(EVENTS)

    answer = visitor.send(visitor.trace_id(), "purchase_complete")

    message = answer.json()["detail"]["message"]
    assert answer.status_code == 404
    assert "Did you mean 'purchase_completed'?" in message
    assert "Available events: sign_up, purchase_completed" in message
    assert "https://xr2.uk/analytics/events" in message
    [trace] = visitor.journal()["traces"]
    assert trace["events"][0]["refused"] == message


@pytest.mark.parametrize("metadata", [{}, {"plan": "pro"}, {"order_id": None}])
def test_a_missing_required_field_is_refused(visitor: Visitor, metadata: dict[str, object]) -> None:
    visitor.define(EVENTS)

    answer = visitor.send(visitor.trace_id(), "purchase_completed", metadata=metadata)

    assert answer.status_code == 400
    assert "order_id" in answer.json()["detail"]["message"]


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({"order_id": 17}, "order_id must be a string, not a number"),
        ({"order_id": "A-1", "total": "20"}, "total must be a number, not a string"),
        ({"order_id": "A-1", "total": True}, "total must be a number, not a boolean"),
        ({"order_id": "A-1", "total": [20]}, "total must be a number, not an array"),
        ({"order_id": "A-1", "gift": 1}, "gift must be a boolean, not a number"),
        ({"order_id": "A-1", "gift": 0}, "gift must be a boolean, not a number"),
        ({"order_id": {"id": 1}, "gift": "no"}, "order_id must be a string, not an object; gift must be a boolean"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_field_and_type(
    visitor: Visitor, metadata: dict[str, object], complaint: str
) -> None:
    visitor.define(TYPED)
    trace_id = visitor.trace_id()

    answer = visitor.send(trace_id, "purchase_completed", metadata=metadata)

    detail = answer.json()["detail"]
    assert (answer.status_code, detail["error"]) == (400, "invalid_field_types")
    assert complaint in detail["message"]
    [trace] = visitor.journal()["traces"]
    assert trace["events"][0]["refused"] == detail["message"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"order_id": "A-1"},
        {"order_id": "", "total": 20, "gift": False, "plan": ["whatever"], "unknown": {"any": 1}},
        {"order_id": "A-1", "total": 19.99, "gift": None},
    ],
)
def test_values_of_the_right_types_are_taken(visitor: Visitor, metadata: dict[str, object]) -> None:
    visitor.define(TYPED)

    assert visitor.send(visitor.trace_id(), "purchase_completed", metadata=metadata).status_code == 200


def test_what_is_missing_is_told_before_what_is_wrong(visitor: Visitor) -> None:
    visitor.define(TYPED)

    answer = visitor.send(visitor.trace_id(), "purchase_completed", metadata={"order_id": None, "total": "20"})

    assert (answer.status_code, answer.json()["detail"]["error"]) == (400, "missing_required_fields")


def test_a_type_that_is_none_is_a_problem_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "events.toml").write_text('[sign_up.types]\nplan = "text"\n')

    [problem] = Library(tmp_path).catalog().problems

    assert problem.startswith("events.toml: ")
    assert "text" in problem


def test_a_refused_event_can_be_sent_again_once_it_is_mended(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    trace_id = visitor.trace_id()
    visitor.send(trace_id, "purchase_completed")

    mended = visitor.send(trace_id, "purchase_completed", metadata={"order_id": "A-1"})

    assert (mended.status_code, mended.json()["is_duplicate"]) == (200, False)


def test_definitions_are_followed_as_they_change(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.define(EVENTS)
    before = visitor.send(trace_id, "upgraded")

    visitor.define(EVENTS + "[upgraded]\n")

    assert (before.status_code, visitor.send(trace_id, "upgraded").status_code) == (404, 200)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trace_id", "x" * 101),
        ("event_name", "x" * 101),
        ("event_name", None),
        ("user_id", "x" * 256),
        ("user_id", 17),
        ("session_id", "x" * 101),
        ("value", "20"),
        ("value", True),
        ("metadata", ["x"]),
    ],
)
def test_a_field_of_a_wrong_type_or_length_is_a_422_and_recorded(visitor: Visitor, field: str, value: Any) -> None:
    answer = visitor.send(**{"trace_id": visitor.trace_id(), field: value})

    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", field]]
    journal = visitor.journal()
    recorded = [*journal["refused"], *(event for trace in journal["traces"] for event in trace["events"])]
    assert [field in each["refused"] for each in recorded] == [True]


def test_values_as_long_as_the_columns_are_taken(visitor: Visitor) -> None:
    answer = visitor.send(visitor.trace_id(), "e" * 100, user_id="u" * 255, session_id="s" * 100)

    assert answer.status_code == 200


def test_a_body_without_json_is_recorded_as_an_event_without_a_name(visitor: Visitor) -> None:
    visitor.http.post("/api/v1/events", content="{")

    [refused] = visitor.journal()["refused"]
    assert (refused["event_name"], refused["trace_id"]) == (None, None)


@pytest.mark.parametrize("user_agent", ["", "curl/8.5", "python-requests/2.34", "SomeBot/1"])
def test_user_agents_of_robots_are_refused_on_demand_only(
    tmp_path: Path, store: Store, visitor: Visitor, user_agent: str
) -> None:
    strict = Visitor(tmp_path, store, strict_user_agent=True)
    headers = {"User-Agent": user_agent}

    assert strict.http.get("/api/v1/check-api-key", headers=headers).status_code == 403
    assert visitor.http.get("/api/v1/check-api-key", headers=headers).status_code == 200
    assert strict.http.get("/api/v1/check-api-key", headers={"User-Agent": "xr2-web/1"}).status_code == 200


def test_what_is_not_there_is_told_in_the_shape_of_the_server(visitor: Visitor) -> None:
    missing, wrong_method = visitor.http.get("/api/v2"), visitor.http.get("/api/v1/events")

    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})
    assert (wrong_method.status_code, wrong_method.json()) == (405, {"detail": "Method Not Allowed"})


def test_health_needs_no_key(visitor: Visitor) -> None:
    del visitor.http.headers["Authorization"]

    assert visitor.http.get("/health").json()["ok"] is True
