"""Traces follow the visitor to later requests, in each of the ways of CARRY."""

from __future__ import annotations

import time

import pytest

from xr2_web.carry import Seal
from xr2_web.models import Trace

from ..site import HEADER, KEY

DAY = 24 * 60 * 60
COOKIE = "xr2_carry"


def test_a_prompt_fetched_in_a_view_is_carried_to_the_next_request(site):
    """Trap 1: what a view in a thread or a child task has fetched reaches the response all the same."""
    visitor = site.visitor()

    fetched = visitor.get("/product/welcome")
    receipt = visitor.post("/event/purchase_completed")

    assert receipt.text == "accepted"
    assert [event["trace_id"] for event in site.events()] == [fetched.text]


def test_prompts_fetched_in_two_requests_are_both_carried(site):
    """Trap 9."""
    visitor = site.visitor()

    welcome = visitor.get("/product/welcome")
    product = visitor.get("/product/product")
    visitor.post("/event/signed_up", prompt="welcome")
    visitor.post("/event/ordered", prompt="product")
    visitor.post("/event/paid")

    assert {event["event_name"]: event["trace_id"] for event in site.events()} == {
        "signed_up": welcome.text,
        "ordered": product.text,
        "paid": product.text,
    }


def test_prompts_fetched_in_two_requests_are_both_carried_in_the_session(open_site):
    """Trap 9, with a session middleware that would lose a nested change."""
    site = open_site(carry="session")
    visitor = site.visitor()

    welcome = visitor.get("/product/welcome")
    product = visitor.get("/product/product")
    visitor.post("/event/signed_up", prompt="welcome")
    visitor.post("/event/ordered", prompt="product")

    assert {event["event_name"]: event["trace_id"] for event in site.events()} == {
        "signed_up": welcome.text,
        "ordered": product.text,
    }
    assert COOKIE not in visitor.jar


@pytest.mark.parametrize("carry", ["cookie", "session", "header"])
def test_what_was_fetched_is_carried_across_a_login(open_site, carry):
    """A login gives the framework's session another key."""
    site = open_site(carry=carry, has_users=True)
    visitor = site.visitor()

    fetched = visitor.get("/product/welcome")
    visitor.post("/event/tried")
    user = visitor.post("/login/ada")
    visitor.post("/event/paid")

    events = site.events()
    assert [(event["event_name"], event["user_id"]) for event in events] == [
        ("tried", None),
        ("logged_in", user.text),
        ("paid", user.text),
    ]
    assert {event["trace_id"] for event in events} == {fetched.text}
    assert len({event["session_id"] for event in events}) == 1


def test_a_header_carries_for_clients_without_cookies(open_site):
    site = open_site(carry="header")
    visitor = site.visitor()

    fetched = visitor.get("/product/welcome")
    visitor.post("/event/paid")

    assert [event["trace_id"] for event in site.events()] == [fetched.text]
    assert HEADER in fetched.header("vary").lower()
    assert fetched.header("cache-control") == "private"
    assert not fetched.cookies


def test_nothing_is_carried_where_carry_is_none(open_site):
    site = open_site(carry="none")
    visitor = site.visitor()

    fetched = visitor.get("/product/welcome")
    later = visitor.post("/event/paid")

    assert later.text == "no_trace"
    assert not fetched.cookies
    assert fetched.header("vary") is None
    assert fetched.header("cache-control") is None


def test_the_cookie_is_for_the_server_alone_and_not_sent_across_sites(site):
    answer = site.visitor().get("/product/welcome")

    cookie = answer.cookies[COOKIE]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert cookie["max-age"] == str(7 * 24 * 60 * 60)
    assert not cookie["secure"]
    assert not cookie["domain"]


def test_the_cookie_set_on_https_is_sent_on_https_only(site):
    answer = site.visitor(is_secure=True).get("/product/welcome")

    assert answer.cookies[COOKIE]["secure"]


def test_the_cookie_bears_the_name_and_age_that_were_set(open_site):
    site = open_site(carry_name="shop_prompts", carry_max_age=3600)

    answer = site.visitor().get("/product/welcome")

    assert answer.cookies["shop_prompts"]["max-age"] == "3600"


@pytest.mark.parametrize("carry", ["cookie", "session", "header"])
def test_the_token_is_given_out_only_when_it_changed(open_site, carry):
    site = open_site(carry=carry)
    visitor = site.visitor()
    visitor.get("/product/welcome")

    for later in (visitor.post("/event/paid"), visitor.get("/whoami")):
        assert COOKIE not in later.cookies
        assert later.header(HEADER) is None
        assert later.header("cache-control") is None
        assert HEADER not in (later.header("vary") or "").lower()


def test_a_response_without_a_new_cookie_does_not_vary(site):
    visitor = site.visitor()
    visitor.get("/product/welcome")

    tracked = visitor.post("/event/paid")
    looked = visitor.get("/whoami")

    assert (tracked.cookies, looked.cookies) == ({}, {})
    assert tracked.header("vary") is None


