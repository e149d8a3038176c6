from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from xr2_web import wire
from xr2_web.errors import DeadlineExceeded, InvalidValue
from xr2_web.models import CheckAPIKeyResponse, EventResponse, Prompt
from xr2_web.wire import Answer, Failure, Verdict

NOW = 1_777_636_800.0  # 2026-05-01T12:00:00Z
KEY_OWNER = {"ok": True, "user": "ada"}
EVENT = {
    "status": "success",
    "event_id": "e1",
    "trace_id": "t1",
    "event_name": "sign_up",
    "timestamp": "2026-05-01T12:00:00Z",
    "is_duplicate": False,
}
PROMPT = {
    "slug": "welcome",
    "source_name": "xr2_web",
    "version_number": 3,
    "status": "production",
    "system_prompt": None,
    "user_prompt": "Greet {{name}}.",
    "assistant_prompt": None,
    "variables": [{"name": "name", "required": True}],
    "model_config": {"model": "m", "temperature": 0.5},
    "deployed_at": None,
    "created_at": "2026-05-01T12:00:00Z",
    "updated_at": "2026-05-01T12:00:00Z",
    "trace_id": "evt_1",
    "ab_test_id": None,
    "ab_test_name": None,
    "ab_test_variant": None,
}
GOOD = {
    "key": (wire.check_api_key(), KEY_OWNER),
    "prompt": (wire.get_prompt(slug="welcome", source_name="xr2_web"), PROMPT),
    "event": (wire.event(trace_id="t1", event_name="sign_up", source_name="xr2_web"), EVENT),
}


@pytest.fixture(params=list(GOOD))
def endpoint(request: pytest.FixtureRequest) -> tuple[wire.Request[Any], dict[str, Any]]:
    """Each endpoint's request, and a good answer to it."""
    return GOOD[request.param]


def judge(
    status: int,
    body: object = None,
    *,
    headers: dict[str, str] | None = None,
    request: wire.Request[Any] = GOOD["event"][0],
) -> wire.Judgement[Any]:
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return wire.judge(request, Answer(status, headers or {}, raw), now=NOW)


def refused(detail: object, status: int = 400) -> str:
    return str(judge(status, {"detail": detail}).response.error)


def expected(status: int, *, has_detail: bool) -> Verdict:
    """The table of answers."""
    table = {401: "LOCKED_OUT", 403: "LOCKED_OUT", 429: "RATE_LIMITED"}
    table |= dict.fromkeys((408, 409, 425), "UNAVAILABLE")
    if status in table:
        return Verdict[table[status]]
    if 500 <= status < 600:
        return Verdict.UNAVAILABLE
    return Verdict.REFUSED if 400 <= status < 500 and has_detail else Verdict.MISROUTED


