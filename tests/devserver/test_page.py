"""The page, and what guards it from other pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xr2_web.devserver import Store
from xr2_web.devserver.page import TRACES_SHOWN

from .conftest import Visitor

HOSTILE = "<script>alert(1)</script>"


def page(visitor: Visitor) -> str:
    answer = visitor.http.get("/")
    assert answer.status_code == 200
    return answer.text


def test_before_anything_happened_the_page_says_how_to_begin(visitor: Visitor) -> None:
    shown = page(visitor)

    assert "XR2_BASE_URL=http://127.0.0.1:8765" in shown
    assert "XR2_API_KEY=xr2_dev_local" in shown


def test_prompts_are_listed_with_version_and_status(visitor: Visitor) -> None:
    visitor.write(product='---\nversion = 5\nstatus = "testing"\n---\nHi')

    shown = page(visitor)

    assert re.search(r"product.*version 5.*testing.*welcome.*version 1.*production", shown, re.DOTALL)


def test_events_stand_under_their_fetch_and_the_newest_fetch_comes_first(visitor: Visitor) -> None:
    older, newer = visitor.trace_id(), visitor.trace_id()
    visitor.send(older, "older_event", user_id="user-1", session_id="session-1", value=1234.5, currency="EUR")
    visitor.send(newer, "newer_event", metadata={"plan": "pro"})

    order = [newer, "newer_event", "plan", "pro", older, "older_event", "1,234.50 EUR", "user-1", "session-1"]

    assert re.search(".*".join(order), page(visitor), re.DOTALL)


def test_duplicate_refused_and_undefined_events_are_marked(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id)
    visitor.send(trace_id)
    unmarked = page(visitor)
    visitor.define("[sign_up]")
    visitor.send(trace_id, "upgraded")

    assert unmarked.count("duplicate, not counted") == 1
    assert ">undefined at xR2<" in unmarked
    assert ">refused<" not in unmarked
    assert page(visitor).count(">refused<") == 1


def test_a_refused_event_of_no_trace_is_shown(visitor: Visitor) -> None:
    visitor.send("evt_nobody", "lost_event")

    assert re.search("Refused without a trace.*lost_event.*Trace not found.*evt_nobody", page(visitor), re.DOTALL)


def test_a_file_that_cannot_be_read_is_shown(visitor: Visitor) -> None:
    visitor.write(broken="---\nversion")

    assert "broken.prompt: the front matter has no closing line of ---" in page(visitor)


def test_everything_is_escaped(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id, HOSTILE, user_id=HOSTILE, currency=HOSTILE, metadata={HOSTILE: HOSTILE, "list": [HOSTILE]})
    visitor.send(HOSTILE, HOSTILE)
    visitor.define(f'["{HOSTILE}"]\ndescription = "{HOSTILE}"')
    visitor.write(**{HOSTILE.replace("/", ""): "Hi"})

    shown = page(visitor)

    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") >= 8


def test_a_long_history_is_cut_and_says_so(visitor: Visitor) -> None:
    for _ in range(TRACES_SHOWN + 1):
        visitor.fetch()

    shown = page(visitor)

    assert shown.count("<article>") == TRACES_SHOWN
    assert f"The newest {TRACES_SHOWN} are shown" in shown


def test_the_page_runs_no_script_and_loads_nothing_from_elsewhere(visitor: Visitor) -> None:
    answer = visitor.http.get("/")
    assets = re.findall(r'<link [^>]*href="([^"]*)"', answer.text)

    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert assets
    assert all(visitor.http.get(asset).status_code == 200 for asset in assets if asset.startswith("/static/"))
    assert all(asset.startswith("/static/") for asset in assets)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost@evil", "[::2]", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/local/traces", "/health", "/api/v1/check-api-key"])
def test_a_foreign_host_is_refused(visitor: Visitor, host: str, path: str) -> None:
    answer = visitor.http.get(path, headers={"Host": host})

    assert (answer.status_code, answer.json()["detail"]) == (400, "Host header not allowed: this is a local server")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost:8765", "LOCALHOST", "[::1]", "[::1]:8765"])
def test_the_names_of_this_machine_are_answered(visitor: Visitor, host: str) -> None:
    assert visitor.http.get("/health", headers={"Host": host}).status_code == 200


def test_any_host_is_answered_where_the_app_is_told_so(tmp_path: Path, store: Store) -> None:
    visitor = Visitor(tmp_path, store, hosts=None)

    assert visitor.http.get("/health", headers={"Host": "build.example"}).status_code == 200


def test_another_page_can_neither_send_nor_read(visitor: Visitor) -> None:
    del visitor.http.headers["Authorization"]
    foreign = {"Origin": "https://evil.example", "Content-Type": "text/plain"}

    sent = visitor.http.post("/api/v1/events", content="{}", headers=foreign)
    read = visitor.http.get("/api/local/traces", headers=foreign)

    assert sent.status_code == 403
    assert "Access-Control-Allow-Origin" not in read.headers
    assert read.headers["Cross-Origin-Resource-Policy"] == "same-origin"
