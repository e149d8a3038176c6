"""The same calls through the reference client (xr2-sdk) and through ours: what arrives, and what comes back.

Where ours differs on purpose, a test of ``TestDifferences`` states how.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from xr2_web import client as ours
from xr2_web import wire

from .dev_process import running
from .local_xr2 import PROMPTS, LocalXr2
from .scripted_server import KEY_OWNER, ScriptedServer, answer, each_request
from .test_wire import EVENT, PROMPT

sdk = pytest.importorskip("xr2_sdk")
theirs = sdk.client

KEY = "xr2_dev_parity"
QUICKSTARTS = Path(__file__).parent / "quickstarts"

CALLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "check_api_key": ("check_api_key", {}, json.loads(KEY_OWNER)),
    "get_prompt": ("get_prompt", {"slug": "welcome"}, PROMPT),
    "get_prompt, filtered": ("get_prompt", {"slug": "welcome", "version_number": 3, "status": "testing"}, PROMPT),
    "track_event": ("track_event", {"trace_id": "t1", "event_name": "sign_up"}, EVENT),
    "track_event, in full": (
        "track_event",
        {
            "trace_id": "t1",
            "event_name": "purchase_completed",
            "source_name": "shop",
            "user_id": "u1",
            "session_id": "s1",
            "value": 99.99,
            "currency": "USD",
            "metadata": {"order": {"id": 1, "lines": ["tea", "имя", None, True]}},
        },
        EVENT,
    ),
    "track_event, nothing in metadata": (
        "track_event",
        {"trace_id": "t1", "event_name": "sign_up", "value": 0.0, "metadata": {}},
        EVENT,
    ),
}


class Pair:
    """A client of theirs and one of ours, of the same colour and against the same server."""

    def __init__(self, theirs: Any, ours: Any, run: Callable[[Any], Any]) -> None:
        self.theirs, self.ours, self.wait = theirs, ours, run

    def both(self, call: str, **options: Any) -> tuple[Any, Any]:
        """Make the same call through both, theirs first."""
        return tuple(self.wait(getattr(each, call)(**options)) for each in (self.theirs, self.ours))  # type: ignore[return-value]

    def close(self) -> None:
        for each in (self.theirs, self.ours):
            closing = each.aclose if hasattr(each, "aclose") else getattr(each, "_session", each).close
            self.wait(closing())


@dataclass(frozen=True)
class Colour:
    """How to make a pair of one colour, and how to wait for what its calls return."""

    name: str
    run: Callable[[Any], Any]

    def pair(self, base_url: str, *, ours_only: dict[str, Any] | None = None, **options: Any) -> Pair:
        options = {"base_url": base_url, "timeout": 5.0, "total_retries": 0, "backoff_factor": 0.01, **options}
        name = {"sync": "xR2Client", "async": "AsyncxR2Client"}[self.name]
        mine = getattr(ours, name)(KEY, **options, **(ours_only or {}))
        return Pair(getattr(theirs, name)(KEY, **options), mine, self.run)


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    if request.param == "sync":
        yield Colour("sync", run=lambda result: result)
    else:
        with asyncio.Runner() as runner:
            yield Colour("async", run=runner.run)


@pytest.fixture
def pairs(colour: Colour) -> Iterator[Callable[..., Pair]]:
    made: list[Pair] = []

    def make(base_url: str, **options: Any) -> Pair:
        made.append(colour.pair(base_url, **options))
        return made[-1]

    yield make
    for pair in made:
        pair.close()


def data_of(response: Any) -> dict[str, Any]:
    """Return the fields of the data with their values, as the reference names them."""
    data = response.data
    if is_dataclass(data):
        names = {field.name for field in fields(data)} - {"is_fallback"}
        return {name: getattr(data, name) for name in names}
    return {name: getattr(data, name) for name in type(data).model_fields}


class TestWhatArrives:
    @pytest.mark.parametrize("name", CALLS)
    def test_the_same_request_leaves_but_for_the_names_of_the_senders(
        self, name: str, pairs: Callable[..., Pair]
    ) -> None:
        call, options, good = CALLS[name]
        with ScriptedServer(each_request(answer(200, json.dumps(good).encode()))) as server:
            pairs(server.base_url).both(call, **options)

        reference, own = server.requests
        sent = [json.loads(each.body or b"{}") for each in (reference, own)]
        names = [body.pop("source_name", None) if "source_name" not in options else None for body in sent]
        assert reference.line == own.line
        assert sent[0] == sent[1]
        assert names in ([None, None], ["python_sdk", "xr2_web"])
        for header in ("authorization", "accept", "host"):
            assert reference.headers[header] == own.headers[header]
        if own.body:
            assert reference.headers["content-type"] == own.headers["content-type"] == "application/json"


class TestGoodAnswers:
    @pytest.mark.parametrize("name", CALLS)
    def test_the_same_response_comes_back(self, name: str, pairs: Callable[..., Pair]) -> None:
        call, options, good = CALLS[name]
        with ScriptedServer(each_request(answer(200, json.dumps(good).encode()))) as server:
            reference, own = pairs(server.base_url).both(call, **options)

        assert (own.ok, own.error, own.status_code) == (reference.ok, reference.error, reference.status_code)
        assert bool(own) is bool(reference) is True
        assert data_of(own) == data_of(reference)
        assert own.to_dict() == reference.to_dict()

    @pytest.mark.parametrize(
        "changed",
        [
            {"system_prompt": "s", "assistant_prompt": "a", "user_prompt": None},
            {"variables": [], "model_config": {}},
            {"variables": [{"name": "a", "default": [1, None], "required": False}, {"name": "b"}]},
            {"ab_test_id": "1", "ab_test_name": "tone", "ab_test_variant": "version_b"},
            {"deployed_at": "2026-05-01T12:00:00.123456+00:00"},
            {"created_at": "2026-05-01T12:00:00+02:00", "updated_at": "2026-05-01T12:00:00"},
            {"created_at": "2026-05-01T12:00:00.120Z", "updated_at": "2026-05-01T12:00:00.000001"},
            {"version_number": "7"},
            {"unknown": {"a": 1}},
        ],
    )
    def test_a_prompt_in_any_shape_comes_back_alike(self, changed: dict[str, Any], pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(each_request(answer(200, json.dumps({**PROMPT, **changed}).encode()))) as server:
            reference, own = pairs(server.base_url).both("get_prompt", slug="welcome")

        assert data_of(own) == data_of(reference)
        assert own.to_dict() == reference.to_dict()

    @pytest.mark.parametrize(
        "values", [{"name": "Ada"}, {"name": True}, {"name": [1, "x", None]}, {"name": 1.5, "other": "unused"}]
    )
    @pytest.mark.parametrize("array_separator", [None, ", "])
    def test_a_prompt_renders_alike(
        self, values: dict[str, Any], array_separator: str | None, pairs: Callable[..., Pair]
    ) -> None:
        body = {**PROMPT, "user_prompt": "Greet {{name}}, {name}: {plan} {other} {{other}}."}
        body["variables"] = [{"name": "name", "required": True}, {"name": "plan", "defaultValue": "free"}]
        with ScriptedServer(each_request(answer(200, json.dumps(body).encode()))) as server:
            prompts = [each.data for each in pairs(server.base_url).both("get_prompt", slug="welcome")]

        declared = {name: value for name, value in values.items() if name != "other"}
        reference, own = (each.render(declared, array_separator=array_separator) for each in prompts)
        names = ("system_prompt", "user_prompt", "assistant_prompt", "trace_id", "variables_used")
        assert [getattr(own, name) for name in names] == [getattr(reference, name) for name in names]

    def test_a_missing_variable_is_missed_alike(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(each_request(answer(200, json.dumps(PROMPT).encode()))) as server:
            reference, own = (each.data for each in pairs(server.base_url).both("get_prompt", slug="welcome"))

        with pytest.raises(sdk.VariableError) as expected:
            reference.render({})
        with pytest.raises(ours.VariableError) as raised:
            own.render({})

        assert raised.value.missing_variables == expected.value.missing_variables == ["name"]

    def test_the_local_xr2_answers_both_alike(self, local_xr2: LocalXr2, pairs: Callable[..., Pair]) -> None:
        pair = pairs(local_xr2.base_url)

        prompts = pair.both("get_prompt", slug="welcome")
        missing = pair.both("get_prompt", slug="nothing")
        refused = pair.both("get_prompt", slug="welcome", status="nonsense")
        events = [
            pair.both("track_event", trace_id=prompts[0].data.trace_id, event_name="sign_up", metadata={"a": 1})
            for _ in range(2)
        ]

        alike = [{**data_of(each), "trace_id": "", "source_name": ""} for each in prompts]
        assert alike[0] == alike[1]
        for reference, own in (missing, refused):
            assert own.to_dict() == reference.to_dict()
        assert {data_of(each)["event_id"] for both in events for each in both} == {events[0][0].data.event_id}
        assert [each.data.is_duplicate for both in events for each in both] == [False, True, True, True]


class TestBadAnswers:
    @pytest.mark.parametrize(
        "detail",
        ["Prompt not found", {"error": "not_found", "message": "Prompt not found"}, {"error": "not_found"}, "имя"],
    )
    def test_the_servers_words_come_back_alike(self, detail: object, pairs: Callable[..., Pair]) -> None:
        statuses = (400, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504)
        body = json.dumps({"detail": detail}).encode()
        with ScriptedServer(each_request(*(answer(status, body) for status in statuses))) as server:
            pair = pairs(server.base_url)
            responses = [pair.both("get_prompt", slug="welcome") for _ in statuses]

        assert [own.status_code for _, own in responses] == list(statuses)
        for reference, own in responses:
            assert (own.ok, own.data) == (reference.ok, reference.data) == (False, None)
            assert (own.status_code, own.error) == (reference.status_code, reference.error)
            assert own.to_dict() == reference.to_dict()
            assert not own

    def test_no_answer_is_status_0_for_both(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(lambda connection: connection.reset()) as server:
            reference, own = pairs(server.base_url).both("check_api_key")

        assert (own.ok, own.status_code) == (reference.ok, reference.status_code) == (False, 0)


class TestDifferences:
    """The weaknesses of the reference client that ours must not have."""

    def test_our_name_is_one_that_the_server_lets_in(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer() as server:
            pairs(server.base_url).both("check_api_key")

        names = [request.headers["user-agent"] for request in server.requests]
        assert names[0].startswith(("python-requests/", "python-httpx/"))
        assert names[1] == wire.USER_AGENT

    def test_a_refused_key_names_the_setting(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(each_request(answer(401, b'{"detail": "Invalid API key"}'))) as server:
            reference, own = pairs(server.base_url).both("check_api_key")

        assert (reference.status_code, reference.error) == (401, "Invalid API key")
        assert (own.status_code, own.error) == (401, "Invalid API key (check API_KEY)")

    def test_validation_errors_are_put_into_words(self, pairs: Callable[..., Pair]) -> None:
        problem = {"loc": ["body", "slug"], "msg": "Field required", "type": "missing", "input": "ada@example.com"}
        with ScriptedServer(each_request(answer(422, json.dumps({"detail": [problem]}).encode()))) as server:
            reference, own = pairs(server.base_url).both("get_prompt", slug="welcome")

        assert reference.error == str([problem])
        assert own.error == "body.slug: Field required"

    def test_a_proxys_page_is_described_and_not_passed_on(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(each_request(answer(502, b"<html>Bad gateway</html>"))) as server:
            reference, own = pairs(server.base_url).both("get_prompt", slug="welcome")

        assert reference.error == "<html>Bad gateway</html>"
        assert (own.status_code, own.error) == (502, "HTTP 502 without xR2's JSON")

    def test_an_error_without_a_message_is_still_an_error(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(each_request(answer(404, b'{"detail": {"message": null}}'))) as server:
            reference, own = pairs(server.base_url).both("get_prompt", slug="welcome")

        assert (reference.ok, reference.data) == (True, None)
        assert (own.ok, own.error) == (False, "{'message': None}")

    @pytest.mark.parametrize("body", [b"<html>Wi-Fi</html>", b"[]", b'{"slug": "welcome"}', b""])
    def test_a_200_that_is_not_xr2s_says_so_in_place_of_an_exceptions_text(
        self, body: bytes, pairs: Callable[..., Pair]
    ) -> None:
        with ScriptedServer(each_request(answer(200, body))) as server:
            reference, own = pairs(server.base_url).both("get_prompt", slug="welcome")

        assert (reference.ok, reference.status_code) == (False, 0)
        assert (own.ok, own.status_code) == (False, 200)
        assert own.error == "HTTP 200, but not an answer of xR2: check BASE_URL"

    def test_a_redirect_is_no_success(self, colour: Colour, pairs: Callable[..., Pair]) -> None:
        elsewhere = answer(200, json.dumps(EVENT).encode())
        with ScriptedServer(each_request(answer(302, b"", {"Location": "/lost"}), elsewhere)) as server:
            reference, own = pairs(server.base_url).both("track_event", trace_id="t1", event_name="sign_up")

        assert reference.ok is (colour.name == "sync")
        assert ("GET /lost HTTP/1.1" in [request.line for request in server.requests]) is reference.ok
        assert (own.ok, own.status_code) == (False, 302)

    def test_a_used_up_quota_is_not_asked_again(self, colour: Colour, pairs: Callable[..., Pair]) -> None:
        quota = {"message": "used up", "reset_time": "9999-12-31T00:00:00Z", "max_requests_per_day": 100}
        with ScriptedServer(each_request(answer(429, json.dumps({"detail": quota}).encode()))) as server:
            reference, own = pairs(server.base_url, total_retries=2).both("get_prompt", slug="welcome")

        asked = [request.headers["user-agent"] == wire.USER_AGENT for request in server.requests]
        assert own.to_dict() == reference.to_dict()
        assert asked.count(False) == (3 if colour.name == "sync" else 1)
        assert asked.count(True) == 1
        assert own.reset_time == "9999-12-31T00:00:00Z"

    def test_a_long_retry_after_does_not_hold_the_caller(self, pairs: Callable[..., Pair]) -> None:
        limited = answer(429, b'{"detail": "Too many requests"}', {"Retry-After": "1"})
        with ScriptedServer(each_request(limited)) as server:
            pair = pairs(server.base_url, total_retries=1, ours_only={"deadline": 0.5})
            _, own = pair.both("get_prompt", slug="welcome")

        asked = [request.headers["user-agent"] == wire.USER_AGENT for request in server.requests]
        assert asked.count(True) == 1
        assert (own.status_code, own.retry_after) == (429, 1)

    def test_the_async_client_retries_a_server_in_trouble_too(self, colour: Colour, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(each_request(answer(503, b""))) as server:
            pairs(server.base_url, total_retries=2).both("check_api_key")

        asked = [request.headers["user-agent"] == wire.USER_AGENT for request in server.requests]
        assert asked.count(False) == (3 if colour.name == "sync" else 1)
        assert asked.count(True) == 3

    def test_a_value_that_holds_a_placeholder_is_not_expanded(self, pairs: Callable[..., Pair]) -> None:
        body = {**PROMPT, "user_prompt": "{{name}}", "variables": [{"name": "name"}, {"name": "secret"}]}
        with ScriptedServer(each_request(answer(200, json.dumps(body).encode()))) as server:
            prompts = [each.data for each in pairs(server.base_url).both("get_prompt", slug="welcome")]

        values = {"name": "{{secret}}", "secret": "leaked"}
        reference, own = (each.render(values).user_prompt for each in prompts)
        assert (reference, own) == ("leaked", "{{secret}}")

    def test_arguments_that_cannot_be_sent_are_a_response_and_no_exception(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer() as server:
            pair = pairs(server.base_url)
            with pytest.raises(ValueError, match="validation error"):
                pair.wait(pair.theirs.track_event(trace_id=None, event_name="sign_up"))
            own = pair.wait(pair.ours.track_event(trace_id=None, event_name="sign_up"))

        assert (own.ok, own.status_code, own.error) == (False, 0, "trace_id: must be text, not NoneType")

    def test_texts_stay_out_of_a_repr(self, pairs: Callable[..., Pair]) -> None:
        with ScriptedServer(each_request(answer(200, json.dumps(PROMPT).encode()))) as server:
            reference, own = pairs(server.base_url).both("get_prompt", slug="welcome")

        assert "Greet" in repr(reference)
        assert "Greet" not in repr(own)


@pytest.fixture(scope="module")
def dev_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real ``xr2-web dev``."""
    with running(tmp_path_factory.mktemp("dev"), "--ephemeral", "--prompts", str(PROMPTS)) as server:
        yield server.base_url


class TestQuickstarts:
    """The published quickstarts of xr2-sdk run with only import and key changed."""

    def run(self, program: str, base_url: str) -> str:
        environ = {**os.environ, "XR2_BASE_URL": base_url, "PYTHONWARNINGS": "ignore"}
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False, timeout=30
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        return re.sub(r"(?<=tracked: )\w+|evt_\w+", "…", ended.stdout)

    @pytest.mark.parametrize("name", ["sync", "async"])
    def test_it_prints_what_it_prints_with_the_reference_client(self, name: str, dev_server: str) -> None:
        published = (QUICKSTARTS / f"{name}.py.txt").read_text().replace("YOUR_PRODUCT_API_KEY", "xr2_dev_quickstart")
        ported = published.replace("from xr2_sdk.client import", "from xr2_web.client import")

        expected, printed = self.run(published, dev_server), self.run(ported, dev_server)

        assert ported != published
        assert printed == expected
        assert len(printed.splitlines()) > 7