class TestRequests:
    def test_a_prompt_is_asked_for_without_the_options_that_are_absent(self) -> None:
        request = wire.get_prompt(slug="welcome", source_name="xr2_web")

        assert (request.method, request.path) == ("POST", "/api/v1/get-prompt")
        assert json.loads(request.body or b"") == {"slug": "welcome", "source_name": "xr2_web"}

    def test_a_prompt_is_asked_for_by_version_and_status(self) -> None:
        request = wire.get_prompt(slug="welcome", source_name="s", version_number=3, status="testing")

        assert json.loads(request.body or b"") == {
            "slug": "welcome",
            "source_name": "s",
            "version_number": 3,
            "status": "testing",
        }

    def test_an_event_is_sent_without_the_options_that_are_absent(self) -> None:
        request = wire.event(trace_id="t1", event_name="sign_up", source_name="s")

        assert (request.method, request.path) == ("POST", "/api/v1/events")
        assert json.loads(request.body or b"") == {
            "trace_id": "t1",
            "event_name": "sign_up",
            "source_name": "s",
            "metadata": {},
        }

    def test_an_event_is_sent_with_all_that_is_given(self) -> None:
        request = wire.event(
            trace_id="t1",
            event_name="purchase_completed",
            source_name="s",
            user_id=42,
            session_id="s1",
            value=Decimal("19.90"),
            currency="EUR",
            metadata={"items": [1, "два"]},
        )

        assert b'"value":19.90' in (request.body or b"")
        assert json.loads(request.body or b"") == {
            "trace_id": "t1",
            "event_name": "purchase_completed",
            "source_name": "s",
            "user_id": "42",
            "session_id": "s1",
            "value": 19.9,
            "currency": "EUR",
            "metadata": {"items": [1, "два"]},
        }

    def test_a_value_of_nothing_is_sent(self) -> None:
        request = wire.event(trace_id="t1", event_name="e", source_name="s", value=0, metadata={})

        assert json.loads(request.body or b"")["value"] == 0

    def test_the_key_is_checked_without_a_body(self) -> None:
        request = wire.check_api_key()

        assert (request.method, request.path, request.body) == ("GET", "/api/v1/check-api-key", None)

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ({"trace_id": ""}, "trace_id"),
            ({"trace_id": "t" * 101}, "trace_id"),
            ({"event_name": "e" * 101}, "event_name"),
            ({"event_name": None}, "event_name"),
            ({"source_name": ""}, "source_name"),
            ({"user_id": "u" * 256}, "user_id"),
            ({"user_id": object()}, "user_id"),
            ({"session_id": "s" * 101}, "session_id"),
            ({"session_id": ""}, "session_id"),
            ({"value": float("nan")}, "value"),
            ({"value": "5"}, "value"),
            ({"currency": ""}, "currency"),
            ({"currency": "EUROEUROEUROEUROS"}, "currency"),
            ({"metadata": {"a": {1, 2}}}, "metadata.a"),
            ({"metadata": [1]}, "metadata"),
        ],
    )
    def test_an_event_that_cannot_be_sent_names_the_argument(self, given: dict[str, Any], path: str) -> None:
        with pytest.raises(InvalidValue) as caught:
            wire.event(**{"trace_id": "t1", "event_name": "e", "source_name": "s", **given})

        assert caught.value.path == path

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ({"slug": ""}, "slug"),
            ({"slug": "s" * 256}, "slug"),
            ({"slug": None}, "slug"),
            ({"version_number": "3"}, "version_number"),
            ({"version_number": True}, "version_number"),
            ({"status": ""}, "status"),
        ],
    )
    def test_a_prompt_that_cannot_be_asked_for_names_the_argument(self, given: dict[str, Any], path: str) -> None:
        with pytest.raises(InvalidValue) as caught:
            wire.get_prompt(**{"slug": "welcome", "source_name": "s", **given})

        assert caught.value.path == path

    def test_an_event_over_64_kib_is_refused_and_one_of_just_that_is_not(self) -> None:
        frame = len(wire.event(trace_id="t", event_name="e", source_name="s", metadata={"a": ""}).body or b"")
        room = 64 * 1024 - frame

        largest = wire.event(trace_id="t", event_name="e", source_name="s", metadata={"a": "x" * room})

        assert len(largest.body or b"") == 64 * 1024
        with pytest.raises(InvalidValue, match="has 65537 bytes, over 64 KiB"):
            wire.event(trace_id="t", event_name="e", source_name="s", metadata={"a": "x" * (room + 1)})


class TestSuccess:
    @pytest.mark.parametrize("status", [200, 201, 202, 299])
    def test_any_2xx_with_the_right_object_is_delivered(
        self, status: int, endpoint: tuple[wire.Request[Any], dict[str, Any]]
    ) -> None:
        request, body = endpoint

        judgement = judge(status, {**body, "new_field": [1]}, request=request)

        assert judgement.verdict is Verdict.DELIVERED
        assert (judgement.response.ok, judgement.response.status_code) == (True, status)

    def test_the_data_is_what_the_server_said(self) -> None:
        key, prompt, event = (judge(200, body, request=request).response.data for request, body in GOOD.values())

        assert key == CheckAPIKeyResponse(ok=True, user="ada")
        assert event == EventResponse(**EVENT)  # type: ignore[arg-type]
        assert isinstance(prompt, Prompt)
        assert (prompt.slug, prompt.version_number, prompt.trace_id) == ("welcome", 3, "evt_1")
        assert prompt.prompt_model_config == {"model": "m", "temperature": 0.5}
        assert prompt.created_at is not None
        assert prompt.created_at.timestamp() == NOW
        assert (prompt.system_prompt, prompt.deployed_at, prompt.is_fallback) == (None, None, False)

    def test_a_prompt_never_passes_for_a_fallback_because_the_server_says_so(self) -> None:
        judgement = judge(200, {**PROMPT, "is_fallback": True}, request=GOOD["prompt"][0])

        assert judgement.response.data.is_fallback is False

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html><title>Welcome to our Wi-Fi</title></html>",
            b'{"ok": true, "user": "a',
            b"[]",
            b'[{"ok": true}]',
            b"null",
            b"1",
            b'"text"',
            b"{}",
            b"\xff\xfe\x00",
            b"\x1f\x8b\x08\x00",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            None,
        ],
    )
    def test_a_2xx_that_is_not_xr2s_is_not_delivered(
        self, body: bytes | None, endpoint: tuple[wire.Request[Any], dict[str, Any]]
    ) -> None:
        judgement = judge(200, body, request=endpoint[0])

        assert judgement.verdict is Verdict.MISROUTED
        assert judgement.response.error == "HTTP 200, but not an answer of xR2: check BASE_URL"
        assert judgement.response.status_code == 200

    def test_an_object_that_lacks_a_field_or_has_another_type_is_not_delivered(
        self, endpoint: tuple[wire.Request[Any], dict[str, Any]]
    ) -> None:
        request, body = endpoint
        needed = ["slug", "trace_id"] if body is PROMPT else list(body)

        broken = [{name: value for name, value in body.items() if name != left_out} for left_out in needed]
        broken += [{**body, name: {"no": "text"}} for name in needed]

        assert {judge(200, each, request=request).verdict for each in broken} == {Verdict.MISROUTED}

    @pytest.mark.parametrize("trace_id", ["", None, "t" * 101, 5])
    def test_a_prompt_without_a_usable_trace_is_not_taken(self, trace_id: object) -> None:
        judgement = judge(200, {**PROMPT, "trace_id": trace_id}, request=GOOD["prompt"][0])

        assert judgement.verdict is Verdict.MISROUTED