@pytest.mark.parametrize(
    ("carry", "carrier"), [("cookie", "cookie"), ("session", "cookie"), ("header", HEADER)], ids=["c", "session", "h"]
)
def test_a_cached_page_that_carries_a_token_becomes_private(open_site, carry, carrier):
    """Trap 32: a shared cache must never hand one visitor's token to another."""
    answer = open_site(carry=carry).visitor().get("/cached/welcome")

    directives = [each.strip() for each in answer.header("cache-control").split(",")]
    assert sorted(directives) == ["max-age=60", "private"]
    assert {each.strip().lower() for each in answer.header("vary").split(",")} == {"accept-encoding", carrier}


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_carries_too(site, status):
    visitor = site.visitor()

    answer = visitor.post(f"/status/{status}")
    later = visitor.post("/event/paid")

    assert (answer.status, answer.text) == (status, "")
    assert COOKIE in answer.cookies
    assert (answer.header("cache-control"), answer.header("vary")) == ("private", "Cookie")
    assert later.text == "accepted"
    assert site.event_names() == ["answered", "paid"]


def test_the_answer_to_a_head_request_carries_what_it_fetched(site):
    visitor = site.visitor()

    answer = visitor.request("HEAD", "/product/welcome")
    visitor.post("/event/paid")

    assert answer.text == ""
    assert COOKIE in answer.cookies
    assert site.event_names() == ["paid"]


def test_a_failed_response_carries_nothing(site):
    answer = site.visitor().get("/crash")

    assert answer.status == 500
    assert not answer.cookies
    assert answer.header("vary") is None


@pytest.mark.parametrize("token", ["garbage", "WyJhIiwxXQ.aaaa.bbbb", "x" * 100_000], ids=["word", "form", "long"])
def test_a_bad_token_is_ignored_and_counted(site, token):
    visitor = site.visitor()
    visitor.jar[COOKIE] = token

    later = visitor.post("/event/paid")
    fetched = visitor.get("/product/welcome")
    visitor.post("/event/paid")

    assert (later.status, later.text) == (200, "no_trace")
    assert [event["trace_id"] for event in site.events()] == [fetched.text]
    assert site.runtime.counts["bad_token"] == 2


def test_a_tampered_token_is_ignored_and_counted(site):
    visitor = site.visitor()
    visitor.get("/product/welcome")
    visitor.jar[COOKIE] = tampered(visitor.jar[COOKIE])

    later = visitor.post("/event/paid")

    assert later.text == "no_trace"
    assert site.runtime.counts["bad_token"] == 1


def test_a_tampered_header_is_ignored_and_counted(open_site):
    site = open_site(carry="header")
    visitor = site.visitor()
    visitor.get("/product/welcome")
    visitor.headers[HEADER] = tampered(visitor.headers[HEADER])

    later = visitor.post("/event/paid")
    fetched = visitor.get("/product/welcome")
    visitor.post("/event/paid")

    assert later.text == "no_trace"
    assert site.runtime.counts["bad_token"] == 2
    assert [event["trace_id"] for event in site.events()] == [fetched.text]


def tampered(token):
    payload, rest = token.split(".", 1)
    return f"{payload[:-4]}AAAA.{rest}"


@pytest.mark.parametrize("carry", ["cookie", "session", "header"])
def test_a_token_of_another_signing_key_is_ignored_and_a_new_one_begun(open_site, carry):
    """The framework's session still stands, where that carries; what is in it is not of this key."""
    before = open_site(carry=carry, secret_key="the old signing key of this site")
    visitor = before.visitor()
    visitor.get("/product/welcome")
    before.close()
    after = visitor.site = open_site(carry=carry, secret_key="the new signing key of this site")

    later = visitor.post("/event/paid")
    fetched = visitor.get("/product/welcome")
    visitor.post("/event/paid")

    assert later.text == "no_trace"
    assert after.runtime.counts["bad_token"] == 2
    assert [event["trace_id"] for event in after.events()] == [fetched.text]


@pytest.mark.parametrize(("days", "text"), [(6, "accepted"), (8, "no_trace")])
def test_a_token_is_taken_for_seven_days(open_site, days, text):
    site = open_site(secret_key=KEY)
    visitor = site.visitor()
    then = time.time() - days * DAY
    trace = Trace("welcome", site.visitor().get("/product/welcome").text, 1, int(then))
    seal = Seal([KEY.encode()], max_age=7 * DAY, clock=lambda: then)
    visitor.jar[COOKIE] = seal.write("a session", None, [trace])

    later = visitor.post("/event/paid")

    assert later.text == text
    assert site.runtime.counts.get("bad_token", 0) == (0 if text == "accepted" else 1)


def test_a_token_of_another_site_is_ignored_and_counted(open_site):
    theirs = open_site(secret_key="theirs and nobody else's")
    visitor = theirs.visitor()
    visitor.get("/product/welcome")
    theirs.close()
    ours = open_site(secret_key="ours and nobody else's")
    visitor.site = ours

    later = visitor.post("/event/paid")

    assert later.text == "no_trace"
    assert ours.runtime.counts["bad_token"] == 1


