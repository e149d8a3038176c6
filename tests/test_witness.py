"""What is written down of one request while a developer looks, and that nothing is where nobody does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import xr2_web
from xr2_web import settings, track, track_event
from xr2_web.identity import settle
from xr2_web.incoming import WAITING
from xr2_web.outbox import Entry
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.runtime import Runtime
from xr2_web.scope import binding
from xr2_web.witness import MOST_NOTES, EventNote, Record, record_of

from .conftest import RuntimeMaker
from .scripted_server import ScriptedServer, answer
from .test_prompts import detail, good, in_turn
from .visits import Answer, Door, Request, here


@pytest.fixture
def door(runtime: Runtime) -> Door:
    return Door(runtime)


@contextmanager
def watched(door: Door, **about: Any) -> Iterator[Record]:
    """Bind the scope of a request for a block, and yield its record."""
    with door.visit(**about):
        record = record_of(here())
        assert record is not None
        yield record


def after_a_prompt(door: Door, **about: Any) -> str:
    """Return what a visitor carries who has fetched ``welcome``."""
    with door.visit(**about) as request:
        xr2_web.get_prompt("welcome")
    assert request.token is not None
    return request.token


def told(note: EventNote) -> tuple[str, str, bool]:
    return note.state, note.why, note.is_after_response


class TestPrompts:
    def test_one_of_xr2_is_noted_with_its_trace(self, door: Door) -> None:
        with watched(door) as record:
            prompt = xr2_web.get_prompt("product")

        assert record.prompts == [("product", 3, None, prompt.trace_id, "xr2", "")]
        assert record.last_trace_id == prompt.trace_id

    def test_a_variant_is_noted(self, make_runtime: RuntimeMaker) -> None:
        body = {**json.loads(good().partition(b"\r\n\r\n")[2]), "ab_test_variant": "version_b"}

        with (
            ScriptedServer(in_turn(answer(200, json.dumps(body).encode()))) as server,
            watched(Door(make_runtime(base_url=server.base_url))) as record,
        ):
            xr2_web.get_prompt("welcome")

        assert record.prompts[0].variant == "version_b"

    def test_the_second_call_of_a_request_is_the_same_prompt_and_no_second_note(self, door: Door) -> None:
        with watched(door) as record:
            xr2_web.get_prompt("welcome")
            xr2_web.get_prompt("welcome")

        assert len(record.prompts) == 1

    def test_a_fallback_is_noted_with_what_xr2_said(self, door: Door) -> None:
        with watched(door) as record:
            xr2_web.get_prompt("nowhere", fallback="Greet {{name}}.")

        [note] = record.prompts
        assert (note.slug, note.trace_id, note.source) == ("nowhere", None, "fallback")
        assert note.why == "Prompt not found. Available slugs: product, welcome"
        assert record.last_trace_id is None

    def test_a_copy_is_noted_with_what_xr2_said(self, make_runtime: RuntimeMaker) -> None:
        down = detail(503, "down for maintenance")
        with ScriptedServer(in_turn(good(), down)) as server:
            door = Door(make_runtime(base_url=server.base_url))
            after_a_prompt(door)
            with watched(door) as record:
                xr2_web.get_prompt("welcome")

        assert record.prompts == [("welcome", 3, None, None, "copy", "down for maintenance")]

    def test_one_that_cannot_be_had_is_noted_before_it_raises(self, door: Door) -> None:
        with watched(door) as record, suppress(xr2_web.PromptUnavailable):
            xr2_web.get_prompt("nowhere")

        assert [(note.slug, note.source) for note in record.prompts] == [("nowhere", "nothing")]

    def test_a_fallback_is_noted_where_everything_is_off(self, make_runtime: RuntimeMaker) -> None:
        with watched(Door(make_runtime(enabled=False))) as record:
            xr2_web.get_prompt("welcome", fallback="Hello.")

        assert [(note.source, note.why) for note in record.prompts] == [("fallback", "ENABLED is false")]

    def test_what_a_visitor_came_with_is_noted_once_it_is_asked_for(self, door: Door) -> None:
        token = after_a_prompt(door)
        with watched(door, carried=token) as record:
            before = record.carried
            traces = here().traces

        assert before == ()
        assert list(record.carried) == traces
        assert not record.has_lost_traces

    def test_what_was_another_users_is_noted_as_dropped(self, door: Door) -> None:
        token = after_a_prompt(door, user_id="1")
        with watched(door, carried=token, user_id="2") as record:
            track_event("bought")

        assert len(record.carried) == 1
        assert record.has_lost_traces
        assert told(record.events[0]) == ("refused", "other_user", False)


class TestEvents:
    def test_an_accepted_one_is_noted_with_its_value_and_trace(self, door: Door) -> None:
        with watched(door) as record:
            prompt = xr2_web.get_prompt("welcome")
            track_event("bought", value=12.5, currency="EUR")

        [note] = record.events
        assert (note.event, note.value, note.currency, note.trace_id) == ("bought", "12.5", "EUR", prompt.trace_id)
        assert told(note) == ("accepted", "", False)

    @pytest.mark.parametrize(("user_id", "has_user"), [("ada", True), (None, False)])
    def test_of_ids_and_metadata_nothing_is_kept(self, door: Door, user_id: str | None, has_user: bool) -> None:
        with watched(door, user_id=user_id) as record:
            xr2_web.get_prompt("welcome")
            track_event("bought", session_id="session of ada", metadata={"street": "ada"})

        [note] = record.events
        kept = [getattr(note, name) for name in EventNote.__slots__]
        assert (note.has_user, note.has_session) == (has_user, True)
        assert not any("ada" in str(each) for each in kept)

    def test_one_without_a_prompt_is_noted_as_refused(self, door: Door) -> None:
        with watched(door) as record:
            track_event("bought")

        assert told(record.events[0]) == ("refused", "no_trace", False)

    @pytest.mark.parametrize("value", ["ada@example.org", float("nan"), 2**70])
    def test_of_a_value_that_cannot_be_sent_the_type_is_noted(self, door: Door, value: Any) -> None:
        with watched(door) as record:
            track_event("bought", value=value)

        assert record.events[0].value == f"({type(value).__name__})"
        assert told(record.events[0]) == ("refused", "invalid", False)

    def test_a_field_that_raises_is_noted_as_refused(self, door: Door) -> None:
        @track("bought", value=lambda call: 1 / 0)
        def buy() -> None: ...

        with watched(door) as record:
            buy()

        assert [told(note) for note in record.events] == [("refused", "invalid", False)]

    def test_metadata_that_cannot_be_sent_is_noted_as_refused(self, door: Door) -> None:
        @track("bought", metadata={"when": object()})
        def buy() -> None: ...

        with watched(door) as record:
            buy()

        assert [told(note) for note in record.events] == [("refused", "invalid", False)]

    def test_a_duplicate_and_a_full_outbox_are_noted(self, make_runtime: RuntimeMaker) -> None:
        runtime = make_runtime(outbox=lambda chosen: Unclaimed(1))
        with watched(Door(runtime)) as record:
            xr2_web.get_prompt("welcome")
            for event in ("bought", "bought", "thanked"):
                track_event(event)

        assert [note.why for note in record.events] == ["", "duplicate", "full"]

    def test_one_is_noted_as_refused_where_everything_is_off(self, make_runtime: RuntimeMaker) -> None:
        with watched(Door(make_runtime(enabled=False))) as record:
            track_event("bought")

        assert told(record.events[0]) == ("refused", "disabled", False)


class Unclaimed(MemoryOutbox):
    """An outbox from which nothing leaves."""

    def claim(self) -> None:
        return None


class TestWhatTheResponseDecides:
    @pytest.mark.parametrize(("status", "outcome"), [(200, ("accepted", "", True)), (404, ("refused", "status", True))])
    def test_a_views_event_is_pending_until_the_status_is_known(
        self, door: Door, status: int, outcome: tuple[str, str, bool]
    ) -> None:
        @track("bought")
        def buy() -> Answer:
            return Answer()

        with watched(door, status=status, view=buy) as record:
            xr2_web.get_prompt("welcome")
            buy()
            before = told(record.events[0])

        assert before == ("pending", "status", True)
        assert [told(note) for note in record.events] == [outcome]

    @pytest.mark.parametrize(
        ("is_complete", "outcome"), [(True, ("accepted", "", True)), (False, ("refused", "aborted", True))]
    )
    def test_one_for_the_end_is_pending_until_the_response_has_left(
        self, door: Door, is_complete: bool, outcome: tuple[str, str, bool]
    ) -> None:
        @track("bought", after="response")
        def buy() -> None: ...

        scope = door.exchange.open_scope()
        scope.native = Request()
        with binding(scope):
            xr2_web.get_prompt("welcome")
            buy()
            settle(door.exchange.depart(scope, 200, dict))
        [note] = scope.record.events
        before = told(note)
        door.exchange.finish(scope, is_complete=is_complete)

        assert before == ("pending", "end", True)
        assert told(note) == outcome

    def test_a_view_that_is_called_after_an_error_has_left_makes_none(self, door: Door) -> None:
        @track("bought")
        def buy() -> Answer:
            return Answer()

        scope = door.exchange.open_scope()
        scope.native = Request(view=buy)
        with binding(scope):
            settle(door.exchange.depart(scope, 404, dict))
            buy()

        assert [told(note) for note in scope.record.events] == [("refused", "status", True)]

    def test_an_event_of_a_route_is_noted_when_it_is_decided(self, make_runtime: RuntimeMaker) -> None:
        door = Door(make_runtime(events={"POST /buy": {"event": "bought", "value": 3}}))
        with watched(door, path="/buy") as record:
            xr2_web.get_prompt("welcome")

        assert [(note.event, note.value, *told(note)) for note in record.events] == [
            ("bought", "3", "accepted", "", True)
        ]

    def test_a_field_of_a_route_that_raises_is_noted_as_refused(self, make_runtime: RuntimeMaker) -> None:
        door = Door(make_runtime(events={"POST /buy": {"event": "bought", "value": lambda call: 1 / 0}}))
        with watched(door, path="/buy") as record:
            pass

        assert [(note.event, note.state, note.why) for note in record.events] == [("bought", "refused", "invalid")]

    def test_one_whose_user_must_be_waited_for_is_one_note(self, door: Door) -> None:
        with watched(door, user_id=WAITING) as record:
            xr2_web.get_prompt("welcome")
            track_event("bought")
            before = told(record.events[0])

        assert before == ("pending", "visitor", False)
        assert [told(note) for note in record.events] == [("accepted", "", True)]

    def test_what_never_gets_a_status_is_noted_as_aborted(self, door: Door) -> None:
        @track("bought")
        def buy() -> Answer:
            return Answer()

        with suppress(RuntimeError), watched(door, view=buy) as record:
            scope = here()
            buy()
            raise RuntimeError("the application's own")
        door.exchange.finish(scope, is_complete=False)

        assert [note.why for note in record.events] == ["aborted"]


class Transaction:
    """A transaction of the framework that is open until it commits."""

    def __init__(self) -> None:
        self.is_open = True
        self._callbacks: list[Callable[[], None]] = []

    def __call__(self, callback: Callable[[], None]) -> bool:
        if self.is_open:
            self._callbacks.append(callback)
        return self.is_open

    def commit(self) -> None:
        self.is_open = False
        for callback in self._callbacks:
            callback()


class Enlisting(MemoryOutbox):
    """An outbox in the database of the one transaction that is open."""

    transaction: Transaction

    def enlist(self, entry: Entry, scope: Any, at_commit: Callable[[], None]) -> bool:
        return self.transaction(at_commit)


class TestTransactions:
    @pytest.mark.parametrize("is_enlisted", [False, True])
    def test_an_event_is_pending_until_the_commit(self, make_runtime: RuntimeMaker, is_enlisted: bool) -> None:
        transaction = Transaction()
        outbox = Enlisting(10)
        outbox.transaction = transaction
        runtime = make_runtime(outbox=lambda chosen: outbox) if is_enlisted else make_runtime(defer=transaction)
        with watched(Door(runtime)) as record:
            xr2_web.get_prompt("welcome")
            track_event("bought")
            before = told(record.events[0])
            transaction.commit()

        assert before == ("pending", "commit", False)
        assert told(record.events[0]) == ("accepted", "", False)

    def test_one_of_a_tracked_function_is_one_note(self, make_runtime: RuntimeMaker) -> None:
        transaction = Transaction()

        @track("bought", after="response")
        def buy() -> None: ...

        with watched(Door(make_runtime(defer=transaction))) as record:
            xr2_web.get_prompt("welcome")
            buy()
            before = told(record.events[0])
            transaction.commit()

        assert before == ("pending", "commit", False)
        assert [told(note) for note in record.events] == [("accepted", "", True)]

    def test_one_that_is_rolled_back_stays_pending(self, make_runtime: RuntimeMaker) -> None:
        with watched(Door(make_runtime(defer=Transaction()))) as record:
            xr2_web.get_prompt("welcome")
            track_event("bought")

        assert told(record.events[0]) == ("pending", "commit", False)


class TestWhoLooks:
    @pytest.mark.parametrize(("base_url", "is_witnessed"), [("http://127.0.0.1:8765", True), ("https://xr2.uk", False)])
    def test_somebody_does_while_xr2_is_on_this_machine(self, base_url: str, is_witnessed: bool) -> None:
        runtime = Runtime(settings.load(settings.keywords({"enabled": False, "base_url": base_url})))

        assert runtime.is_witnessed is is_witnessed

    def test_where_nobody_does_there_is_no_record_and_nothing_of_it_runs_twice(self, door: Door) -> None:
        door.exchange.runtime.is_witnessed = False

        @track("bought")
        def buy() -> Answer:
            return Answer()

        with door.visit(view=buy):
            xr2_web.get_prompt("welcome")
            receipt = track_event("thanked")
            buy()
            scope = here()

        assert receipt.accepted
        assert scope.record is None

    def test_a_request_that_does_nothing_has_none_and_nothing_is_asked(self, door: Door) -> None:
        called: list[str] = []

        def profile(frame: Any, event: str, argument: Any) -> None:
            if event == "call":
                called.append(frame.f_code.co_filename)

        with door.visit():
            pass
        sys.setprofile(profile)
        try:
            scope = door.exchange.open_scope()
        finally:
            sys.setprofile(None)

        assert scope.__dict__ == {}
        assert called == []

    def test_a_scope_that_was_bound_by_hand_has_none(self, runtime: Runtime) -> None:
        with xr2_web.scope(runtime=runtime):
            xr2_web.get_prompt("welcome")
            track_event("bought")

            assert here().record is None

    def test_a_record_does_not_grow_for_ever(self, door: Door) -> None:
        with watched(door) as record:
            for _ in range(MOST_NOTES + 2):
                track_event("bought")
            for _ in range(MOST_NOTES + 1):
                xr2_web.get_prompt("nowhere", fallback="Hello.", fresh=True)

        assert (len(record.events), len(record.prompts), record.left_out) == (MOST_NOTES, MOST_NOTES, 3)
