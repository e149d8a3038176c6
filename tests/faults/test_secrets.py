"""What is on its way stays between the application and xR2: the key, and all that is personal in events."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import xr2_web
from xr2_web.engines import spool_path
from xr2_web.outbox import Claim
from xr2_web.outbox.memory import MemoryOutbox
from xr2_web.process import Process
from xr2_web.runtime import Runtime

from ..conftest import RuntimeMaker
from ..scripted_server import Connection, ScriptedServer, answer, each_request
from .sending import EVENTS, KEY, TAKEN, Clock, Sender, traces_of, track

Start = Callable[..., Sender]

PERSON = "ada@example.org"

served = each_request(TAKEN)


def said(detail: object) -> bytes:
    return json.dumps({"detail": detail}).encode()


ANSWERS = {
    "taken": TAKEN,
    "taken before": TAKEN.replace(b"false", b" true"),
    "refused": answer(400, said("no such event")),
    "refused by its fields": answer(422, said([{"loc": ["body", "user_id"], "msg": "bad", "input": PERSON}])),
    "key not accepted": answer(401, said("Invalid API key")),
    "too many": answer(429, said("Too many requests")),
    "quota": answer(429, said({"reset_time": "soon"})),
    "hidden refusal": answer(500, said("Internal server error: 404: no such event")),
    "in trouble": answer(503, b""),
    "redirect": answer(302, b"", {"Location": f"https://elsewhere.example/?user={PERSON}"}),
    "another": answer(200, f"<html>{PERSON}</html>".encode()),
    "broken": TAKEN[:40],
    "not HTTP": b"SSH-2.0\r\n\r\n",
}


@pytest.mark.parametrize("given", ANSWERS.values(), ids=ANSWERS.keys())
def test_whatever_the_answer_no_log_has_the_key_or_anything_personal(
    start: Start, clock: Clock, caplog: pytest.LogCaptureFixture, given: bytes
) -> None:
    """Fault: the key in a log."""
    caplog.set_level(logging.DEBUG)

    def serve(connection: Connection) -> None:
        if connection.read_request() is not None:
            connection.send(given)

    with ScriptedServer(serve) as server:
        sender = start(server.base_url)
        about = {"user_id": PERSON, "session_id": "SESSION", "metadata": {"who": PERSON}}
        sender.track("evt_SECRET_1", "evt_SECRET_2", **about)
        for _ in range(5):
            clock.advance(sender.run() or 0.0)

    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    shown = "".join(f"{record.getMessage()}{vars(record)}" for record in caplog.records)
    for hidden in ("SECRET", PERSON, "SESSION"):
        assert hidden not in shown


@pytest.mark.parametrize(
    "words", ["no\r\nERROR root: breached", "no\x1b[31m red", "no\x00", "no\u2028next", "no\u202egnirts", "no" * 5_000]
)
def test_what_a_server_says_stays_one_line_of_the_log(
    start: Start, clock: Clock, caplog: pytest.LogCaptureFixture, words: str
) -> None:
    """Fault: log injection, by the server."""
    with ScriptedServer(each_request(answer(400, said(words)))) as server:
        sender = start(server.base_url)
        sender.track("evt_1")

        sender.run()

    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 1200


def test_what_an_event_is_called_stays_one_line_of_the_log(
    make_runtime: RuntimeMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault: log injection, by an event name that comes from outside."""
    with ScriptedServer(each_request(answer(400, said("no")))) as server:
        runtime = make_runtime(base_url=server.base_url)
        with xr2_web.scope(runtime=runtime, trace_id="evt_1"):
            xr2_web.track_event("sign_up\r\nERROR root: breached\x1b[31m")
        runtime.flush(10)

    (record,) = caplog.records
    assert "sign_up" in record.getMessage()
    assert record.getMessage().isprintable()


