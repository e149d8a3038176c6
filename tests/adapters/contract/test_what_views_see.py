"""What the application sees of its visitor in views, error handlers and streamed bodies, and never afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from xr2_web.scope import bound

# Django says so where the kind of a body does not fit its server.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")


@pytest.fixture
def site(open_site):
    return open_site(user_id=lambda request: request.headers.get("X-User"))


@pytest.fixture
def visitor(site):
    """A known visitor who has fetched ``welcome``."""
    visitor = site.visitor(headers={"X-User": "17"})
    visitor.trace_id = visitor.get("/product/welcome").text
    return visitor


def test_a_view_and_its_streamed_body_see_who_the_visitor_is(site, visitor):
    seen = visitor.get("/me").text
    streamed = visitor.get("/me-streamed").text.splitlines()
    visitor.post("/event/paid")

    (paid,) = site.events()
    assert seen == f"{visitor.trace_id} 17 {paid['session_id']}"
    assert streamed == [seen, seen]


def test_an_error_handler_sees_what_the_view_fetched_and_its_answer_carries_it(site, visitor):
    answer = visitor.post("/refusal")
    visitor.post("/event/paid")

    trace_id, user_id, session_id = answer.text.split()
    assert (answer.status, user_id) == (403, "17")
    assert trace_id != visitor.trace_id
    assert answer.header("x-receipt") == "accepted"
    assert "xr2_carry" in answer.cookies
    assert [(event["event_name"], event["trace_id"], event["session_id"]) for event in site.events()] == [
        ("refused", trace_id, session_id),
        ("paid", trace_id, session_id),
    ]


def test_a_refused_route_is_no_event(open_site):
    site = open_site(events={"refusal": "seen", "POST /refusal": "seen"})

    site.visitor().post("/refusal")

    assert site.event_names() == ["refused"]


def test_a_thread_of_a_pool_has_nothing_bound_after_any_request(site):
    """Trap 23, on a worker's thread: plain, refused, crashed, streamed and abandoned."""
    visitor = site.visitor()

    with ThreadPoolExecutor(1) as pool:
        try:
            after = []
            for path in ("/both", "/refusal", "/crash", "/stream", "/nowhere"):
                pool.submit(visitor.post, path).result()
                after.append(pool.submit(bound).result())
            pool.submit(visitor.abandon, "/stream").result()
            after.append(pool.submit(bound).result())
            seen = pool.submit(site.visitor().get, "/me").result()
        finally:
            pool.submit(site.leave_thread).result()

    assert after == [None] * 6
    assert seen.text == "None None None"
