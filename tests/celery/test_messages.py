"""What the message of a task says of the visitor: ids only, and nothing where there is nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.signals import before_task_publish, task_prerun

import xr2_web
from xr2_web import get_prompt
from xr2_web.celery import HEADER, install
from xr2_web.identity import Personal
from xr2_web.runtime import Runtime

from ..conftest import RuntimeMaker
from ..visits import DAY, Clock, Door
from .seeing import header_of, message_of, seen


@pytest.fixture
def work(task: Callable[..., Any]) -> Any:
    """A task that does nothing."""

    @task
    def work(*args: Any) -> None:
        pass

    return work


def test_a_message_carries_the_traces_the_session_and_the_user(app: Celery, work: Any, runtime: Runtime) -> None:
    with Door(runtime).visit(user_id=7):
        prompts = [get_prompt("welcome"), get_prompt("product")]
        _, user_id, session_id = seen()

        traces, *ids = header_of(app, work)

    assert [trace[:3] for trace in traces] == [[each.slug, each.trace_id, each.version_number] for each in prompts]
    assert ids == [session_id, user_id, True]


def test_what_an_earlier_request_fetched_goes_along(app: Celery, work: Any, runtime: Runtime) -> None:
    door = Door(runtime)
    with door.visit() as before:
        trace_id = get_prompt("welcome").trace_id
        session_id = seen()[2]

    with door.visit(carried=before.token):
        traces, *ids = header_of(app, work)

    assert [trace[1] for trace in traces] == [trace_id]
    assert ids == [session_id, None, True]


def test_without_a_scope_there_is_no_header(app: Celery, work: Any, runtime: Runtime) -> None:
    assert HEADER not in message_of(app, work).headers


def test_of_a_visitor_without_anything_there_is_no_header(app: Celery, work: Any, runtime: Runtime) -> None:
    with Door(runtime).visit():
        assert HEADER not in message_of(app, work).headers


def test_where_xr2_is_off_there_is_no_header(app: Celery, work: Any, make_runtime: RuntimeMaker) -> None:
    with xr2_web.scope(trace_id="a-trace", user_id=7, runtime=make_runtime(enabled=False)):
        assert HEADER not in message_of(app, work).headers


def test_the_rest_of_the_message_is_as_it_was(app: Celery, work: Any, runtime: Runtime) -> None:
    before = message_of(app, work, "its argument", headers={"mine": "1"})

    with Door(runtime).visit(path="/orders/ada", headers={"user-agent": "ada's"}, user_id=7):
        get_prompt("welcome")
        after = message_of(app, work, "its argument", headers={"mine": "1"})

    assert set(after.headers) - set(before.headers) == {HEADER}
    assert after.headers["mine"] == "1"
    assert after.payload == before.payload
    assert set(after.properties) == set(before.properties)


def test_a_header_that_the_sender_sets_himself_stays(app: Celery, work: Any, runtime: Runtime) -> None:
    with Door(runtime).visit():
        get_prompt("welcome")
        message = message_of(app, work, headers={HEADER: "of the sender's own"})

    assert message.headers[HEADER] == "of the sender's own"


@pytest.mark.parametrize("user_id", ["wendolyn@example.com", Personal("wendolyn")])
def test_an_id_that_is_personal_goes_as_its_keyed_hash(app: Celery, work: Any, runtime: Runtime, user_id: str) -> None:
    with Door(runtime).visit(user_id=user_id):
        get_prompt("welcome")
        message = message_of(app, work)
        sent = header_of(app, work)[2]

    assert sent == runtime.seal.pseudonym(user_id)
    assert "wendolyn" not in repr((message.headers, message.properties, message.body))


@pytest.mark.parametrize("settings", [{"consent": lambda request: False}, {}])
def test_without_consent_only_the_traces_of_this_request_go(
    app: Celery, work: Any, make_runtime: RuntimeMaker, settings: dict[str, Any]
) -> None:
    agreed = Door(make_runtime())
    with agreed.visit(user_id=7) as before:
        get_prompt("product")
    door = Door(make_runtime(**settings))

    with door.visit(carried=before.token, user_id=7, headers={} if settings else {"sec-gpc": "1"}):
        trace_id = get_prompt("welcome").trace_id
        traces, *ids = header_of(app, work)

    assert [trace[1] for trace in traces] == [trace_id]
    assert ids == [None, None, False]


def test_what_another_user_was_shown_does_not_go_along(app: Celery, work: Any, runtime: Runtime) -> None:
    """Trap 31, in a task: A fetches, B logs in and sends it. Protects the claim before the traces are read."""
    door = Door(runtime)
    with door.visit(user_id="a") as before:
        get_prompt("welcome")
        session_id = seen()[2]
        door_of_a = header_of(app, work)

    with door.visit(carried=before.token, user_id="b"):
        traces, new_session_id, user_id, _ = header_of(app, work)

    assert door_of_a[1] == session_id
    assert (traces, user_id) == ([], "b")
    assert new_session_id != session_id


def test_nobody_gets_the_session_of_another_user_who_carried_no_trace(app: Celery, work: Any, runtime: Runtime) -> None:
    door = Door(runtime)
    sessions = []
    token = None
    for user_id in "abc":
        with door.visit(carried=token, user_id=user_id) as visit:
            if user_id == "a":
                get_prompt("welcome")
            sessions.append(header_of(app, work)[1])
        token = visit.token

    assert len(set(sessions)) == 3


def test_sending_a_task_changes_nothing_that_the_visitor_carries(
    app: Celery, work: Any, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(runtime)
    with door.visit(user_id=7) as nothing_fetched:
        message_of(app, work)
    with door.visit(user_id=7) as before:
        get_prompt("welcome")
    with door.visit(user_id=7, carried=before.token) as later:
        message_of(app, work)

    assert (nothing_fetched.token, later.token) == (None, None)
    assert caplog.records == []


def test_a_user_that_must_be_waited_for_does_not_go_along(app: Celery, work: Any, make_runtime: RuntimeMaker) -> None:
    async def user_id(request: object) -> str:
        return "7"

    with Door(make_runtime(user_id=user_id)).visit():
        trace_id = get_prompt("welcome").trace_id
        session_id = seen()[2]
        traces, *ids = header_of(app, work)

    assert [trace[1] for trace in traces] == [trace_id]
    assert ids == [session_id, None, True]


def test_the_last_eight_traces_go(app: Celery, work: Any, runtime: Runtime) -> None:
    with Door(runtime).visit():
        trace_ids = [get_prompt("welcome", fresh=True).trace_id for _ in range(10)]
        traces, *_ = header_of(app, work)

    assert [trace[1] for trace in traces] == trace_ids[2:]


def test_a_trace_that_is_over_does_not_go(app: Celery, work: Any, make_runtime: RuntimeMaker) -> None:
    clock = Clock()

    with Door(make_runtime(chance=clock.chance)).visit():
        get_prompt("welcome")
        clock.ahead = 31 * DAY
        trace_id = get_prompt("product").trace_id
        traces, *_ = header_of(app, work)

    assert [trace[1] for trace in traces] == [trace_id]


def test_a_failure_of_ours_does_not_reach_the_sender_and_is_told_once(
    app: Celery, work: Any, make_runtime: RuntimeMaker, caplog: pytest.LogCaptureFixture
) -> None:
    def keys() -> list[str]:
        raise LookupError("no key for ada")

    with caplog.at_level(logging.WARNING), Door(make_runtime(keys=keys)).visit(user_id=7):
        get_prompt("welcome")
        messages = [message_of(app, work) for _ in range(2)]

    assert [HEADER in message.headers for message in messages] == [False, False]
    told = [record.getMessage() for record in caplog.records if "visitor_unread" in record.getMessage()]
    assert told == ["xr2_web.visitor_unread: a task goes without its visitor: LookupError"]


def test_installing_once_more_does_nothing(app: Celery) -> None:
    before = len(before_task_publish.receivers), len(task_prerun.receivers)

    install()

    assert (len(before_task_publish.receivers), len(task_prerun.receivers)) == before
