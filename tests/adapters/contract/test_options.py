"""The options of ``track``, for views and for the rules of EVENTS."""

from __future__ import annotations

import pytest


@pytest.fixture
def visit(open_site):
    """Open a site with these rules, and return a visitor who has fetched ``welcome`` and then ``product``."""

    def visit(events, **options):
        visitor = open_site(events=events, **options).visitor()
        visitor.traces = [visitor.get("/product/welcome").text, visitor.get("/product/product").text]
        return visitor

    return visit


def test_a_rule_takes_every_option_of_track(visit):
    visitor = visit(
        {
            "order": {
                "event": "ordered",
                "value": lambda call: int(call.kwargs["id"]) / 2,
                "currency": "EUR",
                "metadata": lambda call: {"status": call.result[0], "seen": call.request is not None},
                "prompt": "welcome",
                "user_id": lambda call: f"buyer-{call.kwargs['id']}",
                "session_id": "a session of the shop",
                "when": lambda call: call.result[0] == 202,
                "methods": ["PUT"],
                "after": "response",
            }
        }
    )

    for method, status in (("POST", 202), ("PUT", 200), ("PUT", 202)):
        visitor.request(method, "/orders/7", status=status)

    (ordered,) = visitor.site.events()
    assert {name: ordered[name] for name in ("event_name", "value", "currency", "user_id", "session_id")} == {
        "event_name": "ordered",
        "value": 3.5,
        "currency": "EUR",
        "user_id": "buyer-7",
        "session_id": "a session of the shop",
    }
    assert ordered["metadata"] == {"status": 202, "seen": True}
    assert ordered["trace_id"] == visitor.traces[0]


def test_a_rule_of_a_prompt_that_was_not_fetched_is_no_event(visit):
    visitor = visit({"order": {"event": "ordered", "prompt": "goodbye"}})

    answer = visitor.post("/orders/7")

    assert answer.status == 200
    assert visitor.site.events() == []
    assert visitor.site.runtime.counts["no_trace"] == 1


def test_an_event_of_a_prompt_that_was_not_fetched_is_none(visit):
    visitor = visit({})

    receipt = visitor.post("/event/paid", prompt="goodbye")

    assert receipt.text == "no_trace"
    assert visitor.site.events() == []


@pytest.mark.parametrize(("attribution", "place"), [("first", 0), ("last", 1)])
def test_a_rule_goes_by_the_attribution(visit, attribution, place):
    visitor = visit({"order": "ordered", "POST /orders/{id}": "paid"}, attribution=attribution)

    visitor.post("/orders/7")

    assert [event["trace_id"] for event in visitor.site.events()] == [visitor.traces[place]] * 2


@pytest.mark.parametrize(("attribution", "place"), [("first", 0), ("last", -1)])
def test_a_prompt_fetched_afresh_counts_like_any_other(open_site, attribution, place):
    site = open_site(attribution=attribution)
    visitor = site.visitor()

    fetched = visitor.get("/twice").text.split()
    visitor.post("/event/paid", prompt="welcome")

    assert [event["trace_id"] for event in site.events()] == [fetched[place]]


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (302, 1), (404, 0)])
def test_a_view_may_decide_by_its_result_and_wait_for_the_response(open_site, status, expected):
    site = open_site()
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.get("/buy-when-late", status=302)
    visitor.post("/buy-when-late", status=status)

    assert len(site.events()) == expected


def test_a_condition_that_raises_is_no_event_and_leaves_the_response(visit, caplog):
    visitor = visit({"order": {"event": "ordered", "when": lambda call: call.result.no_such_thing}})

    answer = visitor.post("/orders/7")

    assert (answer.status, answer.text) == (200, "order 7")
    assert visitor.site.events() == []
    assert "'ordered' is not reported: its when raised AttributeError" in caplog.text
