"""What the page says of an event that was not attributed."""

from __future__ import annotations

import html
import re
import time
import tomllib

import pytest

from .conftest import NOW, Visitor

DAY = 24 * 60 * 60
EVENTS = '[sign_up]\n[purchase_completed]\nrequired = ["order_id"]\n'


def insight(visitor: Visitor) -> str:
    """Return the text of the only insight on the page."""
    [found] = re.findall(r'<details class="insight".*?</details>', visitor.http.get("/").text, re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", found)).split())


def test_an_event_that_counts_needs_no_words(visitor: Visitor) -> None:
    visitor.send(visitor.trace_id())

    assert "insight" not in visitor.http.get("/").text


def test_without_a_trace_it_says_where_one_comes_from(visitor: Visitor) -> None:
    visitor.http.post("/api/v1/events", json={"event_name": "sign_up", "source_name": "tests"})

    said = insight(visitor)

    assert "came without a trace_id" in said
    assert "client.track_event(trace_id=response.data.trace_id" in said


def test_without_a_name_it_says_what_is_missing(visitor: Visitor) -> None:
    visitor.http.post("/api/v1/events", json={"trace_id": visitor.trace_id(), "source_name": 7})

    assert "came without event_name and source_name" in insight(visitor)


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ({"event_name": "sign_up"}, "source_name"),
        ({"source_name": "tests"}, "event_name"),
        ({"event_name": None, "source_name": "tests"}, "event_name"),
        ({"event_name": "", "source_name": 7}, "event_name and source_name"),
    ],
)
def test_what_alone_is_missing_is_named_alone(visitor: Visitor, body: dict[str, object], missing: str) -> None:
    visitor.http.post("/api/v1/events", json={"trace_id": visitor.trace_id(), **body})

    assert f"came without {missing}, which xR2 requires" in insight(visitor)


def test_where_everything_is_missing_the_trace_comes_first(visitor: Visitor) -> None:
    visitor.http.post("/api/v1/events", json={})

    assert "came without a trace_id" in insight(visitor)


@pytest.mark.parametrize(
    "trace_id",
    [
        "my-session",
        "c0b137fe",
        "evt_c0b137fe_1790000000",
        "evt_c0b137fe_1790000000_0000000",
        "evt_c0b137fe_1790000000_00000000x",
        "xevt_c0b137fe_1790000000_00000000",
        "evt_c0b137fe0_1790000000_00000000",
        "evt_c0b137fe__00000000",
        "evt_c0b137fe_999999999999_00000000",
    ],
)
def test_an_id_that_is_none_of_xr2_is_told_from_one_of_another_server(visitor: Visitor, trace_id: str) -> None:
    visitor.send(trace_id)

    assert "no trace id as xR2 makes them" in insight(visitor)


@pytest.mark.parametrize(("part", "prompt"), [("c0b137fe", "the prompt welcome"), ("00000000", "not in the folder")])
def test_an_unknown_trace_tells_of_which_prompt_it_was_and_when(visitor: Visitor, part: str, prompt: str) -> None:
    visitor.send(f"evt_{part}_1790000000_00000000")

    said = insight(visitor)

    assert prompt in said
    assert time.strftime("%d %b %Y %H:%M", time.localtime(1_790_000_000)) in said
    assert "XR2_BASE_URL" in said


