"""Fetching a prompt for the visitor at hand: the same in a scope, bounded in time, and what stands in for it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

import xr2_web
from xr2_web import Prompt, PromptUnavailable
from xr2_web.propagation import propagate
from xr2_web.runtime import Runtime

from .conftest import RuntimeMaker
from .local_xr2 import LocalXr2
from .scripted_server import Connection, Received, Script, ScriptedServer, after_request, answer
from .visits import Clock, Door, here

DOWN = "http://127.0.0.1:9"
TEXT = "Greet {{name}}."

Fetch = Callable[..., Prompt]


async def _on_a_loop(slug: str, options: dict[str, Any]) -> Prompt:
    return await xr2_web.aget_prompt(slug, **options)


@pytest.fixture(params=["get_prompt", "aget_prompt"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """The two colours; the async one runs on a loop of its own for each call."""
    if request.param == "get_prompt":
        return xr2_web.get_prompt
    return lambda slug, **options: asyncio.run(_on_a_loop(slug, options))


def good(slug: str = "welcome", trace_id: str = "evt_1") -> bytes:
    """Return the answer of an xR2 that is well."""
    moment = "2026-01-01T00:00:00Z"
    body = {
        "slug": slug,
        "source_name": "xr2_web",
        "version_number": 3,
        "status": "production",
        "user_prompt": TEXT,
        "variables": [{"name": "name"}],
        "model_config": {},
        "created_at": moment,
        "updated_at": moment,
        "trace_id": trace_id,
    }
    return answer(200, json.dumps(body).encode())


TAKEN = answer(
    200,
    b'{"status": "success", "event_id": "1", "trace_id": "evt_9", "event_name": "sign_up", "timestamp": "",'
    b' "is_duplicate": false}',
)
"""The answer to an event."""


def detail(status: int, said: object) -> bytes:
    return answer(status, json.dumps({"detail": said}).encode())


def told_unavailable(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records if record.name == "xr2_web"]
    return [message for message in messages if message.startswith("xr2_web.prompt_unavailable:")]


def asked_for(received: Received) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(received.body)
    return found


def scope_of(runtime: Runtime) -> AbstractContextManager[None]:
    return xr2_web.scope(runtime=runtime)


def in_turn(*answers: bytes) -> Script:
    """Answer all requests in turn, whatever connection they come on; the last answer for all that follow."""
    left = chain(answers, repeat(answers[-1]))

    def script(connection: Connection) -> None:
        while connection.read_request() is not None:
            connection.send(next(left))

    return script


Talk = Callable[..., AbstractContextManager[ScriptedServer]]


@pytest.fixture
def talk(make_runtime: RuntimeMaker) -> Talk:
    """Serve a script, or these answers in turn, with a scope bound that talks to it."""

    @contextmanager
    def talk(*script: Script | bytes, **keywords: Any) -> Iterator[ScriptedServer]:
        scripts = [each for each in script if not isinstance(each, bytes)]
        scripts = scripts or [in_turn(*(each for each in script if isinstance(each, bytes)))]
        with ScriptedServer(*scripts) as server, scope_of(make_runtime(base_url=server.base_url, **keywords)):
            yield server

    return talk


class TestFetching:
    def test_it_comes_from_xr2_with_a_trace_that_is_bound(self, runtime: Runtime, fetch: Fetch) -> None:
        with scope_of(runtime):
            prompt = fetch("welcome")
            bound_trace = xr2_web.current.trace_id

        assert (prompt.slug, prompt.system_prompt, prompt.is_fallback) == ("welcome", "You greet people.", False)
        assert prompt.source_name == "xr2_web"
        assert prompt.trace_id == bound_trace is not None
        assert prompt.render({"name": "Ada"}).user_prompt == "Greet Ada."
        assert runtime.counts == {"prompt_fetched": 1}

    def test_the_same_prompt_in_one_scope_is_fetched_once(
        self, runtime: Runtime, fetch: Fetch, local_xr2: LocalXr2
    ) -> None:
        with scope_of(runtime):
            first, second = fetch("welcome"), fetch("welcome")

        assert first is second
        assert len(local_xr2.traces()) == 1

    def test_fresh_asks_again_and_is_what_comes_from_then_on(
        self, runtime: Runtime, fetch: Fetch, local_xr2: LocalXr2
    ) -> None:
        with scope_of(runtime):
            first, second, third = fetch("welcome"), fetch("welcome", fresh=True), fetch("welcome")
            traces = [trace.trace_id for trace in here().traces]

        assert first.trace_id != second.trace_id
        assert third is second
        assert traces == [first.trace_id, second.trace_id]
        assert len(local_xr2.traces()) == 2

    def test_another_scope_never_shares_a_trace(self, runtime: Runtime, fetch: Fetch) -> None:
        """The server keeps the first event of a trace: the second visitor's would be lost."""
        traces = []
        for _ in range(2):
            with scope_of(runtime):
                traces.append(fetch("welcome").trace_id)

        assert len(set(traces)) == 2

    def test_version_and_status_choose(self, make_runtime: RuntimeMaker, fetch: Fetch, tmp_path: Path) -> None:
        (tmp_path / "tea.prompt").write_text("One.")
        (tmp_path / "tea.new.prompt").write_text('---\nversion = 2\nstatus = "testing"\n---\nTwo.')
        with LocalXr2(tmp_path) as server, scope_of(make_runtime(base_url=server.base_url)):
            prompts = [
                fetch("tea"),
                fetch("tea", version_number=2),
                fetch("tea", status="testing"),
                fetch("tea", version_number=1, status="production"),
                fetch("tea"),
            ]

        assert [prompt.user_prompt for prompt in prompts] == ["One.", "Two.", "Two.", "One.", "One."]
        assert prompts[0] is prompts[4]
        assert len({prompt.trace_id for prompt in prompts}) == 4

    def test_options_that_are_not_given_are_not_sent(self, talk: Talk, fetch: Fetch) -> None:
        with talk(good()) as server:
            fetch("welcome")
            fetch("welcome", version_number=3, status="production")

        assert [asked_for(each) for each in server.requests] == [
            {"slug": "welcome", "source_name": "xr2_web"},
            {"slug": "welcome", "source_name": "xr2_web", "version_number": 3, "status": "production"},
        ]

    def test_outside_of_any_scope_it_is_fetched_and_bound_to_nothing(self, local_xr2: LocalXr2, fetch: Fetch) -> None:
        xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)

        first, second = fetch("welcome"), fetch("welcome")

        assert first.trace_id != second.trace_id
        assert xr2_web.current.trace_id is None
        assert xr2_web.track_event("sign_up").reason == "no_trace"

    def test_after_the_response_began_it_serves_this_request_only_and_says_so_once(
        self, runtime: Runtime, fetch: Fetch, local_xr2: LocalXr2, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Trap 7: a prompt fetched while streaming."""

        def stream() -> str | None:
            fetch("product", fresh=True)
            prompt = fetch("product", fresh=True)
            xr2_web.track_event("liked")
            return prompt.trace_id

        with Door(runtime).visit() as request:
            fetch("welcome")
            later = propagate(stream)
        trace_id = later()
        runtime.flush()

        carried = runtime.seal.read(request.token or "")
        assert carried is not None
        assert [trace.slug for trace in carried.traces] == ["welcome"]
        assert [event["trace_id"] for event in local_xr2.events()] == [trace_id]
        assert len([each for each in caplog.records if "prompt_not_carried" in each.getMessage()]) == 1


class TestRefusal:
    def test_an_unknown_slug_raises_with_the_servers_words(self, runtime: Runtime, fetch: Fetch) -> None:
        with pytest.raises(PromptUnavailable) as caught, scope_of(runtime):
            fetch("welcom")

        assert caught.value.slug == "welcom"
        assert caught.value.status_code == 404
        assert caught.value.reason in str(caught.value)
        assert "welcom" in caught.value.reason
        assert runtime.counts == {"prompt_failed": 1}

    def test_an_unknown_slug_gives_the_fallback_where_there_is_one(self, runtime: Runtime, fetch: Fetch) -> None:
        with scope_of(runtime):
            prompt = fetch("welcom", fallback=TEXT)

        assert (prompt.slug, prompt.user_prompt, prompt.is_fallback) == ("welcom", TEXT, True)

    def test_an_unknown_slug_is_told_once_though_a_fallback_hides_it(
        self, runtime: Runtime, fetch: Fetch, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(2):
            with scope_of(runtime):
                fetch("welcom", fallback=TEXT)

        (line,) = told_unavailable(caplog)
        assert "prompt 'welcom' is unavailable" in line
        assert "the fallback stands in" in line

    def test_a_key_that_is_not_accepted_is_told_though_a_fallback_hides_it(
        self, make_runtime: RuntimeMaker, fetch: Fetch, caplog: pytest.LogCaptureFixture
    ) -> None:
        with scope_of(make_runtime(api_key="xr2_prod_SECRET")):
            fetch("welcome", fallback=TEXT)

        (line,) = told_unavailable(caplog)
        assert "check API_KEY" in line
        assert "SECRET" not in line

    def test_a_slug_that_cannot_be_one_is_told_though_a_fallback_hides_it(
        self, runtime: Runtime, fetch: Fetch, caplog: pytest.LogCaptureFixture
    ) -> None:
        with scope_of(runtime):
            fetch("", fallback=TEXT)

        (line,) = told_unavailable(caplog)
        assert "slug: " in line

    @pytest.mark.parametrize(
        ("bad", "path"),
        [
            ({"slug": ""}, "slug"),
            ({"slug": "s" * 256}, "slug"),
            ({"slug": "a\0b"}, "slug"),
            ({"version_number": "3"}, "version_number"),
            ({"status": ""}, "status"),
        ],
    )
    def test_what_cannot_be_looked_up_is_not_asked_for(
        self, talk: Talk, fetch: Fetch, bad: dict[str, Any], path: str
    ) -> None:
        options = {"slug": "welcome", **bad}
        with talk(good()) as server:
            with pytest.raises(PromptUnavailable, match=f"{path}: "):
                fetch(**options)
            prompt = fetch(**options, fallback=TEXT)

        assert prompt.is_fallback
        assert server.requests == []

    def test_a_key_that_is_not_accepted_names_the_setting_and_not_the_key(
        self, make_runtime: RuntimeMaker, fetch: Fetch
    ) -> None:
        with pytest.raises(PromptUnavailable) as caught, scope_of(make_runtime(api_key="xr2_prod_SECRET")):
            fetch("welcome")

        assert caught.value.status_code == 401
        assert "check API_KEY" in str(caught.value)
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize(
        ("keywords", "why"), [({"enabled": False}, "ENABLED is false"), ({"api_key": None}, "API_KEY is not set")]
    )
    def test_switched_off_it_gives_the_fallback_or_names_the_setting(
        self, make_runtime: RuntimeMaker, fetch: Fetch, local_xr2: LocalXr2, keywords: dict[str, Any], why: str
    ) -> None:
        with scope_of(make_runtime(**keywords)):
            prompt = fetch("welcome", fallback=TEXT)
            with pytest.raises(PromptUnavailable, match=why):
                fetch("welcome")

        assert (prompt.user_prompt, prompt.is_fallback) == (TEXT, True)
        assert local_xr2.traces() == []


class TestFallback:
    @pytest.fixture
    def off(self, make_runtime: RuntimeMaker) -> Runtime:
        """A runtime that never has a prompt."""
        return make_runtime(enabled=False)

    @pytest.mark.parametrize(
        ("fallback", "expected"),
        [
            (TEXT, Prompt("welcome", user_prompt=TEXT, is_fallback=True)),
            ("", Prompt("welcome", user_prompt="", is_fallback=True)),
            ({"system_prompt": "Be kind."}, Prompt("welcome", system_prompt="Be kind.", is_fallback=True)),
            ({}, Prompt("welcome", is_fallback=True)),
            (
                Prompt("older", user_prompt=TEXT, trace_id="evt_1", version_number=2),
                Prompt("older", user_prompt=TEXT, trace_id=None, version_number=2, is_fallback=True),
            ),
            (lambda: TEXT, Prompt("welcome", user_prompt=TEXT, is_fallback=True)),
            (lambda: {"user_prompt": TEXT}, Prompt("welcome", user_prompt=TEXT, is_fallback=True)),
            (lambda: Prompt("x", trace_id="evt_1"), Prompt("x", is_fallback=True)),
        ],
    )
    def test_it_stands_in_without_a_trace(self, off: Runtime, fetch: Fetch, fallback: Any, expected: Prompt) -> None:
        with scope_of(off):
            prompt = fetch("welcome", fallback=fallback)
            trace_id = xr2_web.current.trace_id

        assert prompt == expected
        assert prompt.is_fallback
        assert (prompt.trace_id, trace_id) == (None, None)

    def test_its_variables_are_filled(self, off: Runtime, fetch: Fetch) -> None:
        with scope_of(off):
            rendered = fetch("welcome", fallback=TEXT).render({"name": "Ada"})

        assert (rendered.user_prompt, rendered.trace_id) == ("Greet Ada.", None)

    @pytest.mark.parametrize(
        "wrong", [{"text": "Hello"}, {"slug": "x"}, {"trace_id": "evt_1"}, {"is_fallback": False}, {1: 2}, 5, [TEXT]]
    )
    def test_a_wrong_one_is_an_error_even_while_xr2_answers(self, runtime: Runtime, fetch: Fetch, wrong: Any) -> None:
        """An outage is no time to find it out."""
        with scope_of(runtime), pytest.raises(TypeError, match="a fallback"):
            fetch("welcome", fallback=wrong)

    @pytest.mark.parametrize("wrong", [None, 5, {"text": "Hello"}, lambda: TEXT])
    def test_a_function_that_returns_a_wrong_one_is_an_error_when_it_is_asked(
        self, off: Runtime, fetch: Fetch, wrong: Any
    ) -> None:
        with scope_of(off), pytest.raises(TypeError, match="a fallback"):
            fetch("welcome", fallback=lambda: wrong)

    def test_a_function_is_only_asked_when_it_is_needed(self, runtime: Runtime, fetch: Fetch) -> None:
        asked: list[bool] = []

        def fallback() -> str:
            asked.append(True)
            return TEXT

        with scope_of(runtime):
            fetch("welcome", fallback=fallback)

        assert asked == []

    def test_an_exception_of_the_function_is_the_users_own(self, off: Runtime, fetch: Fetch) -> None:
        def fallback() -> str:
            raise LookupError("of the user")

        with scope_of(off), pytest.raises(LookupError, match="of the user"):
            fetch("welcome", fallback=fallback)

    def test_none_is_no_fallback(self, off: Runtime, fetch: Fetch) -> None:
        with scope_of(off), pytest.raises(PromptUnavailable):
            fetch("welcome", fallback=None)

    def test_nothing_is_credited_to_it(self, make_runtime: RuntimeMaker, fetch: Fetch) -> None:
        with Door(make_runtime(base_url=DOWN)).visit() as request:
            fetch("welcome", fallback=TEXT)
            receipt = xr2_web.track_event("sign_up", prompt="welcome")

        assert receipt.reason == "no_trace"
        assert request.token is None


class TestLastGoodCopy:
    """What xR2 said last stands in while it is away, and is marked as what it is."""

    def test_it_comes_before_the_given_fallback_and_has_no_trace(self, talk: Talk, fetch: Fetch) -> None:
        with talk(good(), answer(503)):
            before = fetch("welcome")
            after = fetch("welcome", fresh=True, fallback="another")
            traces = [trace.trace_id for trace in here().traces]

        assert (before.user_prompt, before.is_fallback, before.trace_id) == (TEXT, False, "evt_1")
        assert (after.user_prompt, after.is_fallback, after.trace_id) == (TEXT, True, None)
        assert traces == ["evt_1"]

    def test_that_it_stands_in_is_told(self, talk: Talk, fetch: Fetch, caplog: pytest.LogCaptureFixture) -> None:
        with talk(good(), detail(401, "no")):
            fetch("welcome")
            fetch("welcome", fresh=True)

        (line,) = told_unavailable(caplog)
        assert "the last good copy stands in" in line

    def test_it_is_that_of_the_version_asked_for(self, talk: Talk, fetch: Fetch) -> None:
        with talk(good(), answer(503)):
            fetch("welcome")
            with pytest.raises(PromptUnavailable):
                fetch("welcome", version_number=2)

    def test_a_prompt_that_was_taken_down_is_not_served(self, talk: Talk, fetch: Fetch) -> None:
        with talk(good(), detail(404, "taken down")):
            fetch("welcome")
            with pytest.raises(PromptUnavailable, match="taken down"):
                fetch("welcome", fresh=True)

    def test_nor_does_a_later_outage_bring_it_back(self, talk: Talk, fetch: Fetch) -> None:
        with talk(good(), detail(404, "taken down"), answer(503)):
            fetch("welcome")
            fetch("welcome", fresh=True, fallback=TEXT)
            with pytest.raises(PromptUnavailable, match="503"):
                fetch("welcome", fresh=True)

    def test_a_key_that_is_refused_for_a_while_does_not_take_it_away(self, talk: Talk, fetch: Fetch) -> None:
        with talk(good(), detail(401, "no")):
            fetch("welcome")
            after = fetch("welcome", fresh=True)

        assert after.is_fallback

    def test_they_are_bounded(self, runtime: Runtime, fetch: Fetch) -> None:
        runtime.copies.update({(f"slug_{number}", None, None): Prompt("x") for number in range(1000)})

        with scope_of(runtime):
            fetch("welcome")

        assert len(runtime.copies) == 1000


class TestOutage:
    def test_without_anything_that_stands_in_it_raises(self, make_runtime: RuntimeMaker, fetch: Fetch) -> None:
        with pytest.raises(PromptUnavailable) as caught, scope_of(make_runtime(base_url=DOWN)):
            fetch("welcome")

        assert caught.value.status_code == 0
        assert caught.value.reason

    def test_it_is_tried_once_more(self, talk: Talk, fetch: Fetch) -> None:
        with talk(answer(503), good()) as server:
            prompt = fetch("welcome")

        assert prompt.trace_id == "evt_1"
        assert len(server.requests) == 2

    def test_and_not_more_than_once(self, talk: Talk, fetch: Fetch) -> None:
        with talk(answer(503)) as server, pytest.raises(PromptUnavailable, match="503"):
            fetch("welcome")

        assert len(server.requests) == 2

    @pytest.mark.parametrize(("keywords", "deadline"), [({}, 2.0), ({"prompt_deadline": 0.3}, 0.3)])
    def test_a_server_that_never_answers_costs_the_deadline_and_no_more(
        self, talk: Talk, fetch: Fetch, keywords: dict[str, Any], deadline: float
    ) -> None:
        with talk(after_request(Connection.hang), **keywords):
            start = time.monotonic()
            prompt = fetch("welcome", fallback=TEXT)
            took = time.monotonic() - start

        assert prompt.is_fallback
        assert deadline - 0.05 <= took < deadline + 0.5

    def test_a_server_that_drips_does_not_stretch_it(self, talk: Talk, fetch: Fetch) -> None:
        """Trap 34: each read of `_DeadlineStream` is cut to what is left, and `AsyncTransport.send` is as a whole."""

        def drip(connection: Connection) -> None:
            connection.drip(good(), interval=0.05)

        with talk(after_request(drip), prompt_deadline=0.3):
            start = time.monotonic()
            prompt = fetch("welcome", fallback=TEXT)
            took = time.monotonic() - start

        assert prompt.is_fallback
        assert took < 0.8

    def test_something_that_is_not_xr2_is_not_believed(self, talk: Talk, fetch: Fetch) -> None:
        page = answer(200, b"<html>Sign in to the Wi-Fi</html>", {"Content-Type": "text/html"})
        with talk(page), pytest.raises(PromptUnavailable, match="BASE_URL"):
            fetch("welcome")


class TestPauses:
    def test_after_three_failures_xr2_is_left_alone_for_ten_seconds(self, talk: Talk, fetch: Fetch) -> None:
        clock = Clock()
        with talk(*[answer(503)] * 6, good(), chance=clock.chance) as server:
            for _ in range(3):
                fetch("welcome", fallback=TEXT)
            start = time.monotonic()
            while_open = fetch("welcome", fallback=TEXT)
            took = time.monotonic() - start
            asked = len(server.requests)
            clock.ahead = 10.1
            after = fetch("welcome")

        assert while_open.is_fallback
        assert took < 0.1
        assert asked == 6
        assert (after.is_fallback, len(server.requests)) == (False, 7)

    def test_while_it_is_left_alone_the_error_says_so(self, make_runtime: RuntimeMaker, fetch: Fetch) -> None:
        with scope_of(make_runtime(base_url=DOWN)):
            for _ in range(3):
                fetch("welcome", fallback=TEXT)

            with pytest.raises(PromptUnavailable, match="was not asked"):
                fetch("welcome")

    def test_a_success_forgets_the_failures(self, talk: Talk, fetch: Fetch) -> None:
        twice = [answer(503)] * 4
        with talk(*twice, good(), *twice, good()):
            found = [fetch("welcome", fallback=TEXT, fresh=True).is_fallback for _ in range(6)]

        assert found == [True, True, False, True, True, False]

    def test_a_refusal_is_no_failure(self, talk: Talk, fetch: Fetch) -> None:
        with talk(*[detail(404, "unknown")] * 5, good()):
            found = [fetch("welcome", fallback=TEXT).is_fallback for _ in range(6)]

        assert found == [True] * 5 + [False]

    def test_a_used_up_quota_ends_the_asking_until_its_reset_and_events_go_on(self, fetch: Fetch, talk: Talk) -> None:
        clock = Clock()
        reset = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
        quota = {"message": "100 a day are used up", "max_requests_per_day": 100, "reset_time": reset}
        with talk(detail(429, quota), TAKEN, good(), chance=clock.chance) as server:
            with pytest.raises(PromptUnavailable, match="used up"):
                fetch("welcome")
            clock.ahead = 3500
            with pytest.raises(PromptUnavailable, match="was not asked"):
                fetch("welcome")
            xr2_web.track_event("sign_up", trace_id="evt_9")
            flushed = here().runtime.flush()
            delivered = here().runtime.counts["delivered"]
            clock.ahead = 3601
            after = fetch("welcome")

        assert (delivered, flushed.left) == (1, 0)
        assert after.trace_id == "evt_1"
        assert len(server.requests) == 3

    def test_a_rate_limit_ends_the_asking_for_as_long_as_it_says(self, talk: Talk, fetch: Fetch) -> None:
        clock = Clock()
        limited = answer(429, b'{"detail": "Too many requests", "retry_after": 300}')
        with talk(limited, good(), chance=clock.chance) as server:
            found = []
            for ahead in (0, 299, 301):
                clock.ahead = ahead
                found.append((fetch("welcome", fallback=TEXT).is_fallback, len(server.requests)))

        assert found == [(True, 1), (True, 1), (False, 2)]


class TestOnALoop:
    async def test_the_sync_call_warns_once_and_names_the_other(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture
    ) -> None:
        with scope_of(runtime):
            prompts = [xr2_web.get_prompt("welcome"), xr2_web.get_prompt("product")]

        assert not any(prompt.is_fallback for prompt in prompts)
        (line,) = [record.getMessage() for record in caplog.records if record.name == "xr2_web"]
        assert "blocking_call" in line
        assert "aget_prompt" in line

    async def test_it_is_silent_where_nothing_is_fetched(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture
    ) -> None:
        with scope_of(runtime):
            first = await xr2_web.aget_prompt("welcome")

            assert xr2_web.get_prompt("welcome") is first
        assert "blocking_call" not in caplog.text

    async def test_a_thread_of_the_loop_may_block(self, runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
        with scope_of(runtime):
            prompt = await asyncio.to_thread(xr2_web.get_prompt, "welcome")
            bound_trace = xr2_web.current.trace_id

        assert prompt.trace_id == bound_trace
        assert "blocking_call" not in caplog.text

    async def test_the_loop_goes_on_while_it_waits(self, talk: Talk) -> None:
        with talk(after_request(Connection.hang), prompt_deadline=0.3):
            waiting = asyncio.create_task(xr2_web.aget_prompt("welcome", fallback=TEXT))
            steps = 0
            while not waiting.done():
                await asyncio.sleep(0)
                steps += 1

        assert waiting.result().is_fallback
        assert steps > 100

    async def test_many_at_once_bind_their_own_traces(self, runtime: Runtime) -> None:
        async def visit() -> tuple[str | None, str | None]:
            with scope_of(runtime):
                prompt = await xr2_web.aget_prompt("welcome")
                return prompt.trace_id, xr2_web.current.trace_id

        found = await asyncio.gather(*(visit() for _ in range(20)))

        assert all(fetched == bound_trace for fetched, bound_trace in found)
        assert len({fetched for fetched, _ in found}) == 20

    async def test_one_that_is_cancelled_binds_nothing(self, talk: Talk) -> None:
        with talk(after_request(Connection.hang)) as server:
            waiting = asyncio.create_task(xr2_web.aget_prompt("welcome", fallback=TEXT))
            while not server.requests:
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

            assert here().traces == []

    def test_threads_of_one_scope_bind_all_their_traces(self, runtime: Runtime) -> None:
        with scope_of(runtime):
            threads = [
                threading.Thread(target=propagate(lambda: xr2_web.get_prompt("welcome", fresh=True))) for _ in range(10)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(5)
            found = {trace.trace_id for trace in here().traces}

        assert len(found) == 10
