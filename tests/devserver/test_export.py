"""Clearing, and taking everything along."""

from __future__ import annotations

import csv
import io

import pytest

from .conftest import Visitor


def rows(visitor: Visitor) -> list[dict[str, str]]:
    answer = visitor.http.get("/export.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="xr2-local.csv"'
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def test_everything_is_there_as_csv(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id, "paid", value=20, currency="EUR", metadata={"plan": "pro"}, session_id="s")
    visitor.send(trace_id, "paid", value=-2.5)
    visitor.send("evt_nobody", "lost")

    fetch, paid, again, lost = rows(visitor)

    assert (fetch["kind"], fetch["trace_id"], fetch["slug"], fetch["event_name"]) == ("fetch", trace_id, "welcome", "")
    assert fetch["source_name"] == "tests"
    assert (
        paid.items()
        >= {
            "kind": "event",
            "slug": "welcome",
            "version_number": "1",
            "fetched_at": "2027-01-15T08:00:00+00:00",
            "received_at": "2027-01-15T08:00:00+00:00",
            "event_name": "paid",
            "value": "20.0",
            "currency": "EUR",
            "metadata": '{"plan":"pro"}',
            "is_duplicate": "false",
            "refused": "",
        }.items()
    )
    assert (again["is_duplicate"], again["value"]) == ("true", "-2.5")
    assert lost["slug"] == ""
    assert lost["refused"].startswith("Trace not found")


def test_the_columns_are_those_that_others_may_rely_on(visitor: Visitor) -> None:
    visitor.write(welcome__b='---\nversion = 2\nab_test = "tone"\n---\nHi', welcome='---\nab_test = "tone"\n---\nHi')
    trace_id = visitor.trace_id()
    taken = visitor.send(trace_id, "paid", user_id="u", session_id="s").json()

    fetch, event = rows(visitor)

    assert list(fetch) == [
        *("kind", "slug", "version_number", "ab_test_name", "ab_test_variant", "fetched_at", "received_at"),
        *("trace_id", "event_name", "source_name", "user_id", "session_id", "value", "currency", "metadata"),
        *("event_id", "is_duplicate", "is_undefined", "refused"),
    ]
    assert [(row["ab_test_name"], row["ab_test_variant"]) for row in (fetch, event)] == [("tone", "version_a")] * 2
    assert [event[name] for name in ("trace_id", "source_name", "user_id", "session_id")] == [
        trace_id,
        "tests",
        "u",
        "s",
    ]
    assert (event["event_id"], event["is_undefined"], event["metadata"]) == (taken["event_id"], "true", "")


def test_an_event_worth_nothing_is_told_from_one_without_a_value(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id, "free", value=0)
    visitor.send(trace_id, "without")

    assert [row["value"] for row in rows(visitor)] == ["", "0.0", ""]


def test_lines_end_as_the_standard_says(visitor: Visitor) -> None:
    visitor.trace_id()

    content = visitor.http.get("/export.csv").content

    assert content.startswith(b"\xef\xbb\xbfkind,")
    assert content.count(b"\r\n") == content.count(b"\n") == 2


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\N{FULLWIDTH EQUALS SIGN}1",
        "\N{FULLWIDTH PLUS SIGN}1",
        "\N{FULLWIDTH HYPHEN-MINUS}1",
        "\N{FULLWIDTH COMMERCIAL AT}A1",
    ],
)
def test_no_text_is_a_formula_to_a_spreadsheet(visitor: Visitor, text: str) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id, text, user_id=text, session_id=text, currency=text)

    _, event = rows(visitor)

    assert [event[name] for name in ("event_name", "user_id", "session_id", "currency")] == [f"'{text}"] * 4


def test_text_that_is_no_formula_is_left_as_it_is(visitor: Visitor) -> None:
    text = 'a=1, "b"\nc - d'
    visitor.send(visitor.trace_id(), text)

    assert rows(visitor)[1]["event_name"] == text


def test_everything_is_there_as_json(visitor: Visitor) -> None:
    visitor.send(visitor.trace_id(), "paid", value=20)

    answer = visitor.http.get("/export.json")

    assert answer.json() == visitor.journal()
    assert answer.headers["Content-Disposition"] == 'attachment; filename="xr2-local.json"'


def test_the_json_has_these_fields(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.now += 1
    event_id = visitor.send(trace_id, "paid", value=20, currency="EUR", metadata={"plan": "pro"}).json()["event_id"]

    told = visitor.http.get("/export.json").json()

    event = {
        "received_at": "2027-01-15T08:00:01+00:00",
        "trace_id": trace_id,
        "event_name": "paid",
        "source_name": "tests",
        "user_id": None,
        "session_id": None,
        "value": 20.0,
        "currency": "EUR",
        "metadata": {"plan": "pro"},
        "event_id": event_id,
        "is_duplicate": False,
        "is_undefined": True,
        "refused": None,
    }
    trace = {
        "trace_id": trace_id,
        "slug": "welcome",
        "version_number": 1,
        "source_name": "tests",
        "fetched_at": "2027-01-15T08:00:00+00:00",
        "ab_test_name": None,
        "ab_test_variant": None,
    }
    assert told == {"traces": [{**trace, "events": [event]}], "refused": []}


def test_in_the_json_the_newest_comes_last(visitor: Visitor) -> None:
    trace_ids = [visitor.trace_id() for _ in range(2)]
    for name in ("first", "second"):
        visitor.send(trace_ids[0], name)
        visitor.send("evt_nobody", name)

    told = visitor.http.get("/export.json").json()

    assert [each["trace_id"] for each in told["traces"]] == trace_ids
    assert [[each["event_name"] for each in trace["events"]] for trace in told["traces"]] == [["first", "second"], []]
    assert [each["event_name"] for each in told["refused"]] == ["first", "second"]


def test_clearing_forgets_everything_and_shows_the_page(visitor: Visitor) -> None:
    visitor.send(visitor.trace_id())

    answer = visitor.http.post("/clear", headers={"Origin": "http://127.0.0.1:8765"})

    assert (answer.status_code, answer.url.path) == (200, "/")
    assert "Waiting for the first visitor" in answer.text
    assert visitor.journal() == {"traces": [], "refused": []}


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_other_page_can_clear(visitor: Visitor, headers: dict[str, str]) -> None:
    visitor.trace_id()

    answer = visitor.http.post("/clear", headers=headers)

    assert answer.status_code == 403
    assert len(visitor.journal()["traces"]) == 1


def test_a_link_cannot_clear(visitor: Visitor) -> None:
    visitor.trace_id()

    assert visitor.http.get("/clear").status_code == 405
    assert len(visitor.journal()["traces"]) == 1
