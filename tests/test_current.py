"""What application code sees of the visitor at hand, scopes bound by hand, and the process default."""

from __future__ import annotations

import logging
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

import xr2_web
from xr2_web import ConfigurationError, current, propagate
from xr2_web.default import default, no_default, started
from xr2_web.incoming import WAITING
from xr2_web.runtime import Runtime
from xr2_web.scope import bound

from .conftest import RuntimeMaker
from .local_xr2 import LocalXr2
from .visits import Door, Request

NOTHING = (None, None, None)


def seen() -> tuple[str | None, str | None, str | None]:
    return current.trace_id, current.user_id, current.session_id


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "xr2_web"]


class TestCurrent:
    def test_outside_of_any_scope_there_is_nothing(self) -> None:
        assert seen() == NOTHING

    def test_in_a_request_it_is_the_visitor(self, runtime: Runtime) -> None:
        with Door(runtime).visit(user_id=7):
            before = seen()
            trace_id = xr2_web.get_prompt("welcome").trace_id
            after = seen()

        assert before == (None, "7", None)
        assert after[:2] == (trace_id, "7")
        assert after[2]
        assert seen() == NOTHING

    def test_the_session_is_that_of_the_token_and_stays(self, runtime: Runtime) -> None:
        door = Door(runtime)
        sessions = []
        token = None
        for _ in range(3):
            with door.visit(carried=token) as request:
                xr2_web.get_prompt("welcome")
                sessions.append(current.session_id)
            token = request.token

        assert len(set(sessions)) == 1

    def test_two_visitors_have_two_sessions(self, runtime: Runtime) -> None:
        sessions = set()
        for _ in range(50):
            with Door(runtime).visit():
                xr2_web.get_prompt("welcome")
                sessions.add(current.session_id)

        assert len(sessions) == 50
        assert all(session and len(session) == 16 for session in sessions)

    def test_what_the_visitor_carries_is_there_before_anything_is_fetched(self, runtime: Runtime) -> None:
        door = Door(runtime)
        with door.visit() as before:
            xr2_web.get_prompt("welcome")
            expected = seen()

        with door.visit(carried=before.token):
            session_id = current.session_id
            trace_id = current.trace_id

        assert (trace_id, None, session_id) == expected

    def test_without_consent_there_is_the_trace_of_this_request_only(self, make_runtime: RuntimeMaker) -> None:
        runtime = make_runtime(consent=lambda request: False)
        with Door(runtime).visit(user_id=7):
            trace_id = xr2_web.get_prompt("welcome").trace_id

            assert seen() == (trace_id, None, None)

    @pytest.mark.parametrize("respects", [True, False])
    def test_a_privacy_signal_is_a_no_unless_it_is_not_respected(
        self, make_runtime: RuntimeMaker, respects: bool
    ) -> None:
        runtime = make_runtime(respect_gpc=respects)
        with Door(runtime).visit(user_id=7, headers={"sec-gpc": "1"}):
            assert current.user_id == (None if respects else "7")

    def test_an_address_shows_as_it_goes_out(self, runtime: Runtime) -> None:
        with Door(runtime).visit(user_id="ada@example.org"):
            assert current.user_id == runtime.seal.pseudonym("ada@example.org")

    def test_a_user_that_takes_waiting_is_none(self, runtime: Runtime) -> None:
        with Door(runtime).visit(user_id=WAITING):
            assert current.user_id is None

    def test_an_async_user_id_is_none_and_nobody_complains(self, make_runtime: RuntimeMaker) -> None:
        async def user_id(request: Request) -> str:
            return "ada"

        with Door(make_runtime(user_id=user_id)).visit():
            assert current.user_id is None

    def test_it_cannot_be_written_to(self) -> None:
        with pytest.raises(AttributeError):
            current.trace_id = "evt_1"  # type: ignore[misc]
        with pytest.raises(AttributeError):
            current.something = 1  # type: ignore[attr-defined]

    def test_its_repr_tells_nothing_of_the_visitor(self, runtime: Runtime) -> None:
        with Door(runtime).visit(user_id="user-4711"):
            assert "4711" not in repr(current)


