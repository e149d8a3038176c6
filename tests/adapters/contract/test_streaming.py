"""Streamed bodies see the scope; a route that streams is an event once its body has left as a whole."""

from __future__ import annotations

import pytest

# Django says so where the kind of a body does not fit its server.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")


def test_a_streamed_body_sees_the_scope(site):
    """Trap 2."""
    answer = site.visitor().get("/stream")

    first, second, third = answer.text.split(" ")
    assert first == second == third != "None"
    assert [(event["event_name"], event["trace_id"]) for event in site.events()] == [("chapter_read", first)]


def test_a_streamed_body_sees_what_the_visitor_carries(site):
    visitor = site.visitor()
    fetched = visitor.get("/product/welcome")

    answer = visitor.get("/tracked-stream")

    assert set(answer.text.split()) == {fetched.text}


@pytest.mark.parametrize("carry", ["cookie", "session"])
def test_a_streamed_body_knows_the_user_and_the_session(open_site, carry):
    site = open_site(has_users=True, carry=carry)
    visitor = site.visitor()
    user = visitor.post("/login/ada")
    visitor.get("/product/welcome")

    visitor.get("/tracked-stream")

    assert [event["user_id"] for event in site.events()] == [user.text, user.text]


def test_a_tracked_generator_is_an_event_when_it_is_exhausted(site):
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.get("/tracked-stream")

    assert site.event_names() == ["chapter_read", "book_read"]


def test_a_tracked_generator_that_is_abandoned_is_no_event(site):
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.abandon("/tracked-stream")

    assert "book_read" not in site.event_names()


def test_a_route_that_streams_is_an_event_when_the_body_has_left(open_site):
    site = open_site(events={"stream": "streamed"})

    site.visitor().post("/stream")

    assert site.event_names() == ["chapter_read", "streamed"]


def test_a_route_whose_body_is_abandoned_is_no_event(open_site):
    """Traps 5 and 17: streamed and closed early."""
    site = open_site(events={"stream": "streamed"})

    site.visitor().abandon("/stream")

    assert "streamed" not in site.event_names()


def test_a_prompt_fetched_while_streaming_serves_its_request_and_is_not_carried(site, caplog):
    """Trap 7."""
    visitor = site.visitor()

    answers = [visitor.get("/late"), visitor.get("/late")]

    assert not answers[0].cookies
    assert {event["trace_id"] for event in site.events()} == {answer.text.split()[1] for answer in answers}
    assert visitor.post("/event/paid").text == "no_trace"
    assert caplog.text.count("prompt_not_carried") == 1


def test_a_streamed_page_without_prompts_is_byte_for_byte_the_applications(open_site):
    plain = open_site(is_installed=False)
    expected = plain.visitor().get("/tracked-stream")
    plain.close()

    found = open_site().visitor().get("/tracked-stream")

    assert (found.status, found.headers) == (expected.status, expected.headers)
