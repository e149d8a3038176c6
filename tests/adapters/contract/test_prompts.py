"""Fetching prompts in views."""

from __future__ import annotations


def test_a_second_fetch_in_one_request_returns_the_same_prompt_and_a_fresh_one_another(site):
    first, second, fresh = site.visitor().get("/twice").text.split()

    assert first == second != fresh


def test_a_fallback_has_no_trace_and_nothing_is_credited_to_it(site):
    visitor = site.visitor()

    shown = visitor.get("/fallback/unknown")
    later = visitor.post("/event/paid")

    assert shown.text == "True None Greet Ada."
    assert later.text == "no_trace"
    assert not shown.cookies
    assert site.events() == []


def test_a_fallback_leaves_the_page_as_it_was(site):
    shown = site.visitor().get("/fallback/unknown")

    assert shown.header("vary") is None
    assert shown.header("cache-control") is None


def test_an_unreachable_xr2_leaves_the_page_working(open_site):
    site = open_site(base_url="http://127.0.0.1:9")

    shown = site.visitor().get("/fallback/welcome")

    assert (shown.status, shown.text) == (200, "True None Greet Ada.")


def test_one_visitor_never_gets_the_trace_of_another(site):
    traces = {site.visitor().get("/product/welcome").text for _ in range(5)}

    assert len(traces) == 5