def test_nothing_in_an_event_gets_into_the_head_of_a_request(make_runtime: RuntimeMaker) -> None:
    """Fault: CR/LF in a slug, and in all else that applications pass on."""
    evil = "a\r\nX-Evil: 1\r\n\r\nPOST /evil HTTP/1.1"
    with ScriptedServer(served) as server:
        runtime = make_runtime(base_url=server.base_url, api_key=KEY)
        with xr2_web.scope(runtime=runtime, trace_id=evil):
            receipt = xr2_web.track_event(evil, user_id=evil, session_id=evil, currency="E\r\nR", metadata={evil: evil})
            xr2_web.get_prompt(evil, fallback="")
        flushed = runtime.flush(10)

    assert (receipt.accepted, flushed.left) == (True, 0)
    prompt, event = sorted(server.requests, key=lambda each: each.line == EVENTS)
    assert (prompt.line, event.line) == ("POST /api/v1/get-prompt HTTP/1.1", EVENTS)
    assert "x-evil" not in {**prompt.headers, **event.headers}
    assert json.loads(event.body)["event_name"] == evil


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": f"{KEY}\r\nX-Evil: 1"},
        {"api_key": f"{KEY}\n"},
        {"base_url": f"https://user:{KEY}@xr2.uk"},
        {"base_url": f"file:///{KEY}"},
        {"base_url": f"https://xr2.uk\\@{KEY}.example"},
        {"base_url": f"gopher://{KEY}.example"},
    ],
    ids=lambda given: f"{given}".replace(KEY, "…"),
)
def test_an_address_or_a_key_that_would_lead_elsewhere_is_an_error_at_the_start(given: dict[str, Any]) -> None:
    """Faults: CR/LF in the key; base_url with credentials; base_url of `file:`, a backslash, another scheme."""
    with pytest.raises(xr2_web.ConfigurationError) as caught:
        xr2_web.configure(**{"api_key": "xr2_dev_tests", **given})

    assert "SECRET" not in f"{caught.value!r}{caught.value}"


class TestTheKey:
    def test_it_is_in_nothing_that_a_debugger_or_a_log_prints(self, make_runtime: RuntimeMaker) -> None:
        """Faults: the key in repr; the key in str; the key in vars."""
        with ScriptedServer(served) as server:
            runtime = make_runtime(base_url=server.base_url, api_key=KEY)
            track(runtime, "evt_1")
            runtime.flush(10)
        parts = [each for each in (runtime, *vars(runtime).values()) if isinstance(each, Runtime | Process)]
        shown = "".join(f"{each!r}{each}{vars(each)}" for each in parts)

        assert len(parts) == 2
        assert "SECRET" not in shown

    def test_it_is_in_no_traceback_with_locals(self, start: Start) -> None:
        """Fault: the key in a traceback."""

        class Broken(MemoryOutbox):
            def claim(self) -> Claim | None:
                raise OSError("broken")

        sender = start("http://127.0.0.1:1", outbox=lambda chosen: Broken(10))
        sender.track("evt_1")

        with pytest.raises(OSError, match="broken") as caught:
            sender.run()

        trace = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert "self = <xr2_web.delivery.Delivery" in trace
        assert "SECRET" not in trace

    def test_a_runtime_cannot_be_pickled_with_it(self, make_runtime: RuntimeMaker) -> None:
        """Fault: the key in a pickle."""
        runtime = make_runtime(api_key=KEY)

        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(runtime)

    def test_it_is_not_on_the_disk(self, start: Start) -> None:
        sender = start("http://127.0.0.1:1", rate_limit="90/min")
        sender.track("evt_1")
        sender.run()

        files = list(spool_path(sender.settings).iterdir())

        assert any(b"evt_1" in each.read_bytes() for each in files)
        assert not any(KEY.encode() in each.read_bytes() or KEY in each.name for each in files)

    def test_what_was_accepted_under_one_key_or_for_one_server_goes_nowhere_else(self, start: Start) -> None:
        """Authorization does not travel, and neither do events: staging beside production, in one folder."""
        with ScriptedServer(served) as server, ScriptedServer(served) as staging:
            start("http://127.0.0.1:1").track("of a server that is down")
            first = start(server.base_url)
            first.track("of the first key")
            first.close()
            others = [start(server.base_url, api_key="xr2_dev_other"), start(staging.base_url)]
            for each in others:
                each.track("of another")
                each.run_out()
            before = [traces_of(each.requests) for each in (server, staging)]
            heir = start(server.base_url)
            heir.run_out()

        assert before == [["of another"], ["of another"]]
        assert [each.headers["authorization"] for each in server.requests] == ["Bearer xr2_dev_other", f"Bearer {KEY}"]
        assert traces_of(server.requests)[1:] == ["of the first key"]
