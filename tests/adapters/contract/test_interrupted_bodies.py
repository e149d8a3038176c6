"""Bodies that take turns on one thread, that are closed in the wrong order, and that nobody ever finishes."""

from __future__ import annotations

import gc

import pytest

from xr2_web.scope import bound

# Django says so where the kind of a body does not fit its server.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")


@pytest.fixture
def site(open_site):
    return open_site(events={"stream": "streamed"})


def test_bodies_that_take_turns_see_their_own_scope_and_leave_none(site):
    """Trap 3: a token that crosses a ``yield`` would bring the first visitor's scope back to life.

    It protects the binding of each step of a body, and that it is undone there.
    """
    first, second = site.begin("/stream"), site.begin("/stream")

    began = [first.part(), second.part()]
    between = bound()
    first.close()
    rest = second.rest()
    second.close()

    assert began[0] != began[1]
    assert "None" not in began[0] + began[1]
    assert rest.split() == [began[1].strip()] * 2
    assert (between, bound()) == (None, None)
    assert (first.bound_after, second.bound_after) == (None, None)
    assert site.visitor().get("/whoami").text == "None None"
    assert [event["trace_id"] for event in site.events() if event["event_name"] == "streamed"] == [began[1].strip()]


def test_a_body_that_is_closed_early_is_counted_as_aborted(site):
    """Trap 4: no event, no error, and the outcome is known."""
    body = site.begin("/stream")

    body.part()
    body.close()

    assert "streamed" not in site.event_names()
    assert site.runtime.counts["aborted"] == 1


def test_a_body_that_the_collector_closes_makes_no_event_and_no_error(site):
    """Trap 4: the send is cancelled while it blocks, and the generator is left to the garbage collector.

    An error there would be an unraisable one, which fails this test as every warning does.
    """
    body = site.begin("/stream")
    body.part()

    body.drop()
    del body
    gc.collect()

    assert bound() is None
    assert "streamed" not in site.event_names()
    assert site.visitor().get("/whoami").text == "None None"


def test_a_send_that_is_cancelled_is_counted_as_aborted(site):
    """Trap 4: `Xr2Middleware.__call__` ends the scope in its ``finally``."""
    body = site.begin("/stream")
    body.part()

    body.drop()

    assert site.runtime.counts["aborted"] == 1
