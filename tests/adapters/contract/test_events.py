"""When a view or a route makes an event, and what it reports."""

from __future__ import annotations

import pytest


@pytest.fixture
def visitor(site):
    """A visitor who has fetched ``welcome``."""
    visitor = site.visitor()
    visitor.get("/product/welcome")
    return visitor


def ordered(**options):
    return {"events": {"order": {"event": "ordered", **options}}}


def test_opening_a_form_and_failing_it_is_no_purchase(site, visitor):
    """Trap 29: exactly one event, with the value of the valid POST."""
    statuses = [
        visitor.get("/checkout").status,
        visitor.get("/checkout", price=10).status,
        visitor.post("/checkout").status,
        visitor.request("HEAD", "/checkout", price=15).status,
        visitor.post("/checkout", price=30).status,
    ]

    assert statuses == [200, 302, 200, 302, 302]
    assert [(event["event_name"], event["value"], event["currency"]) for event in site.events()] == [
        ("purchase_completed", 30.0, "EUR")
    ]


def test_a_skipped_get_is_told_once_by_name(site, visitor, caplog):
    visitor.get("/checkout", price=10)
    visitor.get("/checkout", price=10)

    told = [record.getMessage() for record in caplog.records if "get_skipped" in record.getMessage()]
    assert len(told) == 1
    assert "checkout" in told[0]
    assert "purchase_completed" in told[0]


def test_opening_a_page_is_an_event_where_methods_says_so(site, visitor):
    visitor.post("/thanks")
    visitor.get("/thanks")

    assert site.event_names() == ["thanked"]


def test_a_view_is_an_event_when_it_answers(site, visitor):
    answer = visitor.post("/buy")

    assert (answer.status, answer.text) == (200, "bought")
    assert [(event["event_name"], event["value"]) for event in site.events()] == [("purchase_completed", 12.5)]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_is_no_event(site, visitor, status):
    """Trap 29, for a form that is refused: `decide` looks at the status."""
    answer = visitor.post("/buy", status=status)

    assert answer.status == status
    assert site.events() == []


def test_a_field_that_raises_costs_the_event_and_nothing_else(site, visitor, caplog):
    """Trap 30: no event, one log line with its name, the result untouched."""
    answers = [visitor.post("/unpriced"), visitor.post("/unpriced")]

    assert [(answer.status, answer.text) for answer in answers] == [(200, "bought")] * 2
    assert site.events() == []
    told = [record.getMessage() for record in caplog.records if record.name == "xr2_web"]
    assert len(told) == 1
    assert "value" in told[0]
    assert "ZeroDivisionError" in told[0]
    assert "secret" not in caplog.text
    assert site.runtime.counts["invalid"] == 2


def test_a_view_that_raises_is_no_event_and_what_it_tracked_before_is_one(site, visitor):
    answer = visitor.post("/crash")

    assert answer.status == 500
    assert site.event_names() == ["attempted"]


def test_an_event_after_the_response_is_there_once_it_left(site, visitor):
    visitor.post("/buy-late")

    assert site.event_names() == ["purchase_completed"]


def test_an_event_after_the_response_is_none_where_the_response_is_an_error(site, visitor):
    visitor.post("/buy-late", status=400)

    assert site.events() == []


def test_an_event_after_the_response_is_none_where_the_view_raises(site, visitor):
    visitor.post("/crash-after-paying")

    assert site.events() == []


def test_a_plain_post_makes_the_event_of_its_route(open_site):
    """Trap 17: test clients, and some servers, never close a plain response."""
    site = open_site(**ordered())
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.get("/orders/7")
    visitor.post("/orders/7")

    assert site.event_names() == ["ordered"]


def test_a_route_event_knows_its_path_and_its_response(open_site):
    options = {
        "event": "ordered",
        "value": lambda call: int(call.kwargs["id"]),
        "metadata": lambda call: {"status": call.result[0], "type": call.result[1]["Content-Type"].split(";")[0]},
    }
    site = open_site(events={"POST /orders/{id}": options})
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.get("/orders/7")
    visitor.request("PUT", "/orders/7")
    visitor.post("/orders/7", status=201)
    visitor.post("/orders/7/items")

    assert [(event["event_name"], event["value"], event["metadata"]["status"]) for event in site.events()] == [
        ("ordered", 7.0, 201)
    ]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_route_that_answers_with_an_error_is_no_event(open_site, status):
    site = open_site(**ordered())
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.post("/orders/7", status=status)

    assert site.events() == []


def test_a_path_that_no_route_serves_is_no_event(open_site):
    site = open_site(events={"POST /nowhere": "seen", "GET /nowhere": "seen"})
    visitor = site.visitor()
    visitor.get("/product/welcome")

    statuses = [visitor.get("/nowhere").status, visitor.post("/nowhere").status]

    assert statuses == [404, 404]
    assert site.events() == []


def test_a_route_event_may_be_a_get_where_the_rule_says_so(open_site):
    site = open_site(events={"GET /orders/{id}": "order_seen", "plain": {"event": "seen", "methods": ["GET"]}})
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.get("/orders/7")
    visitor.get("/")

    assert site.event_names() == ["order_seen", "seen"]


def test_a_route_that_fetches_and_converts_in_one_request_credits_its_own_prompt(open_site):
    site = open_site(events={"product": "shown"})

    fetched = site.visitor().post("/product/welcome")

    assert [event["trace_id"] for event in site.events()] == [fetched.text]


def test_without_any_trace_nothing_is_sent_and_it_is_counted(site):
    later = site.visitor().post("/event/paid")

    assert later.text == "no_trace"
    assert site.events() == []
    assert site.runtime.counts["no_trace"] == 1


def test_a_second_event_of_the_same_name_and_trace_arrives_once(site, visitor):
    visitor.post("/buy")
    visitor.post("/buy")

    assert site.event_names() == ["purchase_completed"]