def test_an_expired_trace_tells_its_age(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.now = NOW + 30 * DAY
    visitor.send(trace_id)
    assert "insight" not in visitor.http.get("/").text
    visitor.now = NOW + 34.5 * DAY
    visitor.send(trace_id, "upgraded")

    said = insight(visitor)

    assert "fetched 34.5 days before, on " + time.strftime("%d %b %Y %H:%M", time.localtime(NOW)) in said
    assert "takes events for 30 days" in said


def test_at_the_end_of_the_last_day_a_trace_is_not_what_was_wrong(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    trace_id = visitor.trace_id()
    visitor.now = NOW + 30 * DAY
    visitor.send(trace_id, "upgraded")

    assert "No event upgraded is defined" in insight(visitor)


def test_a_second_later_it_is(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    trace_id = visitor.trace_id()
    visitor.now = NOW + 30 * DAY + 1
    visitor.send(trace_id, "upgraded")

    assert "fetched 30.0 days before" in insight(visitor)


@pytest.mark.parametrize("name", ["purchase_complete", "purchase-completed", "purchased"])
def test_an_undefined_event_is_told_with_the_nearest_name_and_the_line_to_write(visitor: Visitor, name: str) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), name)

    said = insight(visitor)

    assert "nearest name is purchase_completed" in said
    assert "Send purchase_completed, or define it in events.toml here, and for production at https://" in said
    assert f"[{name}]" in said


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Sign-Up_2", "[Sign-Up_2]"),
        ("shop.paid", '["shop.paid"]'),
        ("paid now", '["paid now"]'),
        ("\\", r'["\\"]'),
        ("\n", r'["\n"]'),
    ],
)
def test_the_line_to_write_defines_the_event(visitor: Visitor, name: str, line: str) -> None:
    visitor.define(EVENTS)
    trace_id = visitor.trace_id()
    visitor.send(trace_id, name)
    assert f"To do: Define it in events.toml here, and for production at https://xr2.uk/analytics/events: {line}" in (
        insight(visitor)
    )

    visitor.define(EVENTS + line)

    assert visitor.send(trace_id, name).status_code == 200


def test_where_no_event_has_to_be_defined_any_more_the_server_is_quoted(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), "upgraded")
    (visitor.folder / "events.toml").unlink()

    assert "xR2 did not take it: Event 'upgraded' is not defined." in insight(visitor)


def test_a_value_that_is_none_is_not_taken_for_metadata_that_lacks(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), "purchase_completed", value="much", metadata={"order_id": 1})

    said = insight(visitor)

    assert "xR2 did not take it: body.value: Expected" in said
    assert "metadata" not in said


def test_the_line_to_write_is_toml_whatever_the_name(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), "pa\x7fid")

    [code] = re.findall(r"<pre.*?>(.*?)</pre>", visitor.http.get("/").text, re.DOTALL)

    assert tomllib.loads(html.unescape(code)) == {"pa\x7fid": {}}


def test_a_name_like_no_other_is_quoted_where_toml_needs_it(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), 'käufe "neu"')

    said = insight(visitor)

    assert "nor one with a name like it" in said
    assert r'["käufe \"neu\""]' in said


def test_an_event_that_is_defined_by_now_is_to_be_sent_again(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), "upgraded")
    visitor.define(EVENTS + "[upgraded]")

    assert "was not defined when it came; it is now" in insight(visitor)


def test_missing_metadata_is_told_with_the_call_that_has_it(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), "purchase_completed")

    assert 'track_event("purchase_completed", metadata={"order_id": …})' in insight(visitor)


def test_all_that_is_missing_is_told_and_nothing_else(visitor: Visitor) -> None:
    visitor.define('["käufe"]\nrequired = ["id", "stück \\"x\\"", "null", "zero"]\noptional = ["plan"]\n')
    visitor.send(visitor.trace_id(), "käufe", metadata={"null": None, "zero": 0})

    said = insight(visitor)

    assert 'defined with metadata that did not come: id, stück "x", null.' in said
    assert r'track_event("käufe", metadata={"id": …, "stück \"x\"": …, "null": …})' in said


def test_metadata_of_a_wrong_type_is_told_in_the_words_of_the_server(visitor: Visitor) -> None:
    visitor.define('[paid]\nrequired = ["order_id"]\n[paid.types]\norder_id = "string"\n')
    visitor.send(visitor.trace_id(), "paid", metadata={"order_id": 7})

    assert "xR2 did not take it: Wrong types of metadata fields: order_id must be a string" in insight(visitor)


def test_any_other_refusal_is_told_in_the_words_of_the_server(visitor: Visitor) -> None:
    visitor.send(visitor.trace_id(), value="much")

    assert "xR2 did not take it: body.value" in insight(visitor)


def test_a_duplicate_says_why_it_does_not_count(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id)
    visitor.send(trace_id)

    said = insight(visitor)

    assert said.startswith("Why it does not count This trace has the event sign_up already.")
    assert said.endswith("a new fetch of the prompt, or another event name.")