class TestScope:
    def test_it_binds_what_it_is_given(self, runtime: Runtime) -> None:
        with xr2_web.scope(runtime=runtime, trace_id="evt_1", user_id=7, session_id="mine"):
            inside = seen()

        assert inside == ("evt_1", "7", "mine")
        assert seen() == NOTHING

    def test_an_event_in_it_has_these_ids(self, runtime: Runtime, local_xr2: LocalXr2) -> None:
        """As a worker reports the event of a visitor whose trace it was given."""
        with xr2_web.scope(runtime=runtime):
            trace_id = xr2_web.get_prompt("welcome").trace_id

        with xr2_web.scope(runtime=runtime, trace_id=trace_id, user_id=uuid.UUID(int=7), session_id="mine"):
            receipt = xr2_web.track_event("paid")
        runtime.flush()

        assert receipt.accepted
        (event,) = local_xr2.events()
        expected = (trace_id, str(uuid.UUID(int=7)), "mine")
        assert (event["trace_id"], event["user_id"], event["session_id"]) == expected

    def test_without_anything_it_begins_empty_and_takes_what_is_fetched(self, runtime: Runtime) -> None:
        with xr2_web.scope(runtime=runtime):
            before = seen()
            trace_id = xr2_web.get_prompt("welcome").trace_id
            after = seen()

        assert before == NOTHING
        assert after[:2] == (trace_id, None)
        assert after[2]

    def test_a_fetched_prompt_comes_after_the_given_trace(self, runtime: Runtime) -> None:
        with xr2_web.scope(runtime=runtime, trace_id="evt_1", session_id="mine"):
            trace_id = xr2_web.get_prompt("welcome").trace_id

            assert seen() == (trace_id, None, "mine")

    def test_an_inner_one_hides_the_outer_one_and_gives_it_back(self, runtime: Runtime) -> None:
        found = []
        with xr2_web.scope(runtime=runtime, trace_id="evt_1", user_id="ada"):
            with xr2_web.scope(runtime=runtime, trace_id="evt_2"):
                found.append(seen())
            found.append(seen())

        assert found == [("evt_2", None, None), ("evt_1", "ada", None)]

    def test_it_ends_when_the_block_raises(self, runtime: Runtime) -> None:
        with pytest.raises(LookupError), xr2_web.scope(runtime=runtime, trace_id="evt_1"):
            raise LookupError

        assert bound() is None

    def test_as_a_decorator_it_begins_anew_with_each_call(self, runtime: Runtime) -> None:
        @xr2_web.scope(runtime=runtime)
        def work() -> str | None:
            before = current.trace_id
            xr2_web.get_prompt("welcome")
            return before

        assert [work(), work()] == [None, None]

    def test_inside_a_request_it_is_apart_from_the_request(self, runtime: Runtime) -> None:
        with Door(runtime).visit(user_id="ada") as request:
            with xr2_web.scope(runtime=runtime):
                xr2_web.get_prompt("welcome")
                inside = current.user_id
            outside = current.trace_id

        assert (inside, outside) == (None, None)
        assert request.token is None

    def test_a_thread_needs_propagate(self, runtime: Runtime) -> None:
        with ThreadPoolExecutor(1) as threads, xr2_web.scope(runtime=runtime, trace_id="evt_1"):
            found = [threads.submit(each).result(5) for each in (seen, propagate(seen))]

        assert found == [NOTHING, ("evt_1", None, None)]

    def test_threads_bind_their_own(self, runtime: Runtime) -> None:
        meet = threading.Barrier(8)

        def work(number: int) -> str | None:
            with xr2_web.scope(runtime=runtime, trace_id=f"evt_{number}"):
                meet.wait(5)
                return current.trace_id

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(work, range(8)))

        assert found == [f"evt_{number}" for number in range(8)]

    def test_events_of_several_users_leave_its_traces_and_session_as_they_are(
        self, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        """A scope bound by hand has no visitor of its own whom another one could follow."""
        with xr2_web.scope(runtime=runtime, session_id="mine"):
            xr2_web.get_prompt("welcome")
            receipts = [xr2_web.track_event(f"paid_{name}", user_id=name) for name in ("ada", "bob")]
        runtime.flush()

        assert all(receipts)
        found = [(event["user_id"], event["session_id"]) for event in local_xr2.events()]
        assert sorted(found) == [("ada", "mine"), ("bob", "mine")]

    @pytest.mark.parametrize("user_id", [None, ""])
    def test_an_empty_user_id_is_none(self, runtime: Runtime, user_id: str | None) -> None:
        with xr2_web.scope(runtime=runtime, user_id=user_id):
            assert current.user_id is None

    @pytest.mark.parametrize("user_id", [object(), 1.5, "u" * 256, ["ada"]])
    def test_a_user_id_that_cannot_be_sent_is_told_and_left_out(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture, user_id: object
    ) -> None:
        """A task must not fail for it."""
        with xr2_web.scope(runtime=runtime, trace_id="evt_1", user_id=user_id):
            found = seen()

        assert found == ("evt_1", None, None)
        (line,) = told(caplog)
        assert "user_unknown" in line
        assert "user_id: " in line

    def test_a_trace_id_that_cannot_be_sent_is_told_at_the_event(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture
    ) -> None:
        with xr2_web.scope(runtime=runtime, trace_id="t" * 101):
            receipt = xr2_web.track_event("paid")

        assert receipt.reason == "invalid"
        assert "trace_id: " in told(caplog)[0]


class TestDefault:
    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch, local_xr2: LocalXr2) -> None:
        monkeypatch.setenv("XR2_API_KEY", local_xr2.api_key)
        monkeypatch.setenv("XR2_BASE_URL", local_xr2.base_url)

    def test_it_is_made_from_the_environment_once(self, local_xr2: LocalXr2) -> None:
        made = default()

        assert made is default()
        assert (made.settings.api_key, made.settings.base_url) == (local_xr2.api_key, local_xr2.base_url)

    def test_threads_that_ask_first_get_the_same(self) -> None:
        meet = threading.Barrier(8)

        def ask(_: int) -> Runtime:
            meet.wait(5)
            return default()

        with ThreadPoolExecutor(8) as threads:
            found = {id(made) for made in threads.map(ask, range(8))}

        assert len(found) == 1

    def test_a_scope_without_a_runtime_uses_it(self, local_xr2: LocalXr2) -> None:
        with xr2_web.scope():
            xr2_web.get_prompt("welcome")
            receipt = xr2_web.track_event("sign_up")
        default().flush()

        assert receipt.accepted
        assert [event["event_name"] for event in local_xr2.events()] == ["sign_up"]

    def test_configure_sets_it_over_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XR2_SOURCE_NAME", "from the environment")

        made = xr2_web.configure(attribution="first")

        assert default() is made
        assert made.settings.attribution == "first"
        assert made.settings.source_name == "from the environment"

    def test_configure_replaces_what_was_there(self) -> None:
        first = xr2_web.configure()

        second = xr2_web.configure()

        assert default() is second is not first

    def test_configure_reports_every_mistake_and_changes_nothing(self) -> None:
        before = default()

        with pytest.raises(ConfigurationError) as caught:
            xr2_web.configure(atribution="first", prompt_deadline=-1)  # type: ignore[call-arg]

        assert len(caught.value.problems) == 2
        assert "did you mean attribution=?" in str(caught.value)
        assert default() is before

    def test_the_first_adapter_sets_it_and_the_second_does_not(self, make_runtime: RuntimeMaker) -> None:
        first, second = make_runtime(), make_runtime()

        started(first)
        started(second)

        assert default() is first

    def test_an_adapter_takes_the_place_of_one_made_from_the_environment(self, runtime: Runtime) -> None:
        default()

        started(runtime)

        assert default() is runtime

    def test_what_is_configured_is_not_taken_over_by_an_adapter(self, runtime: Runtime) -> None:
        made = xr2_web.configure()

        started(runtime)

        assert default() is made

    def test_mistakes_in_the_environment_turn_it_off_and_are_told_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is made when it is needed, which may be in somebody's request."""
        monkeypatch.setenv("XR2_API_KEY", "SECRET with blanks")

        receipts = [xr2_web.track_event("paid", trace_id="evt_1") for _ in range(2)]
        prompt = xr2_web.get_prompt("welcome", fallback="Hello.")

        assert [receipt.reason for receipt in receipts] == ["disabled", "disabled"]
        assert prompt.is_fallback
        assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
        assert "XR2_API_KEY is malformed" in caplog.text
        assert "SECRET" not in caplog.text

    def test_for_a_block_there_can_be_none_and_what_is_made_inside_is_closed(self, local_xr2: LocalXr2) -> None:
        before = xr2_web.configure()
        trace_id = xr2_web.get_prompt("welcome").trace_id

        with no_default():
            inside = xr2_web.configure()
            within = default()
            xr2_web.track_event("paid", trace_id=trace_id)

        assert within is inside
        assert default() is before
        assert [event["event_name"] for event in local_xr2.events()] == ["paid"]
        assert not [each for each in threading.enumerate() if each.name.startswith("xr2-courier")]
