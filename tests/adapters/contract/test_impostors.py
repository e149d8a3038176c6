"""Nothing that a client sends says who it is: only the framework's login does, or USER_ID, and what is signed."""

from __future__ import annotations

import pytest

from ..site import HEADER

CLAIMS = {
    "X-User-Id": "bob",
    "X-User": "bob",
    "Remote-User": "bob",
    "X-Forwarded-User": "bob",
    "X-Xr2-User-Id": "bob",
    "X-Xr2-Session-Id": "bob",
    "X-Xr2-Trace-Id": "bob",
}


@pytest.fixture
def site(open_site):
    return open_site(has_users=True)


def test_a_client_header_does_not_override_the_user_who_is_logged_in(site):
    visitor = site.visitor()
    visitor.get("/product/welcome")
    user = visitor.post("/login/ada")
    visitor.headers.update(CLAIMS)

    visitor.post("/event/paid", user_id="bob")

    paid = site.events()[-1]
    assert (paid["event_name"], paid["user_id"]) == ("paid", user.text)
    assert "bob" not in str(paid)


def test_a_client_header_makes_no_user_of_an_anonymous_visitor(site):
    visitor = site.visitor(headers=CLAIMS)
    fetched = visitor.get("/product/welcome")

    visitor.post("/event/paid", user_id="bob", trace_id="bob", session_id="bob")

    (paid,) = site.events()
    assert (paid["trace_id"], paid["user_id"]) == (fetched.text, None)
    assert "bob" not in str(paid)


@pytest.mark.parametrize(("carry", "other"), [("cookie", "header"), ("header", "cookie")])
def test_a_token_is_taken_from_its_own_carrier_only(open_site, carry, other):
    given = open_site(carry=other)
    somebody = given.visitor()
    somebody.get("/product/welcome")
    given.close()
    site = open_site(carry=carry)

    later = site.visitor(headers=somebody.sent()).post("/event/paid")

    assert (HEADER in somebody.sent()) == (other == "header")
    assert later.text == "no_trace"
    assert "bad_token" not in site.runtime.counts


def test_a_trace_id_is_not_taken_unsigned_from_a_client(site):
    fetched = site.visitor().get("/product/welcome")
    stranger = site.visitor(headers={HEADER: fetched.text})
    stranger.jar["xr2_carry"] = fetched.text

    later = stranger.post("/event/paid", trace_id=fetched.text)

    assert later.text == "no_trace"


@pytest.mark.parametrize("carry", ["session", "header"])
def test_another_user_gets_nothing_of_what_somebody_carried(open_site, carry):
    """Trap 31, where the session carries, which a logout may clear, and where a header does."""
    site = open_site(carry=carry, has_users=True)
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")
    visitor.post("/event/tried")
    visitor.post("/logout")
    bob = visitor.post("/login/bob")

    bought = visitor.post("/event/paid")
    fetched = visitor.get("/product/product")
    visitor.post("/event/paid")

    tried, *_, paid = site.events()
    assert bought.text in ("other_user", "no_trace")
    assert (paid["trace_id"], paid["user_id"]) == (fetched.text, bob.text)
    assert paid["session_id"] != tried["session_id"]


def test_consent_is_asked_once_a_request_and_may_change_from_one_to_the_next(open_site):
    answers = iter([True, False, True])
    site = open_site(consent=lambda request: next(answers))
    visitor = site.visitor()

    fetched = visitor.post("/both")
    refused = visitor.post("/event/paid")
    accepted = visitor.post("/event/paid")

    assert (refused.text, accepted.text) == ("no_trace", "accepted")
    assert {event["trace_id"] for event in site.events()} == {fetched.text}
    assert next(answers, "asked once a request") == "asked once a request"