class TestTable:
    @pytest.mark.parametrize("status", [each for each in range(100, 600) if not 200 <= each < 300])
    def test_every_status_has_its_verdict_with_and_without_a_detail(self, status: int) -> None:
        with_detail = judge(status, {"detail": "no"})
        without = [judge(status, body) for body in (b"<html>", b"", None, {"error": 1}, {"detail": None}, [1])]

        assert with_detail.verdict is expected(status, has_detail=True)
        assert {each.verdict for each in without} == {expected(status, has_detail=False)}
        assert {each.response.status_code for each in (with_detail, *without)} == {status}
        assert not any(each.response.ok for each in (with_detail, *without))

    @pytest.mark.parametrize(("status", "detail"), [(404, "Not Found"), (405, "Method Not Allowed")])
    def test_a_path_that_the_server_does_not_have_is_no_refusal(self, status: int, detail: str) -> None:
        judgement = judge(status, {"detail": detail})

        assert judgement.verdict is Verdict.MISROUTED
        assert judgement.response.error == f"{detail}: check BASE_URL"
        assert judge(status, {"detail": "Event not found"}).verdict is Verdict.REFUSED
        assert judge(status, {"detail": {"message": detail}}).verdict is Verdict.REFUSED

    @pytest.mark.parametrize("detail", ["Internal server error: 404: Event x not found", "a: 400: missing field y"])
    def test_a_500_that_hides_a_refusal_is_doubted(self, detail: str) -> None:
        assert judge(500, {"detail": detail}).verdict is Verdict.DOUBTED

    @pytest.mark.parametrize(
        "detail", ["Internal server error", "404: x", "error: 404", {"message": "a: 404: b"}, ["a: 404: b"], 404]
    )
    def test_any_other_500_is_trouble(self, detail: object) -> None:
        assert judge(500, {"detail": detail}).verdict is Verdict.UNAVAILABLE

    @pytest.mark.parametrize("told", [{"reset_time": "2026-05-02T00:00:00Z"}, {"max_requests_per_day": 100}])
    def test_a_429_of_the_daily_quota_is_told_from_a_rate_limit(self, told: dict[str, object]) -> None:
        assert judge(429, {"detail": told}).verdict is Verdict.QUOTA_USED_UP
        assert judge(429, {"detail": {"message": "slow down"}}).verdict is Verdict.RATE_LIMITED
        assert judge(429, b"").verdict is Verdict.RATE_LIMITED

    @pytest.mark.parametrize(("is_timeout", "cause"), [(True, DeadlineExceeded), (False, type(None))])
    def test_no_answer_is_trouble_and_says_whether_it_was_late(self, is_timeout: bool, cause: type) -> None:
        judgement = wire.judge(GOOD["key"][0], Failure("it broke", is_timeout=is_timeout), now=NOW)

        assert judgement.verdict is Verdict.UNAVAILABLE
        assert (judgement.response.error, judgement.response.status_code) == ("it broke", 0)
        assert type(judgement.response.cause) is cause


