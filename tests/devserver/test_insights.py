"""What the page says of an event that was not attributed."""

from __future__ import annotations

import html
import re
import time

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


def test_an_id_that_is_none_of_xr2_is_told_from_one_of_another_server(visitor: Visitor) -> None:
    visitor.send("my-session")

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

    assert "fetched 34.5 days before" in insight(visitor)


def test_an_undefined_event_is_told_with_the_nearest_name_and_the_line_to_write(visitor: Visitor) -> None:
    visitor.define(EVENTS)
    visitor.send(visitor.trace_id(), "purchase_complete")

    said = insight(visitor)

    assert "nearest name is purchase_completed" in said
    assert "[purchase_complete]" in said


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


def test_any_other_refusal_is_told_in_the_words_of_the_server(visitor: Visitor) -> None:
    visitor.send(visitor.trace_id(), value="much")

    assert "xR2 did not take it: body.value" in insight(visitor)


def test_a_duplicate_says_why_it_does_not_count(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id)
    visitor.send(trace_id)

    assert "has a sign_up already" in insight(visitor)
