"""What is reported, when, and what the receipt says: ``track_event``, ``@track`` and the rules of routes."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from typing import Any

import pytest

import xr2_web
from xr2_web.errors import InvalidValue
from xr2_web.identity import asettle
from xr2_web.incoming import WAITING
from xr2_web.models import Receipt
from xr2_web.outbox import Entry, Put
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.propagation import propagate
from xr2_web.rules import Routes, Rule
from xr2_web.runtime import Runtime
from xr2_web.scope import bind, unbind

from .conftest import RuntimeMaker
from .local_xr2 import LocalXr2
from .visits import Answer, Door, Request, here


@pytest.fixture
def events(local_xr2: LocalXr2) -> Callable[..., list[dict[str, Any]]]:
    """Return what has arrived of the events of a runtime."""

    def arrived(runtime: Runtime) -> list[dict[str, Any]]:
        runtime.flush()
        return local_xr2.events()

    return arrived


Events = Callable[[Runtime], list[dict[str, Any]]]


@pytest.fixture
def bound_scope(runtime: Runtime) -> Iterator[Runtime]:
    """Bind a scope by hand in which ``welcome`` was fetched; returns its runtime."""
    with xr2_web.scope(runtime=runtime):
        xr2_web.get_prompt("welcome")
        yield runtime


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "xr2_web"]


class Lazy:
    """A value whose own code fails."""

    def __str__(self) -> str:
        raise LookupError("ada@example.org")


class Torn(dict[str, object]):
    """A mapping that another thread changes meanwhile."""

    def items(self) -> Any:
        raise RuntimeError("dictionary of ada@example.org changed size during iteration")


class Plan(Enum):
    PRO = "pro"


class TestReceipts:
    def test_accepted(self, bound_scope: Runtime, events: Events) -> None:
        receipt = xr2_web.track_event("sign_up", value=3, currency="EUR", metadata={"plan": "pro"})

        assert receipt == Receipt(accepted=True, reason=None)
        assert bool(receipt)
        (event,) = events(bound_scope)
        shown = ("event_name", "value", "currency", "metadata", "user_id", "trace_id", "slug")
        assert [event[name] for name in shown] == [
            "sign_up",
            3.0,
            "EUR",
            {"plan": "pro"},
            None,
            xr2_web.current.trace_id,
            "welcome",
        ]

    async def test_accepted_in_async_code(self, bound_scope: Runtime, events: Events) -> None:
        receipt = await xr2_web.atrack_event("sign_up", value=3, metadata={"plan": "pro"})

        assert receipt.accepted
        assert [(event["value"], event["metadata"]) for event in events(bound_scope)] == [(3.0, {"plan": "pro"})]

    def test_no_trace_in_a_scope_is_counted_and_told_once_while_developing(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture
    ) -> None:
        with xr2_web.scope(runtime=runtime):
            receipts = [xr2_web.track_event("sign_up") for _ in range(2)]

        assert receipts == [Receipt(accepted=False, reason="no_trace")] * 2
        assert runtime.counts == {"no_trace": 2}
        (line,) = told(caplog)
        assert line.startswith("xr2_web.no_trace: 'sign_up' is not sent")

    def test_no_trace_is_not_told_where_xr2_is_elsewhere(
        self, make_runtime: RuntimeMaker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Most visitors of a site in production have seen no prompt."""
        with xr2_web.scope(runtime=make_runtime(base_url="https://xr2.example")):
            receipt = xr2_web.track_event("sign_up")

        assert receipt.reason == "no_trace"
        assert told(caplog) == []

    def test_no_trace_outside_of_any_scope_names_the_way_out_once(
        self, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
    ) -> None:
        xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)

        receipts = [xr2_web.track_event("sign_up"), xr2_web.track_event("paid")]

        assert [receipt.reason for receipt in receipts] == ["no_trace", "no_trace"]
        (line,) = told(caplog)
        assert "xr2_web.scope(trace_id=...)" in line
        assert "'sign_up'" in line

    def test_duplicate_while_the_outbox_holds_the_first(self, make_runtime: RuntimeMaker) -> None:
        runtime = make_runtime(base_url="http://127.0.0.1:9")
        with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
            receipts = [xr2_web.track_event(name) for name in ("paid", "paid", "sign_up")]

        assert [receipt.reason for receipt in receipts] == [None, "duplicate", None]
        assert runtime.counts["duplicate"] == 1

    def test_full(self, make_runtime: RuntimeMaker) -> None:
        runtime = make_runtime(base_url="http://127.0.0.1:9", outbox_max_events=1)
        with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
            receipts = [xr2_web.track_event(name) for name in ("paid", "sign_up")]

        assert [receipt.reason for receipt in receipts] == [None, "full"]
        assert runtime.counts["full"] == 1

    def test_an_outbox_that_fails_is_as_good_as_full(
        self, make_runtime: RuntimeMaker, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(MemoryOutbox):
            def put(self, entry: Entry) -> Put:
                raise OSError("no space left for ada@example.org")

        @xr2_web.track("sign_up")
        def sign_up() -> str:
            return "done"

        runtime = make_runtime(outbox=lambda chosen: Broken(1))
        with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
            receipts = [xr2_web.track_event("paid"), xr2_web.track_event("paid")]
            result = sign_up()

        assert [receipt.reason for receipt in receipts] == ["full", "full"]
        assert result == "done"
        assert len([line for line in told(caplog) if "OSError" in line]) == 1
        assert "ada@example.org" not in caplog.text

    @pytest.mark.parametrize(
        ("keywords", "why"), [({"enabled": False}, "ENABLED is false"), ({"api_key": None}, "API_KEY is not set")]
    )
    async def test_disabled(
        self, make_runtime: RuntimeMaker, caplog: pytest.LogCaptureFixture, keywords: dict[str, Any], why: str
    ) -> None:
        asked: list[object] = []

        @xr2_web.track("sign_up", value=asked.append)
        def sign_up() -> str:
            return "done"

        with xr2_web.scope(runtime=make_runtime(**keywords), trace_id="evt_1"):
            receipts = [xr2_web.track_event("paid"), await xr2_web.atrack_event("", value="no number")]  # type: ignore[arg-type]
            result = sign_up()

        assert [receipt.reason for receipt in receipts] == ["disabled", "disabled"]
        assert (result, asked) == ("done", [])
        assert len(told(caplog)) == 1
        assert why in caplog.text


BAD: list[tuple[dict[str, Any], str]] = [
    ({"event": ""}, "event_name"),
    ({"event": "e" * 101}, "event_name"),
    ({"event": None}, "event_name"),
    ({"event": ["a", "list"]}, "event_name"),
    ({"event": "nul\0"}, "event_name"),
    ({"event": "\udcff"}, "event_name"),
    ({"value": "12"}, "value"),
    ({"value": True}, "value"),
    ({"value": float("nan")}, "value"),
    ({"value": float("-inf")}, "value"),
    ({"value": Decimal("sNaN")}, "value"),
    ({"value": 2**70}, "value"),
    ({"value": [1]}, "value"),
    ({"currency": ""}, "currency"),
    ({"currency": "E" * 17}, "currency"),
    ({"currency": 1}, "currency"),
    ({"metadata": ["plan"]}, "metadata"),
    ({"metadata": "plan"}, "metadata"),
    ({"metadata": {1: "one"}}, "metadata"),
    ({"metadata": {"plan": {"tags": {"a", "set"}}}}, "metadata.plan.tags"),
    ({"metadata": {"items": [0, b"bytes"]}}, "metadata.items[1]"),
    ({"metadata": {"prices": [1, float("nan")]}}, "metadata.prices[1]"),
    ({"metadata": {"who": object()}}, "metadata.who"),
    ({"metadata": {"who": Lazy()}}, "metadata.who"),
    ({"metadata": {"text": "x" * 70_000}}, "metadata"),
    ({"user_id": object()}, "user_id"),
    ({"user_id": "u" * 256}, "user_id"),
    ({"user_id": 1.5}, "user_id"),
    ({"session_id": "s" * 101}, "session_id"),
    ({"session_id": 5}, "session_id"),
    ({"trace_id": "t" * 101}, "trace_id"),
    ({"trace_id": ""}, "trace_id"),
    ({"trace_id": 7}, "trace_id"),
]


class TestInvalid:
    @pytest.mark.parametrize(("bad", "path"), BAD, ids=str)
    def test_a_bad_value_makes_no_event_and_is_told_by_its_path(
        self, bound_scope: Runtime, events: Events, caplog: pytest.LogCaptureFixture, bad: dict[str, Any], path: str
    ) -> None:
        receipt = xr2_web.track_event(**{"event": "paid", **bad})

        assert receipt.reason == "invalid"
        assert bound_scope.counts["invalid"] == 1
        (line,) = told(caplog)
        assert f"{path}: " in line
        assert events(bound_scope) == []

    @pytest.mark.parametrize(("bad", "path"), BAD[:25:5], ids=str)
    def test_it_is_found_where_there_is_no_trace_to_report_it_under(
        self, runtime: Runtime, bad: dict[str, Any], path: str
    ) -> None:
        """So that a mistake shows in development, before the first visitor has a prompt."""
        with xr2_web.scope(runtime=runtime):
            receipt = xr2_web.track_event(**{"event": "paid", **bad})

        assert receipt.reason == "invalid"

    def test_one_mistake_is_told_once(self, bound_scope: Runtime, caplog: pytest.LogCaptureFixture) -> None:
        for number in range(5):
            xr2_web.track_event("paid", metadata={"plan": {number}})

        assert bound_scope.counts["invalid"] == 5
        assert len(told(caplog)) == 1

    def test_a_value_that_fails_by_itself_is_told_by_its_kind_alone(
        self, bound_scope: Runtime, caplog: pytest.LogCaptureFixture
    ) -> None:
        receipt = xr2_web.track_event("paid", metadata=Torn(plan="pro"))

        assert receipt.reason == "invalid"
        (line,) = told(caplog)
        assert "RuntimeError" in line
        assert "ada@example.org" not in caplog.text

    @pytest.mark.parametrize(
        ("metadata", "arrives"),
        [
            ({"day": date(2026, 1, 2)}, {"day": "2026-01-02"}),
            ({"id": uuid.UUID(int=1)}, {"id": str(uuid.UUID(int=1))}),
            ({"plan": Plan.PRO}, {"plan": "pro"}),
            ({"price": Decimal("12.50")}, {"price": 12.5}),
            ({"tags": ("a", "b")}, {"tags": ["a", "b"]}),
            ({"deep": {"er": {"still": None}}}, {"deep": {"er": {"still": None}}}),
            ({"emoji": "🎉\r\n<script>"}, {"emoji": "🎉\r\n<script>"}),
            ({}, {}),
            (None, {}),
        ],
    )
    def test_what_json_has_a_form_for_arrives(
        self, bound_scope: Runtime, events: Events, metadata: Any, arrives: object
    ) -> None:
        receipt = xr2_web.track_event("paid", metadata=metadata)

        assert receipt.accepted
        assert [event["metadata"] for event in events(bound_scope)] == [arrives]


class TestTrackEvent:
    def test_a_decimal_value_arrives_as_a_number(self, bound_scope: Runtime, events: Events) -> None:
        xr2_web.track_event("paid", value=Decimal("19.99"))  # type: ignore[arg-type]

        assert [event["value"] for event in events(bound_scope)] == [19.99]

    def test_zero_is_a_value(self, bound_scope: Runtime, events: Events) -> None:
        xr2_web.track_event("paid", value=0)

        assert [event["value"] for event in events(bound_scope)] == [0.0]

    def test_metadata_that_changes_afterwards_goes_as_it_was(self, bound_scope: Runtime, events: Events) -> None:
        metadata: dict[str, Any] = {"items": ["tea"]}
        xr2_web.track_event("paid", metadata=metadata)

        metadata["items"].append("milk")
        metadata["late"] = True

        assert [event["metadata"] for event in events(bound_scope)] == [{"items": ["tea"]}]

    def test_prompt_names_the_trace(self, bound_scope: Runtime, events: Events) -> None:
        xr2_web.get_prompt("product")

        xr2_web.track_event("paid", prompt="welcome")

        assert [event["slug"] for event in events(bound_scope)] == ["welcome"]

    def test_trace_id_names_it_outside_of_any_scope(
        self, bound_scope: Runtime, local_xr2: LocalXr2, events: Events, caplog: pytest.LogCaptureFixture
    ) -> None:
        trace_id = xr2_web.current.trace_id
        default = xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)
        token = bind(None)

        receipt = xr2_web.track_event("paid", trace_id=trace_id, user_id=7, session_id="mine")

        unbind(token)
        assert receipt.accepted
        (event,) = events(default)
        assert (event["trace_id"], event["user_id"], event["session_id"]) == (trace_id, "7", "mine")
        assert told(caplog) == []

    def test_trace_id_wins_over_the_traces_of_the_scope(self, runtime: Runtime, events: Events) -> None:
        with Door(runtime).visit():
            first = xr2_web.get_prompt("welcome").trace_id
            xr2_web.get_prompt("product")

            xr2_web.track_event("paid", trace_id=first, prompt="product")

        assert [event["trace_id"] for event in events(runtime)] == [first]

    def test_without_ids_those_of_the_visitor_go_along(self, runtime: Runtime, events: Events) -> None:
        with Door(runtime).visit(user_id=42):
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("paid")
            session_id = xr2_web.current.session_id

        assert session_id
        assert [(event["user_id"], event["session_id"]) for event in events(runtime)] == [("42", session_id)]

    def test_a_named_trace_still_has_the_session_that_the_visitor_carries(
        self, runtime: Runtime, events: Events
    ) -> None:
        door = Door(runtime)
        with door.visit() as before:
            trace_id = xr2_web.get_prompt("welcome").trace_id
            session_id = xr2_web.current.session_id

        with door.visit(carried=before.token):
            xr2_web.track_event("paid", trace_id=trace_id)

        assert [event["session_id"] for event in events(runtime)] == [session_id]

    def test_named_ids_win(self, runtime: Runtime, events: Events) -> None:
        with Door(runtime).visit(user_id=42):
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("paid", user_id=uuid.UUID(int=1), session_id="mine")

        expected = [(str(uuid.UUID(int=1)), "mine")]
        assert [(event["user_id"], event["session_id"]) for event in events(runtime)] == expected

    def test_an_empty_user_id_is_none(self, runtime: Runtime, events: Events) -> None:
        with Door(runtime).visit(user_id=""):
            xr2_web.get_prompt("welcome")
            receipt = xr2_web.track_event("paid", user_id="")

        assert receipt.accepted
        assert [event["user_id"] for event in events(runtime)] == [None]

    @pytest.mark.parametrize("of", ["the call", "the visitor", "the scope"])
    def test_an_address_goes_out_as_its_keyed_hash(self, runtime: Runtime, events: Events, of: str) -> None:
        address = "ada@example.org"
        if of == "the scope":
            with xr2_web.scope(runtime=runtime, user_id=address):
                xr2_web.get_prompt("welcome")
                xr2_web.track_event("paid")
        else:
            with Door(runtime).visit(user_id=address if of == "the visitor" else None):
                xr2_web.get_prompt("welcome")
                xr2_web.track_event("paid", user_id=address if of == "the call" else None)

        assert [event["user_id"] for event in events(runtime)] == [runtime.seal.pseudonym(address)]

    def test_without_consent_no_id_goes_out_and_the_event_does(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        runtime = make_runtime(consent=lambda request: False)
        with Door(runtime).visit(user_id=42):
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("paid", user_id=42, session_id="mine")

        assert [(event["user_id"], event["session_id"]) for event in events(runtime)] == [(None, None)]

    @pytest.mark.parametrize("answer", ["raises", "is a coroutine"])
    def test_consent_that_fails_is_a_no(
        self, make_runtime: RuntimeMaker, events: Events, caplog: pytest.LogCaptureFixture, answer: str
    ) -> None:
        def consent(request: Request) -> bool:
            raise LookupError("of ada@example.org")

        async def aconsent(request: Request) -> bool:
            return True

        runtime = make_runtime(consent=consent if answer == "raises" else aconsent)
        with Door(runtime).visit(user_id=42) as request:
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("paid")

        assert request.token is None
        assert [event["user_id"] for event in events(runtime)] == [None]
        assert "taken as a no" in caplog.text
        assert "ada@example.org" not in caplog.text

    def test_a_user_that_cannot_be_found_is_told_and_the_event_goes(
        self, make_runtime: RuntimeMaker, events: Events, caplog: pytest.LogCaptureFixture
    ) -> None:
        def user_id(request: Request) -> str:
            raise LookupError("of ada@example.org")

        runtime = make_runtime(user_id=user_id)
        with Door(runtime).visit():
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("paid")

        assert [event["user_id"] for event in events(runtime)] == [None]
        assert len([line for line in told(caplog) if "user_unknown" in line and "LookupError" in line]) == 1
        assert "ada@example.org" not in caplog.text

    def test_a_custom_user_id_is_asked_with_the_frameworks_request(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        runtime = make_runtime(user_id=lambda request: request.headers["x-user"])
        with Door(runtime).visit(headers={"x-user": "u7"}, user_id="another"):
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("paid")

        assert [event["user_id"] for event in events(runtime)] == ["u7"]


class TestWaiting:
    """On a running event loop a user that is not loaded is waited for by the async half, not by ``track_event``."""

    class Late(Request):
        """Its user takes waiting."""

        def user(self) -> Any:
            return WAITING

        async def auser(self) -> Any:
            await asyncio.sleep(0)
            return "ada"

        def session(self, name: str) -> Any:
            return WAITING

        async def asession(self, name: str) -> str | None:
            await asyncio.sleep(0)
            return self.carried

    async def serve(
        self,
        runtime: Runtime,
        view: Callable[[], Any],
        *,
        slug: str | None = "welcome",
        carried: str | None = None,
        is_async: bool = True,
    ) -> None:
        """Serve a request as the async half of an adapter does; the sync half cannot wait."""
        exchange = Door(runtime).exchange
        scope = exchange.open_scope()
        scope.native = self.Late(carried=carried)
        token = bind(scope)
        try:
            if slug is not None:
                await xr2_web.aget_prompt(slug)
            result = view()
            if asyncio.iscoroutine(result):
                await result
            if is_async:
                await asettle(exchange.depart(scope, 200, dict))
        finally:
            unbind(token)
        exchange.finish(scope, is_complete=True)

    async def test_it_is_pending_and_goes_with_the_user(self, runtime: Runtime, events: Events) -> None:
        receipts: list[Receipt] = []

        await self.serve(runtime, lambda: receipts.append(xr2_web.track_event("paid")))

        assert receipts == [Receipt(accepted=False, reason="pending")]
        assert [event["user_id"] for event in events(runtime)] == ["ada"]

    async def test_where_nobody_waits_it_goes_without(self, runtime: Runtime, events: Events) -> None:
        await self.serve(runtime, lambda: xr2_web.track_event("paid"), is_async=False)

        assert [event["user_id"] for event in events(runtime)] == [None]

    async def test_what_outlives_its_request_waits_for_nobody(self, runtime: Runtime, events: Events) -> None:
        """Trap 6: `Scope.awaits_response` and, for what waits for the end, `Scope.is_ended` in `decide`."""
        works: list[Callable[[], Any]] = []
        pay = xr2_web.track("paid", after="response")(lambda: None)

        await self.serve(
            runtime, lambda: works.extend([propagate(lambda: xr2_web.track_event("worked")), propagate(pay)])
        )
        for work in works:
            work()

        assert sorted((event["event_name"], event["user_id"]) for event in events(runtime)) == [
            ("paid", None),
            ("worked", None),
        ]

    async def test_a_coroutine_settles_it_at_once(self, runtime: Runtime, events: Events) -> None:
        arrived: list[Any] = []

        async def view() -> None:
            receipt = await xr2_web.atrack_event("paid")
            arrived.extend([receipt.accepted, [event["user_id"] for event in events(runtime)]])

        await self.serve(runtime, view)

        assert arrived == [True, ["ada"]]

    async def test_a_bad_value_is_reported_at_the_call(self, runtime: Runtime, events: Events) -> None:
        receipts: list[Receipt] = []

        await self.serve(runtime, lambda: receipts.append(xr2_web.track_event("paid", value=float("nan"))))

        assert [receipt.reason for receipt in receipts] == ["invalid"]
        assert events(runtime) == []

    async def test_it_goes_as_it_was_when_it_happened(self, runtime: Runtime, events: Events) -> None:
        """Neither the metadata that changes later nor the prompt that is fetched later is the event's."""
        metadata = {"items": ["tea"]}

        async def view() -> None:
            xr2_web.track_event("paid", metadata=metadata)
            metadata["items"].append("milk")
            await xr2_web.aget_prompt("product")

        await self.serve(runtime, view)

        assert [(event["slug"], event["metadata"]) for event in events(runtime)] == [("welcome", {"items": ["tea"]})]

    @pytest.mark.parametrize("colour", ["sync", "async"])
    async def test_what_the_session_carries_is_waited_for_too(
        self, make_runtime: RuntimeMaker, events: Events, colour: str
    ) -> None:
        runtime = make_runtime(carry="session")
        with Door(runtime).visit(user_id="ada") as before:
            trace_id = xr2_web.get_prompt("welcome").trace_id
        receipts: list[Receipt] = []

        async def view() -> None:
            receipts.append(xr2_web.track_event("paid") if colour == "sync" else await xr2_web.atrack_event("paid"))

        await self.serve(runtime, view, slug=None, carried=before.token)

        assert [receipt.reason for receipt in receipts] == ["pending" if colour == "sync" else None]
        assert [(event["trace_id"], event["user_id"]) for event in events(runtime)] == [(trace_id, "ada")]

    async def test_a_prompt_fetched_after_such_an_event_is_not_the_events(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        runtime = make_runtime(carry="session")
        with Door(runtime).visit(user_id="ada") as before:
            xr2_web.get_prompt("welcome")

        async def view() -> None:
            xr2_web.track_event("paid")
            await xr2_web.aget_prompt("product")

        await self.serve(runtime, view, slug=None, carried=before.token)

        assert [event["slug"] for event in events(runtime)] == ["welcome"]

    async def test_where_nobody_waits_for_the_session_there_is_no_trace(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        runtime = make_runtime(carry="session")
        with Door(runtime).visit(user_id="ada") as before:
            xr2_web.get_prompt("welcome")

        await self.serve(runtime, lambda: xr2_web.track_event("paid"), slug=None, carried=before.token, is_async=False)

        assert events(runtime) == []
        assert runtime.counts["no_trace"] == 1

    async def test_an_async_user_id_of_the_settings_is_waited_for(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        async def user_id(request: Request) -> str:
            await asyncio.sleep(0)
            return "bob"

        runtime = make_runtime(user_id=user_id)

        await self.serve(runtime, lambda: xr2_web.track_event("paid"))

        assert [event["user_id"] for event in events(runtime)] == ["bob"]

    async def test_one_that_fails_while_it_is_waited_for_is_told(
        self, make_runtime: RuntimeMaker, events: Events, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def user_id(request: Request) -> str:
            raise LookupError("of ada@example.org")

        runtime = make_runtime(user_id=user_id)

        await self.serve(runtime, lambda: xr2_web.track_event("paid"))

        assert [event["user_id"] for event in events(runtime)] == [None]
        assert "user_unknown" in caplog.text
        assert "ada@example.org" not in caplog.text


class TestRule:
    @pytest.mark.parametrize("name", ["", "e" * 101, None, 5, "nul\0", print])
    def test_a_name_that_cannot_be_sent_is_an_error_at_decoration(self, name: Any) -> None:
        with pytest.raises(InvalidValue, match="event_name: "):
            xr2_web.track(name)

    @pytest.mark.parametrize(("options", "path"), [({"after": "commit"}, "after"), ({"when": True}, "when")])
    def test_an_option_that_cannot_work_is_an_error_at_decoration(self, options: Any, path: str) -> None:
        with pytest.raises(InvalidValue, match=f"{path}: "):
            xr2_web.track("paid", **options)

    def test_fields_are_values(self, bound_scope: Runtime, events: Events) -> None:
        @xr2_web.track(
            "paid", value=3, currency="EUR", metadata={"plan": "pro"}, prompt="welcome", user_id=7, session_id="s"
        )
        def pay() -> None: ...

        pay()

        (event,) = events(bound_scope)
        shown = ("value", "currency", "metadata", "slug", "user_id", "session_id")
        assert [event[name] for name in shown] == [3.0, "EUR", {"plan": "pro"}, "welcome", "7", "s"]

    def test_fields_are_functions_of_the_call(self, bound_scope: Runtime, events: Events) -> None:
        xr2_web.get_prompt("product")

        @xr2_web.track(
            "paid",
            value=lambda call: call.result["total"],
            currency=lambda call: call.kwargs["currency"],
            metadata=lambda call: {"items": call.args[0]},
            prompt=lambda call: "welcome",
            user_id=lambda call: call.args[1],
            session_id=lambda call: None,
        )
        def pay(items: list[str], user: int, *, currency: str) -> dict[str, Any]:
            return {"total": Decimal("5.5")}

        pay(["tea"], 7, currency="EUR")

        (event,) = events(bound_scope)
        shown = ("value", "currency", "metadata", "slug", "user_id")
        assert [event[name] for name in shown] == [5.5, "EUR", {"items": ["tea"]}, "welcome", "7"]

    def test_the_call_has_the_frameworks_request(self, runtime: Runtime, events: Events) -> None:
        @xr2_web.track("paid", metadata=lambda call: {"path": call.request.path, "failed": call.exception is not None})
        def pay() -> None: ...

        with Door(runtime).visit(path="/pay"):
            xr2_web.get_prompt("welcome")
            pay()

        assert [event["metadata"] for event in events(runtime)] == [{"path": "/pay", "failed": False}]

    @pytest.mark.parametrize("field", ["value", "currency", "metadata", "prompt", "user_id", "session_id", "when"])
    def test_a_field_that_raises_makes_no_event_and_one_log_line(
        self, bound_scope: Runtime, events: Events, caplog: pytest.LogCaptureFixture, field: str
    ) -> None:
        """Trap 30."""

        def fail(call: xr2_web.Call) -> Any:
            raise LookupError("ada@example.org")

        @xr2_web.track("paid", **{field: fail})  # type: ignore[arg-type]
        def pay() -> str:
            return "done"

        results = [pay(), pay()]

        assert results == ["done", "done"]
        assert events(bound_scope) == []
        assert bound_scope.counts["invalid"] == 2
        (line,) = told(caplog)
        assert f"its {field} raised LookupError" in line
        assert "ada@example.org" not in caplog.text

    @pytest.mark.parametrize(
        ("field", "bad", "path"),
        [
            ("value", "12", "value"),
            ("metadata", {"tags": {"a"}}, "metadata.tags"),
            ("metadata", "text", "metadata"),
            ("currency", 5, "currency"),
            ("session_id", 5, "session_id"),
        ],
    )
    async def test_a_field_that_returns_what_cannot_be_sent_is_told_by_its_path(
        self,
        bound_scope: Runtime,
        events: Events,
        caplog: pytest.LogCaptureFixture,
        field: str,
        bad: object,
        path: str,
    ) -> None:
        @xr2_web.track("paid", **{field: lambda call: bad})  # type: ignore[arg-type]
        def pay() -> str:
            return "done"

        @xr2_web.track("apaid", **{field: lambda call: bad})  # type: ignore[arg-type]
        async def apay() -> str:
            return "done"

        results = [pay(), await apay()]

        assert results == ["done", "done"]
        assert events(bound_scope) == []
        assert bound_scope.counts["invalid"] == 2
        assert [f"{path}: " in line for line in told(caplog)] == [True, True]

    @pytest.mark.parametrize(("result", "counts"), [(5, 1), (0, 0), ("", 0), ("yes", 1)])
    def test_when_decides(self, bound_scope: Runtime, events: Events, result: object, counts: int) -> None:
        @xr2_web.track("paid", when=lambda call: call.result)
        def pay() -> object:
            return result

        pay()

        assert len(events(bound_scope)) == counts
        assert "invalid" not in bound_scope.counts

    def test_where_when_says_no_no_field_is_asked(self, bound_scope: Runtime) -> None:
        asked: list[object] = []

        @xr2_web.track("paid", when=lambda call: False, value=asked.append)
        def pay() -> None: ...

        pay()

        assert asked == []

    def test_outside_of_any_scope_a_function_works_as_ever(
        self, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
    ) -> None:
        xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)

        @xr2_web.track("paid", after="response", methods=["GET"])
        def pay() -> str:
            return "done"

        assert [pay(), pay()] == ["done", "done"]
        (line,) = told(caplog)
        assert "xr2_web.scope(trace_id=...)" in line

    @pytest.mark.parametrize("colour", ["sync", "async"])
    async def test_a_fault_of_ours_or_of_an_adapter_does_not_reach_the_caller(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture, colour: str
    ) -> None:
        class Broken(Request):
            def is_response(self, result: object) -> bool:
                raise LookupError(self.user_id)

        @xr2_web.track("paid")
        def pay() -> str:
            return "done"

        @xr2_web.track("paid")
        async def apay() -> str:
            return "done"

        scope = Door(runtime).exchange.open_scope()
        scope.native = Broken(user_id="ada@example.org")
        token = bind(scope)
        result = pay() if colour == "sync" else await apay()
        unbind(token)

        assert result == "done"
        (line,) = told(caplog)
        assert "tracking_failed: LookupError" in line
        assert "is_response" in line  # the place is told, and not the message
        assert "ada@example.org" not in caplog.text


class TestGenerators:
    def test_one_that_ends_in_another_request_is_of_the_visitor_for_whom_it_began(
        self, runtime: Runtime, events: Events
    ) -> None:
        """Trap 4: it may be finished anywhere. `_Tracker.enter` takes the scope at the first step, once."""

        @xr2_web.track("read")
        def chapters() -> Iterator[int]:
            yield 1
            yield 2

        with Door(runtime).visit():
            trace_id = xr2_web.get_prompt("welcome").trace_id
            story = chapters()
            parts = [next(story)]
        with Door(runtime).visit():
            parts += story

        assert parts == [1, 2]
        assert [(event["event_name"], event["trace_id"]) for event in events(runtime)] == [("read", trace_id)]


class TestViews:
    """A view is an event when its response is no error and its method changes something."""

    @staticmethod
    def answer(
        runtime: Runtime, view: Callable[..., Any], *, status: int = 200, method: str = "POST", is_complete: bool = True
    ) -> None:
        with Door(runtime).visit(view=view, status=status, method=method, is_complete=is_complete):
            xr2_web.get_prompt("welcome")
            view()

    @pytest.mark.parametrize(("status", "counts"), [(200, 1), (302, 1), (399, 1), (400, 0), (404, 0), (500, 0)])
    def test_the_status_that_leaves_decides(self, runtime: Runtime, events: Events, status: int, counts: int) -> None:
        @xr2_web.track("paid")
        def view() -> Answer:
            return Answer(200)

        self.answer(runtime, view, status=status)

        assert len(events(runtime)) == counts

    def test_a_function_that_the_view_calls_is_an_event_whatever_the_status(
        self, runtime: Runtime, events: Events
    ) -> None:
        @xr2_web.track("paid")
        def pay() -> str:
            return "done"

        def view() -> None:
            pay()

        self.answer(runtime, view, status=500)

        assert [event["event_name"] for event in events(runtime)] == ["paid"]

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
    def test_a_method_that_only_shows_is_no_event(self, runtime: Runtime, events: Events, method: str) -> None:
        """Trap 29."""

        @xr2_web.track("paid")
        def view() -> Answer:
            return Answer()

        self.answer(runtime, view, method=method)

        assert events(runtime) == []

    def test_a_skipped_get_is_told_once_by_name(self, runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
        @xr2_web.track("paid")
        def buy() -> Answer:
            return Answer()

        for method in ("GET", "GET", "HEAD"):
            self.answer(runtime, buy, method=method)

        (line,) = told(caplog)
        assert "buy" in line
        assert "'paid'" in line
        assert "methods={'GET'}" in line

    def test_once_it_is_told_a_get_asks_when_no_more(self, runtime: Runtime) -> None:
        asked: list[object] = []

        @xr2_web.track("paid", when=lambda call: asked.append(call) or True)
        def view() -> Answer:
            return Answer()

        for _ in range(3):
            self.answer(runtime, view, method="GET")

        assert len(asked) == 1

    @pytest.mark.parametrize("when", [lambda call: False, lambda call: 1 / 0])
    def test_a_get_that_would_have_been_none_as_a_post_is_not_told(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture, when: Any
    ) -> None:
        @xr2_web.track("paid", when=when)
        def view() -> Answer:
            return Answer()

        self.answer(runtime, view, method="GET")

        assert told(caplog) == []

    @pytest.mark.parametrize("methods", [["get"], "GET", {"GET", "POST"}])
    def test_methods_names_those_that_count(self, runtime: Runtime, events: Events, methods: Any) -> None:
        @xr2_web.track("opened", methods=methods)
        def view() -> Answer:
            return Answer()

        self.answer(runtime, view, method="GET")
        self.answer(runtime, view, method="PUT")

        assert len(events(runtime)) == 1

    def test_a_handler_named_get_says_so_itself(self, runtime: Runtime, events: Events) -> None:
        @xr2_web.track("opened")
        def get() -> Answer:
            return Answer()

        self.answer(runtime, get, method="GET")

        assert len(events(runtime)) == 1

    @pytest.mark.parametrize(("status", "is_complete", "counts"), [(200, True, 1), (200, False, 0), (404, True, 0)])
    def test_after_the_response_waits_until_it_left_as_a_whole(
        self, runtime: Runtime, events: Events, status: int, is_complete: bool, counts: int
    ) -> None:
        @xr2_web.track("paid", after="response")
        def view() -> Answer:
            return Answer()

        self.answer(runtime, view, status=status, is_complete=is_complete)

        assert len(events(runtime)) == counts
        assert runtime.counts.get("aborted", 0) == (not is_complete)

    def test_the_prompt_of_the_thank_you_page_is_not_what_sold(self, runtime: Runtime, events: Events) -> None:
        """What waits for the response belongs to the prompts of the moment in which it happened."""

        @xr2_web.track("paid", after="response")
        def place_order() -> str:
            return "done"

        def view() -> None:
            place_order()
            xr2_web.get_prompt("product")

        self.answer(runtime, view)

        assert [event["slug"] for event in events(runtime)] == ["welcome"]

    def test_metadata_that_changes_before_the_response_left_goes_as_it_was(
        self, runtime: Runtime, events: Events
    ) -> None:
        cart = {"items": ["tea"]}

        @xr2_web.track("paid", metadata=lambda call: cart)
        def view() -> Answer:
            return Answer()

        with Door(runtime).visit(view=view):
            xr2_web.get_prompt("welcome")
            view()
            cart["items"].clear()

        assert [event["metadata"] for event in events(runtime)] == [{"items": ["tea"]}]


class TestTransactions:
    """An event inside of a transaction is made at its commit, and never after a rollback."""

    class Transaction:
        """Defers while it is open."""

        def __init__(self) -> None:
            self.is_open = True
            self.waiting: list[Callable[[], None]] = []

        def __call__(self, callback: Callable[[], None]) -> bool:
            if self.is_open:
                self.waiting.append(callback)
            return self.is_open

        def commit(self) -> None:
            self.is_open = False
            for callback in self.waiting:
                callback()

    def test_track_event_is_pending_until_the_commit(self, make_runtime: RuntimeMaker, events: Events) -> None:
        """Trap 13."""
        transaction = self.Transaction()
        runtime = make_runtime(defer=transaction)
        with xr2_web.scope(runtime=runtime):
            xr2_web.get_prompt("welcome")
            receipt = xr2_web.track_event("paid")
        before = events(runtime)

        transaction.commit()

        assert receipt == Receipt(accepted=False, reason="pending")
        assert before == []
        assert [event["event_name"] for event in events(runtime)] == ["paid"]

    def test_an_outbox_of_the_same_database_writes_the_event_of_a_function_in_the_transaction(
        self, make_runtime: RuntimeMaker
    ) -> None:
        """It is not put after the commit: a process that is killed in between would lose it."""
        enlisted: list[str] = []

        class OfTheSameDatabase(MemoryOutbox):
            def enlist(self, entry: Entry, scope: object, at_commit: Callable[[], None]) -> bool:
                enlisted.append(entry.event_name)
                return True

        @xr2_web.track("tracked")
        def pay() -> None: ...

        transaction = self.Transaction()
        runtime = make_runtime(defer=transaction, outbox=lambda chosen: OfTheSameDatabase(10))
        with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
            pay()
            xr2_web.track_event("reported")

        assert enlisted == ["tracked", "reported"]
        assert transaction.waiting == []

    def test_a_transaction_that_cannot_be_asked_costs_the_event_and_nothing_else(
        self, make_runtime: RuntimeMaker, events: Events, caplog: pytest.LogCaptureFixture
    ) -> None:
        """SQLAlchemy's sessions fail so where another thread is at work with them."""

        def changed_meanwhile(callback: object) -> bool:
            raise RuntimeError("dictionary changed size during iteration")

        runtime = make_runtime(defer=changed_meanwhile)
        with xr2_web.scope(runtime=runtime):
            xr2_web.get_prompt("welcome")
            receipts = [xr2_web.track_event("paid"), xr2_web.track_event("paid")]

        assert receipts == [Receipt(accepted=False, reason="full")] * 2
        assert events(runtime) == []
        assert runtime.counts["full"] == 2
        assert [record.getMessage() for record in caplog.records] == [
            "xr2_web.outbox_failed: an event could not be kept: RuntimeError"
        ]

    def test_a_tracked_function_too_and_as_it_was_when_it_returned(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        """Trap 12: captured callbacks run when the scope is long unbound."""
        transaction = self.Transaction()
        runtime = make_runtime(defer=transaction)
        cart = {"items": ["tea"]}

        @xr2_web.track("paid", metadata=lambda call: cart)
        def pay() -> None: ...

        with Door(runtime).visit(user_id="ada"):
            xr2_web.get_prompt("welcome")
            pay()
            cart["items"].clear()
            xr2_web.get_prompt("product")
        before = events(runtime)

        transaction.commit()

        assert before == []
        (event,) = events(runtime)
        assert (event["slug"], event["user_id"], event["metadata"]) == ("welcome", "ada", {"items": ["tea"]})

    def test_what_is_rolled_back_never_was(self, make_runtime: RuntimeMaker, events: Events) -> None:
        transaction = self.Transaction()
        runtime = make_runtime(defer=transaction)

        @xr2_web.track("signed_up")
        def sign_up() -> None: ...

        with xr2_web.scope(runtime=runtime):
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("paid")
            sign_up()
        transaction.waiting.clear()
        transaction.commit()

        assert events(runtime) == []

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    @pytest.mark.parametrize("rolled_back", [None, 0, 1])
    def test_an_event_in_two_transactions_is_made_once_both_have_committed(
        self, make_runtime: RuntimeMaker, events: Events, order: tuple[int, int], rolled_back: int | None
    ) -> None:
        """The framework's own, and one that the application has told of."""
        transactions = [self.Transaction(), self.Transaction()]
        runtime = make_runtime(defer=transactions[0])
        with Door(runtime).visit():
            xr2_web.get_prompt("welcome")
            here().enter_transaction(transactions[1])
            xr2_web.track_event("paid")
        seen = []

        for each in order:
            if each == rolled_back:
                transactions[each].waiting.clear()
            transactions[each].commit()
            seen.append([event["event_name"] for event in events(runtime)])

        assert seen == [[], ["paid"] if rolled_back is None else []]

    def test_a_view_whose_part_was_rolled_back_is_no_event_though_it_answers(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        transaction = self.Transaction()
        runtime = make_runtime(defer=transaction)

        @xr2_web.track("paid")
        def view() -> Answer:
            return Answer(200)

        with Door(runtime).visit(view=view):
            xr2_web.get_prompt("welcome")
            view()
            transaction.waiting.clear()
            transaction.is_open = False

        assert events(runtime) == []


ORDERS = {"POST /orders/{id}": {"event": "paid", "value": lambda call: int(call.kwargs["id"])}}


class TestRoutes:
    @staticmethod
    def serve(runtime: Runtime, **about: Any) -> None:
        with Door(runtime).visit(**about):
            xr2_web.get_prompt("welcome")

    def test_a_name_of_the_route(self, make_runtime: RuntimeMaker, events: Events) -> None:
        runtime = make_runtime(events={"shop:checkout": "paid"})

        self.serve(runtime, route_names=("shop:checkout",))

        assert [event["event_name"] for event in events(runtime)] == ["paid"]

    def test_the_first_name_that_has_a_rule_counts(self, make_runtime: RuntimeMaker, events: Events) -> None:
        runtime = make_runtime(events={"checkout": "paid", "view": "viewed"})

        self.serve(runtime, route_names=("unknown", "checkout", "view"))

        assert [event["event_name"] for event in events(runtime)] == ["paid"]

    def test_a_method_and_a_path(self, make_runtime: RuntimeMaker, events: Events) -> None:
        runtime = make_runtime(events=ORDERS)

        self.serve(runtime, path="/orders/17")

        assert [(event["event_name"], event["value"]) for event in events(runtime)] == [("paid", 17.0)]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/orders/17"),
            ("PUT", "/orders/17"),
            ("POST", "/orders/"),
            ("POST", "/orders/17/"),
            ("POST", "/orders/17/items"),
            ("POST", "/shop/orders/17"),
            ("POST", "/ordersx17"),
        ],
    )
    def test_another_method_or_path(self, make_runtime: RuntimeMaker, events: Events, method: str, path: str) -> None:
        runtime = make_runtime(events=ORDERS)

        self.serve(runtime, method=method, path=path)

        assert events(runtime) == []

    def test_a_dot_in_a_path_is_a_dot(self, make_runtime: RuntimeMaker, events: Events) -> None:
        runtime = make_runtime(events={"POST /buy.now": "paid"})

        self.serve(runtime, path="/buyXnow")

        assert events(runtime) == []

    @pytest.mark.parametrize("rule", ["GET /thanks", "get /thanks"])
    def test_a_rule_that_says_get_counts_a_get(self, make_runtime: RuntimeMaker, events: Events, rule: str) -> None:
        runtime = make_runtime(events={rule: "thanked"})

        self.serve(runtime, method="GET", path="/thanks")

        assert [event["event_name"] for event in events(runtime)] == ["thanked"]

    def test_a_named_route_counts_no_get_and_says_so_once(
        self, make_runtime: RuntimeMaker, events: Events, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Trap 29, for a route: the rule of `Routes.find` admits no method that only shows."""
        runtime = make_runtime(events={"checkout": "paid"})

        for _ in range(2):
            self.serve(runtime, method="GET", route_names=("checkout",))

        assert events(runtime) == []
        (line,) = told(caplog)
        assert "checkout answered a GET" in line

    def test_options_are_those_of_track(self, make_runtime: RuntimeMaker, events: Events) -> None:
        options: Mapping[str, Any] = {
            "event": "paid",
            "value": lambda call: call.result[0],
            "currency": "EUR",
            "metadata": lambda call: {"type": call.result[1].get("content-type"), "path": call.request.path},
            "prompt": "welcome",
            "methods": ["GET"],
            "when": lambda call: call.kwargs["id"] != 5,
        }
        runtime = make_runtime(events={"order": options})

        for number in (5, 6):
            self.serve(runtime, method="GET", path="/o", route_names=("order",), route_parameters={"id": number})

        (event,) = events(runtime)
        assert (event["value"], event["currency"]) == (200.0, "EUR")
        assert event["metadata"] == {"type": None, "path": "/o"}

    @pytest.mark.parametrize(("status", "counts"), [(200, 1), (303, 1), (400, 0), (500, 0)])
    def test_an_error_is_no_event(self, make_runtime: RuntimeMaker, events: Events, status: int, counts: int) -> None:
        runtime = make_runtime(events={"checkout": "paid"})

        self.serve(runtime, route_names=("checkout",), status=status)

        assert len(events(runtime)) == counts

    def test_where_it_is_an_error_no_field_is_asked(self, make_runtime: RuntimeMaker) -> None:
        asked: list[object] = []
        runtime = make_runtime(events={"checkout": {"event": "paid", "value": asked.append}})

        self.serve(runtime, route_names=("checkout",), status=404)

        assert asked == []

    def test_a_response_that_did_not_leave_as_a_whole_is_no_event(
        self, make_runtime: RuntimeMaker, events: Events
    ) -> None:
        """Trap 5: a disconnect looks like success."""
        runtime = make_runtime(events={"checkout": "paid"})

        self.serve(runtime, route_names=("checkout",), is_complete=False)

        assert events(runtime) == []
        assert runtime.counts["aborted"] == 1

    def test_a_field_that_raises_is_no_event(self, make_runtime: RuntimeMaker, events: Events) -> None:
        runtime = make_runtime(events={"checkout": {"event": "paid", "value": lambda call: 1 / 0}})

        self.serve(runtime, route_names=("checkout",))

        assert events(runtime) == []
        assert runtime.counts["invalid"] == 1

    def test_without_rules_there_are_none(self) -> None:
        assert not Routes({})
        assert Routes({"checkout": {"event": "paid"}})

    def test_outside_of_a_request_there_is_no_route(self, runtime: Runtime) -> None:
        with xr2_web.scope(runtime=runtime):
            assert Routes(ORDERS).find(runtime, here(), 200, {}) == []


class TestRedirected:
    @pytest.mark.parametrize(
        ("result", "expected"),
        [
            (Answer(302), True),
            (Answer(303), True),
            (Answer(HTTPStatus.TEMPORARY_REDIRECT), True),
            (Answer(200), False),
            (Answer(400), False),
            (("", 302), True),
            (("", 302, {"Location": "/"}), True),
            (("", HTTPStatus.FOUND), True),
            ((302, {}), True),
            (("", 200), False),
            ((Answer(302), {"X-Header": "1"}), True),
            ((Answer(302), 200), False),
            ((Answer(200), 302), True),
            ("302", False),
            (302, True),
            (None, False),
            ((), False),
        ],
    )
    def test_it_knows_a_redirect_as_frameworks_write_them(self, result: object, expected: bool) -> None:
        assert xr2_web.redirected(xr2_web.Call((), {}, result)) is expected

    def test_as_when_it_tells_the_valid_form_from_the_invalid(self, bound_scope: Runtime, events: Events) -> None:
        @xr2_web.track("signed_up", when=xr2_web.redirected, value=lambda call: call.args[0])
        def register(age: int) -> Answer:
            return Answer(302 if age >= 18 else 200)

        register(7)
        register(18)

        assert [event["value"] for event in events(bound_scope)] == [18.0]


class TestSecrecy:
    def test_nothing_personal_or_secret_is_logged(
        self, make_runtime: RuntimeMaker, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "xr2_web")
        secret = "ada@example.org"
        runtime = make_runtime(secret_key="SECRET-KEY", user_id=lambda request: [secret])
        fields: list[dict[str, Any]] = [
            {"user_id": secret},
            {"user_id": [secret]},
            {"metadata": {"who": secret, "why": {secret}}},
            {"metadata": {"who": secret * 10_000}},
            {"value": secret},
            {"currency": secret * 2},
            {"session_id": secret * 20},
            {"trace_id": secret * 20},
        ]
        with Door(runtime).visit(carried="forged-" + secret):
            xr2_web.get_prompt("welcome")
            for number, each in enumerate(fields):
                xr2_web.track_event(f"event_{number}", **each)
            xr2_web.track_event("refused", trace_id=f"evt_{secret}")
        runtime.flush()

        assert len(told(caplog)) >= len(fields)
        for hidden in (secret, "SECRET-KEY", local_xr2.api_key, "You greet people"):
            assert hidden not in caplog.text

    def test_a_rule_of_the_settings_is_checked_at_the_start(self) -> None:
        with pytest.raises(InvalidValue):
            Rule.of({"event": ""})