@pytest.mark.parametrize("carry", ["cookie", "session", "header"])
def test_a_token_signed_before_the_key_was_changed_is_taken(open_site, carry):
    before = open_site(carry=carry, keys=["the old secret key of this site"])
    visitor = before.visitor()
    fetched = visitor.get("/product/welcome")
    before.close()
    after = open_site(carry=carry, keys=["the new secret key of this site", "the old secret key of this site"])
    visitor.site = after

    visitor.post("/event/paid")
    visitor.get("/product/product")
    after.close()
    rotated = open_site(carry=carry, keys=["the new secret key of this site"])
    visitor.site = rotated
    visitor.post("/event/signed_up", prompt="welcome")

    assert [event["trace_id"] for event in rotated.events()] == [fetched.text, fetched.text]


def test_a_token_signed_with_a_key_that_is_gone_is_ignored(open_site):
    before = open_site(keys=["the old secret key of this site"])
    visitor = before.visitor()
    visitor.get("/product/welcome")
    before.close()
    after = open_site(keys=["the new secret key of this site"])
    visitor.site = after

    later = visitor.post("/event/paid")

    assert later.text == "no_trace"


def test_two_requests_on_one_thread_share_nothing(site):
    """Trap 23."""
    site.visitor().get("/product/welcome")

    other = site.visitor()

    assert other.get("/whoami").text == "None None"
    assert other.post("/event/paid").text == "no_trace"
    assert site.events() == []


def test_a_request_after_a_crash_shares_nothing_with_it(site):
    """Trap 23, where the view raised."""
    site.visitor().post("/crash")

    assert site.visitor().get("/whoami").text == "None None"


def test_one_session_id_accompanies_all_events_of_a_visitor(site):
    first, second = site.visitor(), site.visitor()

    for visitor in (first, second):
        visitor.get("/product/welcome")
        visitor.post("/event/signed_up")
        visitor.get("/product/product")
        visitor.post("/event/paid")

    sessions = [event["session_id"] for event in site.events()]
    assert None not in sessions
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3]


def test_the_first_trace_counts_where_attribution_says_so(open_site):
    site = open_site(attribution="first")
    visitor = site.visitor()

    first = visitor.get("/product/welcome")
    visitor.get("/product/product")
    visitor.post("/event/paid")

    assert [event["trace_id"] for event in site.events()] == [first.text]


@pytest.mark.parametrize("carry", ["cookie", "header"])
def test_of_two_responses_at_the_same_time_the_later_token_wins(open_site, carry):
    """Trap 26: the trace of the other tab is not carried on, and no event is credited to a prompt of that tab.

    What is lost is known: `Exchange._token` signs what the request carried and what it fetched, and no more.
    """
    site = open_site(carry=carry)
    visitor = site.visitor()
    before = visitor.get("/product/welcome")
    first_tab, second_tab = (visitor.in_another_tab() for _ in range(2))

    lost = first_tab.get("/product/product")
    kept = second_tab.get("/twice").text.split()[-1]
    visitor.take_from(first_tab)
    visitor.take_from(second_tab)
    receipts = [visitor.post(f"/event/{name}", prompt="product").text for name in ("ordered", "paid")]
    visitor.post("/event/signed_up")

    assert receipts == ["no_trace", "no_trace"]
    assert [event["trace_id"] for event in site.events()] == [kept]
    assert len({before.text, lost.text, kept}) == 3


def test_each_of_two_tabs_reports_under_what_it_fetched_itself(site):
    """Trap 26, within a request: only what is carried can be lost."""
    visitor = site.visitor()
    tabs = [visitor.in_another_tab() for _ in range(2)]

    fetched = [tab.post("/both").text for tab in tabs]

    assert [event["trace_id"] for event in site.events()] == fetched
    assert fetched[0] != fetched[1]


CAME_FROM = {"Origin": "https://shop.example"}


@pytest.mark.parametrize("carry", ["cookie", "session", "header", "none"])
def test_a_preflight_is_byte_for_byte_the_applications(open_site, carry):
    plain = open_site(is_installed=False, carry=carry)
    asked = {**CAME_FROM, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": HEADER}
    expected = plain.visitor(headers=asked).request("OPTIONS", "/cross-origin/welcome")
    plain.close()
    site = open_site(carry=carry, events={"cross_origin": "seen"})
    visitor = site.visitor()
    visitor.get("/product/welcome")

    found = site.visitor(headers={**visitor.headers, **asked}).request("OPTIONS", "/cross-origin/welcome")

    assert expected.header("access-control-allow-headers").lower() == HEADER
    assert (found.status, found.headers, found.text) == (expected.status, expected.headers, expected.text)
    assert site.events() == []


def test_a_page_of_another_origin_reads_the_header_that_its_cors_rules_expose(open_site):
    site = open_site(carry="header")
    visitor = site.visitor(headers=CAME_FROM)

    fetched = visitor.get("/cross-origin/product")
    receipt = visitor.post("/event/paid")

    assert {each.strip().lower() for each in fetched.header("vary").split(",")} == {"origin", HEADER}
    assert fetched.header("access-control-expose-headers").lower() == HEADER
    assert fetched.header(HEADER)
    assert receipt.text == "accepted"
    assert [event["trace_id"] for event in site.events()] == [fetched.text]