class TestWhenToReturn:
    @pytest.mark.parametrize(
        ("body", "header", "seconds"),
        [
            ({"detail": "Too many requests", "retry_after": 300}, None, 300),
            ({"detail": "Too many requests", "retry_after": 300}, "5", 300),
            ({"detail": {"message": "m", "retry_after": 20}}, "5", 20),
            ({"detail": "x"}, "300", 300),
            (b"", "300", 300),
            ({"detail": "x"}, "Fri, 01 May 2026 12:01:30 GMT", 90),
            ({"detail": "x"}, "Fri, 01 May 2026 11:00:00 GMT", 0),
            ({"detail": "x"}, "0", 0),
            ({"detail": "x"}, "-1", 0),
            ({"detail": "x"}, "1e9", 1e9),
            ({"detail": "x"}, "NaN", None),
            ({"detail": "x"}, "soon", None),
            ({"detail": "x"}, None, None),
            ({"detail": "x", "retry_after": None}, "5", 5),
            ({"detail": "x", "retry_after": {"s": 5}}, "5", 5),
            ({"detail": {"reset_time": "2026-05-01T13:00:00Z"}}, None, 3600),
            ({"detail": {"reset_time": "2026-05-01T13:00:00"}}, None, 3600),
            ({"detail": {"reset_time": "2026-05-02"}}, None, 43200),
            ({"detail": {"reset_time": "2026-05-01T11:00:00Z"}}, None, 0),
            ({"detail": {"reset_time": "9999-12-31T23:59:59Z"}}, None, 253402300799 - NOW),
            ({"detail": {"reset_time": "tomorrow"}}, None, None),
            ({"detail": {"reset_time": 5}}, None, None),
            ({"detail": {"reset_time": "2026-05-01T13:00:00Z"}}, "60", 60),
        ],
    )
    def test_body_then_header_then_reset_time(self, body: Any, header: str | None, seconds: float | None) -> None:
        judgement = judge(429, body, headers={} if header is None else {"retry-after": header})

        assert judgement.response.retry_after == seconds

    def test_the_reset_time_is_passed_on_in_the_servers_words(self) -> None:
        assert judge(429, {"detail": {"reset_time": "2026-05-02"}}).response.reset_time == "2026-05-02"
        assert judge(429, {"detail": {"reset_time": 5}}).response.reset_time is None


class TestWords:
    @pytest.mark.parametrize(
        ("detail", "words"),
        [
            ("no such slug", "no such slug"),
            ({"error": "not_found", "message": "no such slug"}, "no such slug"),
            ({"error": "not_found"}, "{'error': 'not_found'}"),
            ({"message": None, "error": "x"}, "{'message': None, 'error': 'x'}"),
            (
                [{"loc": ["body", "items", 0], "msg": "field required", "type": "missing"}],
                "body.items.0: field required",
            ),
            (
                [{"loc": ["body", "slug"], "msg": "too long"}, {"loc": ["body"], "msg": "bad"}],
                "body.slug: too long; body: bad",
            ),
            ([{"loc": ["a"]}], "a: is not valid"),
            ([{"loc": 5, "msg": "bad"}, {"msg": "odd"}, "text", None], "5: bad; None: odd; text; None"),
            (5, "5"),
        ],
    )
    def test_every_form_of_detail_is_put_into_words(self, detail: object, words: str) -> None:
        assert refused(detail) == words

    def test_a_refused_key_names_the_setting(self) -> None:
        assert refused("Invalid API key", 401) == "Invalid API key (check API_KEY)"
        assert judge(401, b"").response.error == "the key is not accepted (check API_KEY)"
        assert refused("Not authenticated", 403) == "Not authenticated"

    def test_what_says_nothing_is_described(self) -> None:
        assert judge(404, b"<html>").response.error == "HTTP 404 without xR2's JSON"
        assert judge(502, None).response.error == "HTTP 502 without xR2's JSON"
        assert judge(302, b"").response.error == "HTTP 302: a redirect, which is never followed: check BASE_URL"

    def test_nothing_that_was_sent_comes_back_with_a_validation_error(self) -> None:
        said = refused([{"loc": ["body", "user_id"], "msg": "bad", "input": "ada@example.com", "ctx": {"k": "v"}}], 422)

        assert said == "body.user_id: bad"

    @pytest.mark.parametrize("detail", ["x\r\nERROR forged", {"message": "x\n\x1b[31mforged"}, ["x\u2028forged"]])
    def test_it_is_one_line_however_the_answer_was_written(self, detail: object) -> None:
        assert refused(detail).isprintable()

    def test_it_is_no_page_however_long_the_answer_was(self) -> None:
        assert len(refused("x" * 1_000_000)) == 1000


def test_nothing_that_can_come_back_makes_judging_fail(endpoint: tuple[wire.Request[Any], dict[str, Any]]) -> None:
    odd = [None, True, 5, -1.5, "", "\x00", [], [[]], [None], {}, {"detail": {}}, {"message": [1]}, {"loc": {"a": 1}}]
    bodies = [{"detail": each, "retry_after": other} for each in odd for other in odd]

    judged = [judge(status, body, request=endpoint[0]) for status in (200, 302, 400, 401, 429, 500) for body in bodies]

    assert not any(each.response.ok for each in judged)
