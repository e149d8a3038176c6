"""Traps 10 and 32: a page that neither fetches nor tracks is byte for byte the application's, and may be public."""

from __future__ import annotations

import pytest

REQUESTS = [("GET", "/"), ("HEAD", "/"), ("POST", "/orders/7"), ("GET", "/nowhere"), ("POST", "/orders/7?status=500")]


def answers(site, visitor=None):
    visitor = visitor or site.visitor()
    return [(answer.status, answer.headers, answer.text) for answer in (visitor.request(*each) for each in REQUESTS)]


@pytest.mark.parametrize("carry", ["cookie", "session", "header", "none"])
@pytest.mark.parametrize(
    "events", [{}, {"buy": "purchase_completed", "GET /elsewhere/{id}": "seen"}], ids=["", "rules"]
)
def test_idle_pages_are_byte_for_byte_the_applications(open_site, carry, events):
    plain = open_site(is_installed=False)
    expected = answers(plain)
    plain.close()

    found = answers(open_site(carry=carry, events=events))

    assert found == expected


@pytest.mark.parametrize("carry", ["cookie", "header"])
def test_idle_pages_stay_so_for_a_visitor_who_carries_traces(open_site, carry):
    plain = open_site(is_installed=False)
    expected = answers(plain)
    plain.close()
    site = open_site(carry=carry)
    visitor = site.visitor()
    fetched = visitor.get("/product/welcome")
    visitor.headers["X-Xr2-Carry"] = fetched.header("x-xr2-carry") or ""

    found = answers(site, visitor)

    assert found == expected


def test_an_event_without_a_trace_leaves_the_response_as_it_was(open_site):
    plain = open_site(is_installed=False)
    expected = plain.visitor().post("/buy")
    plain.close()

    found = open_site().visitor().post("/buy")

    assert (found.status, found.headers, found.text) == (expected.status, expected.headers, expected.text)
