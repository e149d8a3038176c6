"""What is bound to a request, seen through the exchange as an adapter drives it."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

import xr2_web
from xr2_web.bodies import AsyncBody, Body
from xr2_web.models import Prompt, Trace
from xr2_web.propagation import propagate
from xr2_web.runtime import Runtime
from xr2_web.scope import MOST_TRACES, Scope, bind, binding, bound, new_trace, unbind

from .conftest import RuntimeMaker
from .local_xr2 import LocalXr2
from .visits import DAY, Clock, Door, Request, here

other = contextvars.ContextVar("other", default="nothing")


@pytest.fixture
def door(runtime: Runtime) -> Door:
    return Door(runtime)


def fetch(*slugs: str) -> list[str | None]:
    return [xr2_web.get_prompt(slug).trace_id for slug in slugs]


class TestBinding:
    def test_nothing_is_bound_at_first(self) -> None:
        assert bound() is None

    def test_what_is_bound_is_seen_until_it_is_unbound(self, runtime: Runtime) -> None:
        scope = Scope.by_hand(runtime)

        token = bind(scope)
        inside = bound()
        unbind(token)

        assert inside is scope
        assert bound() is None

    def test_a_block_unbinds_when_it_raises(self, runtime: Runtime) -> None:
        with pytest.raises(LookupError), binding(Scope.by_hand(runtime)):
            raise LookupError

        assert bound() is None

    def test_an_inner_block_gives_back_the_outer_scope(self, runtime: Runtime) -> None:
        outer, inner = Scope.by_hand(runtime), Scope.by_hand(runtime)

        with binding(outer):
            with binding(inner):
                within = bound()
            after = bound()

        assert (within, after) == (inner, outer)

    def test_a_child_task_changes_the_scope_of_its_parent(self, door: Door) -> None:
        """Trap 1: a value set in a task is lost; a mutation of the shared scope is not."""

        async def view() -> str | None:
            task = asyncio.create_task(xr2_web.aget_prompt("welcome"))
            await task
            return xr2_web.current.trace_id

        with door.visit() as request:
            found = asyncio.run(view())

        assert found
        assert request.token

    def test_a_second_request_on_the_thread_begins_empty(self, door: Door) -> None:
        """Trap 23."""
        with door.visit():
            fetch("welcome")

        with door.visit():
            found = (xr2_web.current.trace_id, xr2_web.current.session_id)

        assert found == (None, None)


class TestIdle:
    def test_an_idle_request_makes_nothing_but_its_scope(self, door: Door) -> None:
        with door.visit(carried="a token that nobody reads") as request:
            attributes = vars(here()).copy()

        assert attributes == {"native": request}
        assert request.token is None

    def test_an_idle_request_counts_nothing_and_starts_no_thread(self, door: Door, runtime: Runtime) -> None:
        before = threading.active_count()

        with door.visit(carried="forged"):
            pass

        assert runtime.counts == {}
        assert threading.active_count() == before

    def test_the_neutral_view_is_made_once_and_on_first_use(self, runtime: Runtime) -> None:
        shown: list[object] = []

        class Silent:
            def load(self, scope: Scope) -> bool:
                return True

            async def aload(self, scope: Scope) -> None: ...

        def show(native: Any) -> Request:
            shown.append(native)
            return Request()

        scope = Scope.kind_for(runtime, show, Silent(), is_watched=False)()
        scope.native = "native"
        before = list(shown)

        views = [scope.incoming, scope.incoming]

        assert before == []
        assert shown == ["native"]
        assert views[0] is views[1]


class TestManyTraces:
    """A WebSocket may fetch for hours."""

    @pytest.fixture
    def scope(self, runtime: Runtime) -> Scope:
        scope = Scope.by_hand(runtime)
        for number in range(MOST_TRACES + 500):
            scope.add(Trace("welcome", f"evt_{number}", 1, 1_700_000_000))
        return scope

    def test_the_first_and_the_last_are_kept(self, scope: Scope) -> None:
        assert len(scope.traces) == MOST_TRACES
        assert scope.traces[0].trace_id == "evt_0"
        assert scope.traces[1].trace_id == "evt_501"
        assert scope.traces[-1].trace_id == f"evt_{MOST_TRACES + 499}"

    @pytest.mark.parametrize(
        ("fetched", "expected"), [(1, "evt_0"), (2, "evt_0"), (501, "evt_0"), (502, "evt_501"), (1400, "evt_1399")]
    )
    def test_an_event_finds_the_trace_of_its_moment_or_the_last_before_it_that_is_kept(
        self, scope: Scope, fetched: int, expected: str
    ) -> None:
        found = scope.choose("last", None, 1_700_000_001, fetched=fetched)

        assert scope.fetched == MOST_TRACES + 500
        assert found is not None
        assert found.trace_id == expected

    def test_an_event_from_before_the_first_has_none(self, scope: Scope) -> None:
        assert scope.choose("last", None, 1_700_000_001, fetched=0) is None


class TestPropagate:
    def test_a_plain_thread_sees_nothing_without_it(self, runtime: Runtime) -> None:
        with ThreadPoolExecutor(1) as threads, binding(Scope.by_hand(runtime)):
            seen = threads.submit(bound).result(5)

        assert seen is None

    def test_it_carries_our_scope_and_nothing_else(self, runtime: Runtime) -> None:
        """Trap 27: a whole copied context would drag the framework's request along."""
        scope = Scope.by_hand(runtime)
        token = other.set("something")

        with ThreadPoolExecutor(1) as threads, binding(scope):
            seen = threads.submit(propagate(lambda: (bound(), other.get()))).result(5)
        other.reset(token)

        assert seen == (scope, "nothing")

    def test_the_thread_is_free_of_it_afterwards_even_after_an_exception(self, runtime: Runtime) -> None:
        def fail() -> None:
            raise LookupError("of the user")

        with ThreadPoolExecutor(1) as threads:
            with binding(Scope.by_hand(runtime)):
                failing = threads.submit(propagate(fail))
            raised = failing.exception(5)
            left = threads.submit(bound).result(5)

        assert repr(raised) == "LookupError('of the user')"
        assert left is None

    def test_it_takes_the_scope_of_where_it_was_made(self, runtime: Runtime) -> None:
        """A task that outlives its request: trap 6."""
        scope = Scope.by_hand(runtime)
        with binding(scope):
            look = propagate(bound)

        with binding(Scope.by_hand(runtime)):
            seen = look()

        assert seen is scope

    def test_outside_of_a_scope_it_hides_the_one_where_it_is_called(self, runtime: Runtime) -> None:
        look = propagate(bound)

        with binding(Scope.by_hand(runtime)):
            seen = look()

        assert seen is None

    def test_arguments_result_and_name_pass_through(self) -> None:
        @propagate
        def price(amount: int, *, currency: str) -> str:
            """Tell it."""
            return f"{amount} {currency}"

        assert price(3, currency="EUR") == "3 EUR"
        assert (price.__name__, price.__doc__) == ("price", "Tell it.")

    def test_a_coroutine_function_sees_the_scope_while_it_runs(self, runtime: Runtime) -> None:
        """Traps 6 and 27."""
        scope = Scope.by_hand(runtime)

        async def look() -> Scope | None:
            await asyncio.sleep(0)
            return bound()

        with ThreadPoolExecutor(1) as threads:
            with binding(scope):
                carried = propagate(look)
            seen = threads.submit(lambda: (asyncio.run(carried()), bound())).result(5)  # type: ignore[arg-type]

        assert seen == (scope, None)

    def test_a_thread_fetches_and_tracks_for_the_request(
        self, door: Door, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        def work() -> None:
            fetch("welcome")
            xr2_web.track_event("sign_up")

        with door.visit() as request:
            thread = threading.Thread(target=propagate(work))
            thread.start()
            thread.join(5)
        runtime.flush()

        (trace,) = local_xr2.traces()
        assert [event["event_name"] for event in trace["events"]] == ["sign_up"]
        assert request.token

    def test_what_runs_after_the_request_still_has_its_trace(
        self, door: Door, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        """Trap 6: a detached task tracks later."""
        with door.visit():
            fetch("welcome")
            later = propagate(lambda: xr2_web.track_event("sign_up"))

        receipt = later()
        runtime.flush()

        assert receipt.accepted
        assert [event["event_name"] for event in local_xr2.events()] == ["sign_up"]


class TestChoose:
    def test_the_last_trace_is_chosen(self, door: Door) -> None:
        with door.visit():
            *_, last = fetch("welcome", "product")
            chosen = xr2_web.current.trace_id

        assert chosen == last

    def test_the_first_is_chosen_where_attribution_says_so(self, make_runtime: RuntimeMaker) -> None:
        with Door(make_runtime(attribution="first")).visit():
            first, _ = fetch("welcome", "product")
            chosen = xr2_web.current.trace_id

        assert chosen == first

    def test_a_slug_chooses_its_last_trace(self, door: Door, runtime: Runtime, local_xr2: LocalXr2) -> None:
        with door.visit():
            fetch("welcome")
            again = xr2_web.get_prompt("welcome", fresh=True).trace_id
            fetch("product")
            xr2_web.track_event("sign_up", prompt="welcome")
            missing = xr2_web.track_event("sign_up", prompt="unknown")
        runtime.flush()

        assert missing.reason == "no_trace"
        assert [event["trace_id"] for event in local_xr2.events()] == [again]

    @pytest.mark.parametrize(("age", "is_alive"), [(30 * DAY - 60, True), (30 * DAY + 60, False)])
    def test_a_trace_is_not_used_after_the_30_days_that_the_server_keeps_it(
        self, make_runtime: RuntimeMaker, age: float, is_alive: bool
    ) -> None:
        clock = Clock()
        with Door(make_runtime(chance=clock.chance)).visit():
            fetch("welcome")
            clock.ahead = age

            chosen = xr2_web.current.trace_id
            receipt = xr2_web.track_event("sign_up")

        assert (chosen is not None) is is_alive
        assert receipt.reason == (None if is_alive else "no_trace")

    def test_where_the_first_has_expired_the_next_is_the_first(self, make_runtime: RuntimeMaker) -> None:
        clock = Clock()
        with Door(make_runtime(attribution="first", chance=clock.chance)).visit():
            fetch("welcome")
            clock.ahead = 20 * DAY
            (second,) = fetch("product")
            clock.ahead = 31 * DAY

            chosen = xr2_web.current.trace_id

        assert chosen == second

    def test_a_fallback_has_no_trace_to_bind(self) -> None:
        assert new_trace(Prompt("welcome", is_fallback=True)) is None

    def test_a_trace_is_of_the_prompt_and_the_moment(self) -> None:
        prompt = Prompt("welcome", version_number=3, trace_id="evt_1")

        assert new_trace(prompt, 1234.5) == Trace("welcome", "evt_1", 3, 1234)


class TestCarried:
    """What a visitor brings along, and whose it is."""

    @pytest.fixture
    def ada(self, door: Door) -> Request:
        """Ada has looked at a prompt."""
        with door.visit(user_id="ada") as request:
            fetch("welcome")
        return request

    @contextmanager
    def back(self, door: Door, before: Request, user_id: str | None) -> Iterator[Request]:
        with door.visit(carried=before.token, user_id=user_id) as request:
            yield request

    def test_the_visitor_comes_back_with_traces_and_session(self, door: Door, ada: Request) -> None:
        with self.back(door, ada, "ada") as request:
            found = [trace.slug for trace in here().traces]
            session = xr2_web.current.session_id

        carried = door.exchange.runtime.seal.read(ada.token or "")
        assert carried is not None
        assert found == ["welcome"]
        assert session == carried.session_id
        assert request.token is None  # nothing has changed

    def test_new_traces_come_after_the_carried_ones(self, door: Door, ada: Request) -> None:
        with self.back(door, ada, "ada") as request:
            fetch("product")

        with self.back(door, request, "ada"):
            found = [trace.slug for trace in here().traces]

        assert found == ["welcome", "product"]

    def test_an_event_of_another_user_drops_them_and_begins_a_session(
        self, door: Door, ada: Request, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        """Trap 31: a shared computer must not credit A's prompt with B's purchase."""
        with self.back(door, ada, "bob") as bob:
            before = xr2_web.current.session_id
            receipts = [xr2_web.track_event("paid"), xr2_web.track_event("paid_again")]
            after = xr2_web.current.session_id
        runtime.flush()

        assert [receipt.reason for receipt in receipts] == ["other_user", "other_user"]
        assert after not in (None, before)
        assert local_xr2.events() == []
        assert runtime.seal.read(bob.token or "") == (after, runtime.seal.pseudonym("bob"), ())

    def test_what_the_other_user_has_fetched_in_this_request_stays(
        self, door: Door, ada: Request, runtime: Runtime, local_xr2: LocalXr2
    ) -> None:
        with self.back(door, ada, "bob"):
            (own,) = fetch("product")
            receipt = xr2_web.track_event("paid")
        runtime.flush()

        assert receipt.accepted
        assert [event["trace_id"] for event in local_xr2.events()] == [own]

    def test_a_third_user_finds_that_traces_were_lost(self, door: Door, ada: Request) -> None:
        with self.back(door, ada, None):
            fetch("product")
            reasons = [xr2_web.track_event(f"paid_{name}", user_id=name).reason for name in ("bob", "eve")]
            reasons.append(xr2_web.track_event("paid", user_id="eve", prompt="welcome").reason)

        assert reasons == [None, None, "other_user"]

    def test_the_same_user_keeps_them(self, door: Door, ada: Request) -> None:
        with self.back(door, ada, "ada"):
            receipt = xr2_web.track_event("paid")

        assert receipt.accepted

    def test_who_is_not_logged_in_keeps_them(self, door: Door, ada: Request) -> None:
        with self.back(door, ada, None):
            receipt = xr2_web.track_event("paid")

        assert receipt.accepted

    def test_the_first_user_seen_takes_over_what_nobody_owned(self, door: Door) -> None:
        with door.visit() as anonymous:
            fetch("welcome")
        with self.back(door, anonymous, "ada") as ada:
            receipt = xr2_web.track_event("sign_up")

        with self.back(door, ada, "bob"):
            others = xr2_web.track_event("paid")

        assert receipt.accepted
        assert others.reason == "other_user"

    def test_a_user_is_known_under_the_older_signing_key(self, make_runtime: RuntimeMaker) -> None:
        """The keyed hash of a user is another one after a rotation; the user is not."""
        with Door(make_runtime(keys=lambda: ["old"])).visit(user_id="ada") as before:
            fetch("welcome")
        rotated = make_runtime(keys=lambda: ["new", "old"])

        with self.back(Door(rotated), before, "ada") as after:
            receipt = xr2_web.track_event("paid")

        assert receipt.accepted
        carried = rotated.seal.read(after.token or "")
        assert carried is not None
        assert carried.owner == rotated.seal.pseudonym("ada")

    def test_another_user_is_another_one_under_every_key(self, make_runtime: RuntimeMaker) -> None:
        with Door(make_runtime(keys=lambda: ["old"])).visit(user_id="ada") as before:
            fetch("welcome")

        with self.back(Door(make_runtime(keys=lambda: ["new", "old"])), before, "bob"):
            receipt = xr2_web.track_event("paid")

        assert receipt.reason == "other_user"


class TestThreads:
    def test_traces_of_many_threads_are_all_kept(self, door: Door) -> None:
        start = threading.Barrier(8)

        def add(name: str) -> None:
            start.wait(5)
            for number in range(100):
                here().add(Trace(name, f"{name}_{number}", 1, 4_000_000_000))

        with door.visit(), ThreadPoolExecutor(8) as threads:
            for each in [threads.submit(propagate(add), f"thread_{number}") for number in range(8)]:
                each.result(10)
            traces, session = here().traces, here().session_id

        assert len({trace.trace_id for trace in traces}) == 800
        assert session

    def test_threads_that_begin_a_session_begin_the_same(self, door: Door) -> None:
        start = threading.Barrier(8)

        def begin() -> str | None:
            start.wait(5)
            here().add(Trace("welcome", "evt_1", 1, 4_000_000_000))
            return here().session_id

        with door.visit(), ThreadPoolExecutor(8) as threads:
            sessions = {each.result(5) for each in [threads.submit(propagate(begin)) for _ in range(8)]}

        assert len(sessions) == 1

    def test_each_waiting_event_is_handed_over_once(self, runtime: Runtime) -> None:
        scope = Scope.by_hand(runtime)
        for number in range(1000):
            scope.wait_for_end(number)

        with ThreadPoolExecutor(8) as threads:
            taken = [each.result(5) for each in [threads.submit(scope.take_on_end) for _ in range(8)]]

        assert sorted(taken, key=len)[:-1] == [[]] * 7
        assert max(taken, key=len) == list(range(1000))

    def test_two_threads_that_read_what_is_carried_take_it_once(self, make_runtime: RuntimeMaker) -> None:
        """Both ask CONSENT at once, which no lock may be held for; the slower finds what the faster has added."""
        asked, go_on = threading.Semaphore(0), threading.Event()

        def consent(request: Request) -> bool:
            asked.release()
            if request.carried and threading.current_thread().name == "slow":
                go_on.wait(5)
            return True

        door = Door(make_runtime(consent=consent))
        with door.visit() as before:
            fetch("welcome")
        with door.visit(carried=before.token):
            slow = threading.Thread(target=propagate(lambda: here().touch()), name="slow")
            slow.start()
            asked.acquire(timeout=5)
            fetch("product")
            go_on.set()
            slow.join(5)
            found = [trace.slug for trace in here().traces]

        assert found == ["welcome", "product"]

    def test_a_child_forked_while_a_thread_changed_a_scope_can_change_its_own(self) -> None:
        program = """
import os, signal, threading, warnings
from xr2_web.models import Trace
from xr2_web.scope import Scope, _lock
warnings.simplefilter("ignore")
held, end = threading.Event(), threading.Event()

def hold():
    with _lock:
        held.set(); end.wait()

thread = threading.Thread(target=hold)
thread.start(); held.wait(5)
if (child := os.fork()) == 0:
    signal.alarm(3)
    mine = Scope.by_hand(None)
    mine.add(Trace("welcome", "evt_1", 1, 0))
    os._exit(len(mine.traces) - 1)
_, status = os.waitpid(child, 0)
end.set(); thread.join()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""

        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20)

        assert (ended.returncode, ended.stderr) == (0, "")


class Parts:
    """A body of a response that notes what is bound while it is produced and closed."""

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[Scope | None] = []
        self.is_closed = False
        self._left = ["a", "b"]
        self._fails = fails

    def __iter__(self) -> Iterator[str]:
        self.seen.append(bound())
        return self

    def __next__(self) -> str:
        self.seen.append(bound())
        if not self._left:
            if self._fails:
                raise LookupError("of the user")
            raise StopIteration
        return self._left.pop(0)

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> str:
        await asyncio.sleep(0)
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    def close(self) -> None:
        self.seen.append(bound())
        self.is_closed = True

    async def aclose(self) -> None:
        self.close()


class TestBodies:
    """A streamed body sees the scope of its request in each step, and nobody else does."""

    @pytest.fixture
    def ends(self) -> list[bool]:
        """Whether each body was produced as a whole, in the order of their ends."""
        return []

    def test_each_step_sees_the_scope_and_nothing_is_bound_between(self, runtime: Runtime, ends: list[bool]) -> None:
        scope, parts = Scope.by_hand(runtime), Parts()
        body = Body(parts, scope, ends.append)

        items, between = [], []
        for item in body:
            items.append(item)
            between.append(bound())
        body.close()

        assert items == ["a", "b"]
        assert between == [None, None]
        assert set(parts.seen) == {scope}
        assert parts.is_closed
        assert ends == [True]

    async def test_an_async_one_too(self, runtime: Runtime, ends: list[bool]) -> None:
        scope, parts = Scope.by_hand(runtime), Parts()
        body = AsyncBody(parts, scope, ends.append)

        items, between = [], []
        async for item in body:
            items.append(item)
            between.append(bound())
        await body.aclose()

        assert items == ["a", "b"]
        assert between == [None, None]
        assert set(parts.seen) == {scope}
        assert parts.is_closed
        assert ends == [True]

    def test_two_that_are_interleaved_and_closed_in_the_wrong_order_see_their_own(
        self, runtime: Runtime, ends: list[bool]
    ) -> None:
        """Trap 3: a token that crosses a step would bring the first visitor's scope back to life."""
        scopes = [Scope.by_hand(runtime), Scope.by_hand(runtime)]
        parts = [Parts(), Parts()]
        first, second = (Body(each, scope, ends.append) for each, scope in zip(parts, scopes, strict=True))

        next(first), next(second), next(first)
        first.close()
        next(second)
        second.close()

        assert [set(each.seen) for each in parts] == [{scopes[0]}, {scopes[1]}]
        assert ends == [False, False]

    @pytest.mark.parametrize("steps", [0, 1, 2])
    def test_one_that_is_closed_before_its_end_was_aborted(
        self, runtime: Runtime, ends: list[bool], steps: int
    ) -> None:
        """Traps 2 and 5: also one that was never begun."""
        parts = Parts()
        body = Body(parts, Scope.by_hand(runtime), ends.append)
        for _ in range(steps):
            next(body)

        body.close()
        body.close()

        assert parts.is_closed
        assert ends == [False]

    @pytest.mark.parametrize("how", ["close", "aclose"])
    async def test_an_async_one_that_is_closed_before_its_end_was_aborted(
        self, runtime: Runtime, ends: list[bool], how: str
    ) -> None:
        body = AsyncBody(Parts(), Scope.by_hand(runtime), ends.append)
        await anext(body)

        if how == "close":
            body.close()
        await body.aclose()

        assert ends == [False]

    def test_one_that_fails_was_aborted_and_its_exception_passes(self, runtime: Runtime, ends: list[bool]) -> None:
        body = Body(Parts(fails=True), Scope.by_hand(runtime), ends.append)

        with pytest.raises(LookupError, match="of the user"):
            list(body)
        before = list(ends)
        body.close()

        assert (before, ends) == ([], [False])

    async def test_an_async_one_that_fails_was_aborted_and_its_exception_passes(
        self, runtime: Runtime, ends: list[bool]
    ) -> None:
        body = AsyncBody(Parts(fails=True), Scope.by_hand(runtime), ends.append)

        with pytest.raises(LookupError, match="of the user"):
            [item async for item in body]
        body.close()

        assert ends == [False]

    def test_a_body_without_close_can_be_closed(self, runtime: Runtime, ends: list[bool]) -> None:
        body = Body(["a"], Scope.by_hand(runtime), ends.append)

        body.close()

        assert ends == [False]
