"""Who an event belongs to: users, sessions, consent, and shared computers."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def site(open_site):
    """A site whose visitors can log in, with what its framework offers for that."""
    return open_site(has_users=True)


def by_header(request):
    return request.headers.get("X-User")


def test_the_event_of_a_login_has_the_new_user_and_that_of_a_logout_none(site):
    """Trap 11: the user is who it is when the response leaves, whatever the framework has cached."""
    visitor = site.visitor()
    visitor.get("/product/welcome")

    user = visitor.post("/login/ada")
    visitor.post("/event/paid")
    visitor.post("/logout")

    assert [(event["event_name"], event["user_id"]) for event in site.events()] == [
        ("logged_in", user.text),
        ("paid", user.text),
        ("logged_out", None),
    ]


def test_an_anonymous_visitor_has_no_user_id(site):
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.post("/event/paid")

    (event,) = site.events()
    assert event["user_id"] is None
    assert event["session_id"]


@pytest.mark.parametrize("carry", ["cookie", "session"])
def test_no_payload_holds_the_value_of_a_cookie(open_site, carry):
    """Trap 20: a session key is a credential. The session id of ours is stable over the login."""
    site = open_site(carry=carry, has_users=True)
    visitor = site.visitor()
    visitor.get("/product/welcome")

    visitor.post("/event/tried")
    visitor.post("/login/ada")
    visitor.post("/event/paid")

    events = site.events()
    sent = json.dumps(events)
    assert len(events) == 3
    assert len({event["session_id"] for event in events}) == 1
    assert visitor.seen_cookies
    assert not [value for value in visitor.seen_cookies if value in sent]


def test_no_payload_of_a_session_that_was_there_first_holds_its_key(open_site):
    """Trap 20: `Scope.add` begins a session id of ours, at random, and takes no key that is there already."""
    site = open_site(has_users=True)
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")

    visitor.post("/event/paid")

    (event,) = site.events()
    assert event["session_id"]
    assert visitor.seen_cookies
    assert not [value for value in visitor.seen_cookies if value in json.dumps(event)]


def test_a_purchase_is_not_credited_to_the_prompt_of_another_user_of_the_computer(site):
    """Trap 31: A fetches, logs out, B logs in and buys."""
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")
    visitor.post("/event/tried")
    visitor.post("/logout")
    before = visitor.jar["xr2_carry"]

    visitor.post("/login/bob")
    bought = visitor.post("/event/paid")

    assert bought.text in ("other_user", "no_trace")
    assert visitor.jar["xr2_carry"] != before
    assert "paid" not in site.event_names()
    assert site.runtime.counts["other_user"] >= 1


def test_another_user_of_the_computer_begins_a_session_of_their_own(site):
    """Trap 31, continued: B's own prompt is B's, and in no way tied to A's."""
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")
    visitor.post("/event/tried")
    visitor.post("/logout")
    bob = visitor.post("/login/bob")

    fetched = visitor.get("/product/product")
    visitor.post("/event/paid")

    tried, *_, paid = site.events()
    assert (paid["trace_id"], paid["user_id"]) == (fetched.text, bob.text)
    assert paid["session_id"] != tried["session_id"]


def test_a_fetch_alone_tells_whose_the_prompt_is(site):
    """Trap 31, where A has only looked."""
    visitor = site.visitor()
    visitor.post("/login/ada")
    visitor.get("/product/welcome")
    visitor.post("/logout")
    visitor.post("/login/bob")

    bought = visitor.post("/event/paid")

    assert bought.text in ("other_user", "no_trace")
    assert "paid" not in site.event_names()


def test_an_id_that_is_an_address_leaves_as_its_keyed_hash(open_site):
    site = open_site(user_id=by_header)
    visitor = site.visitor(headers={"X-User": "ada@example.org"})
    visitor.get("/product/welcome")

    visitor.post("/event/tried")
    visitor.post("/event/paid")

    first, second = site.events()
    assert first["user_id"] == second["user_id"]
    assert len(first["user_id"]) == 32
    assert "example.org" not in json.dumps([first, second])


def test_a_callable_names_the_user(open_site):
    site = open_site(user_id=by_header)
    visitor = site.visitor(headers={"X-User": "17"})

    visitor.post("/both")

    assert [event["user_id"] for event in site.events()] == ["17"]


def test_an_async_callable_names_the_user_in_async_code(open_site, caplog):
    async def of_header(request):
        return request.headers.get("X-User")

    site = open_site(user_id=of_header)
    visitor = site.visitor(headers={"X-User": "17"})

    visitor.post("/both")

    (event,) = site.events()
    if site.is_async:
        assert event["user_id"] == "17"


def test_a_callable_that_raises_costs_the_user_id_and_nothing_else(open_site, caplog):
    def broken(request):
        raise LookupError("a secret of the application")

    site = open_site(user_id=broken)

    answer = site.visitor().post("/both")

    assert answer.status == 200
    assert [event["user_id"] for event in site.events()] == [None]
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


@pytest.fixture(params=["consent", "gpc"])
def without_consent(request, open_site):
    """A visitor who may not be recognised, at a site that would carry traces."""
    if request.param == "gpc":
        return open_site(user_id=by_header).visitor(headers={"Sec-GPC": "1", "X-User": "17"})
    site = open_site(user_id=by_header, consent=lambda request: request.headers.get("X-Consent") == "yes")
    return site.visitor(headers={"X-User": "17"})


def test_without_consent_the_event_of_this_request_goes_without_ids(without_consent):
    fetched = without_consent.post("/both")

    (event,) = without_consent.site.events()
    assert event["trace_id"] == fetched.text
    assert (event["user_id"], event["session_id"]) == (None, None)


def test_without_consent_nothing_is_carried(without_consent):
    fetched = without_consent.post("/both")
    later = without_consent.post("/event/paid")

    assert not fetched.cookies
    assert fetched.header("vary") is None
    assert later.text == "no_trace"


def test_a_token_from_before_is_not_read_once_consent_is_withdrawn(open_site):
    site = open_site(consent=lambda request: request.headers.get("X-Consent") == "yes")
    visitor = site.visitor(headers={"X-Consent": "yes"})
    visitor.get("/product/welcome")

    visitor.headers["X-Consent"] = "no"
    later = visitor.post("/event/paid")

    assert later.text == "no_trace"


def test_with_consent_the_visitor_is_recognised(open_site):
    site = open_site(consent=lambda request: request.headers.get("X-Consent") == "yes")
    visitor = site.visitor(headers={"X-Consent": "yes"})

    visitor.get("/product/welcome")

    assert visitor.post("/event/paid").text == "accepted"


def test_global_privacy_control_can_be_left_to_the_application(open_site):
    site = open_site(respect_gpc=False)
    visitor = site.visitor(headers={"Sec-GPC": "1"})

    visitor.get("/product/welcome")

    assert visitor.post("/event/paid").text == "accepted"
