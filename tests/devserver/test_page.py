"""The page, and what guards it from other pages."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import pytest

from xr2_web.devserver import Store
from xr2_web.devserver.visits import EVENTS_SHOWN, VISITS_SHOWN

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


def test_beside_the_visits_stands_what_each_version_has_brought(visitor: Visitor) -> None:
    visitor.write(welcome__b='---\nversion = 2\nstatus = "testing"\n---\nHi', other="Hi")
    for number in (1, 2, 1):
        trace_id = visitor.fetch(version_number=number).json()["trace_id"]
        if number == 1:
            visitor.send(trace_id)
            visitor.send(trace_id)
    visitor.send(trace_id, "paid", value=3)

    told = re.findall(r"version (\d) |<p class=\"brought\">(.*?)</p>", page(visitor).partition('id="catalog"')[2])

    assert [number or re.sub("<.*?>", "", brought) for number, brought in told] == [
        "1",
        *("2", "1 fetch"),
        *("1", "2 fetches, 2 sign_up, 1 paid"),
    ]


def test_what_a_version_has_brought_is_counted_however_it_was_handed_out(visitor: Visitor) -> None:
    tested = '---\nversion = {0}\nab_test = "tone"\n---\nText {0}'
    visitor.write(welcome=tested.format(1), welcome__b=tested.format(2))
    for options in ({}, {}, {"version_number": 1}):
        visitor.send(visitor.fetch(**options).json()["trace_id"])

    brought = re.findall(r'<p class="brought">(.*?)</p>', page(visitor))

    assert [re.sub("<.*?>", "", each) for each in brought] == ["1 fetch, 1 sign_up", "2 fetches, 2 sign_up"]


def test_events_stand_under_their_fetch_and_the_newest_fetch_comes_first(visitor: Visitor) -> None:
    older, newer = visitor.trace_id(), visitor.trace_id()
    visitor.send(older, "older_event", user_id="user-1", session_id="session-1", value=1234.5, currency="EUR")
    visitor.send(newer, "newer_event", metadata={"plan": "pro"})

    order = [newer, "newer_event", "plan", "pro", "session-1", older, "older_event", "1,234.50 EUR", "user-1"]

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
    assert 'class="mark bad"' not in unmarked
    assert page(visitor).count('class="mark bad">refused<') == 1


def test_a_refused_event_of_no_trace_is_shown(visitor: Visitor) -> None:
    visitor.send("evt_nobody", "lost_event")

    assert re.search("Under no known trace.*evt_nobody.*lost_event.*Trace not found", page(visitor), re.DOTALL)


def test_a_file_that_cannot_be_read_is_shown(visitor: Visitor) -> None:
    visitor.write(broken="---\nversion")

    assert "broken.prompt: the front matter has no closing line of ---" in page(visitor)


def test_everything_is_escaped(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id, HOSTILE, user_id=HOSTILE, currency=HOSTILE, metadata={HOSTILE: HOSTILE, "list": [HOSTILE]})
    visitor.send(HOSTILE, HOSTILE)
    visitor.define(f'["{HOSTILE}"]\ndescription = "{HOSTILE}"')
    visitor.write(**{HOSTILE.replace("/", ""): "Hi"})

    for path in ("/", f"/traces/{trace_id}", f"/traces/{quote(HOSTILE, safe='')}", f"/?text={quote(HOSTILE)}"):
        shown = visitor.http.get(path).text

        assert "<script>" not in shown
        assert "&lt;script&gt;" in shown
    assert page(visitor).count("&lt;script&gt;") >= 8


def test_a_long_history_is_cut_and_says_so(visitor: Visitor) -> None:
    for _ in range(VISITS_SHOWN + 1):
        visitor.fetch()

    shown = page(visitor)

    assert shown.count("<article") == VISITS_SHOWN
    assert f"The {VISITS_SHOWN} latest visits are shown" in shown


def test_a_long_visit_is_cut_and_shown_whole_on_its_own_page(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    for number in range(EVENTS_SHOWN + 3):
        visitor.send(trace_id, f"event_{number}", session_id="s")

    shown = page(visitor)

    assert "3 earlier entries are not shown here" in shown
    assert [f">event_{each}<" in shown for each in (2, 3)] == [False, True]
    assert ">event_0<" in visitor.http.get(f"/traces/{trace_id}").text


def test_fetches_and_events_of_a_session_are_one_visit(visitor: Visitor) -> None:
    mine, yours, later = visitor.trace_id(), visitor.trace_id(), visitor.trace_id()
    visitor.send(mine, session_id="me")
    visitor.send(yours, session_id="you")
    visitor.send(later, session_id="me")
    visitor.send("evt_lost", session_id="me")

    cards = re.findall("<article.*?</article>", page(visitor), re.DOTALL)

    assert len(cards) == 2
    [of_me] = [each for each in cards if "<code>me</code>" in each]
    assert [each in of_me for each in (mine, later, "evt_lost", yours)] == [True, True, True, False]


def test_a_trace_has_a_page_and_an_unknown_one_says_so(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id, "upgraded", session_id="s")

    known, unknown = visitor.http.get(f"/traces/{trace_id}"), visitor.http.get("/traces/evt_nobody")

    assert (known.status_code, unknown.status_code) == (200, 404)
    assert re.search(f"{trace_id}.*upgraded", known.text, re.DOTALL)
    assert "Nothing is known of this trace" in unknown.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("text=ALPHA", {"alpha"}),
        ("text=user-b", {"beta"}),
        ("text=pro%25", {"beta"}),
        ("text=al_ha", set()),
        ("prompt=product", {"beta"}),
        ("refused=1", {"gamma"}),
        ("prompt=welcome&text=beta", set()),
        ("refused=1&text=evt_", {"gamma"}),
        ("", {"alpha", "beta", "gamma"}),
    ],
)
def test_a_search_shows_whole_visits_that_fit(visitor: Visitor, query: str, found: set[str]) -> None:
    visitor.write(product="Describe it.")
    visitor.send(visitor.trace_id(), "alpha", session_id="a", metadata={"plan": "pro"})
    visitor.send(visitor.fetch("product").json()["trace_id"], "beta", user_id="user-b", metadata={"plan": "pro%"})
    visitor.send("evt_nobody", "gamma")

    shown = visitor.http.get(f"/?{query}").text

    assert {each for each in ("alpha", "beta", "gamma") if f"<strong>{each}</strong>" in shown} == found
    assert ("Nothing fits" in shown) == (not found)


def test_the_page_runs_only_its_own_scripts_and_loads_nothing_from_elsewhere(visitor: Visitor) -> None:
    answer = visitor.http.get("/")
    assets = re.findall(r'<(?:link|script|img) [^>]*(?:href|src)="([^"]*)"', answer.text)

    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert set(re.findall(r"https?://\S+|'self'", policy)) == {"'self'"}
    assert not re.search(r"<script(?! src)|<style|\son[a-z]+=|\sstyle=", answer.text)
    assert len(assets) >= 6
    assert all(visitor.http.get(asset).status_code == 200 for asset in assets)
    assert all(asset.startswith("/static/") for asset in assets)


def test_what_others_wrote_is_here_unchanged_with_its_licence() -> None:
    vendor = files("xr2_web.devserver") / "static" / "vendor"
    known = tomllib.loads((vendor / "vendor.toml").read_text())

    assert {each.name for each in vendor.iterdir() if each.name.endswith(".js")} == set(known)
    for name, origin in known.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == origin["sha256"]
        assert f"-{origin['version']}.tgz" in origin["source"]
        assert "permission" in (vendor / origin["license"]).read_text().lower()


def test_the_first_load_is_small(visitor: Visitor) -> None:
    for number in range(VISITS_SHOWN):
        trace_id = visitor.trace_id()
        for name in ("sign_up", "purchase_completed", "upgraded"):
            visitor.send(trace_id, name, session_id=f"session-{number}", value=20, metadata={"order_id": number})
    answer = visitor.http.get("/")
    assets = set(re.findall(r'<(?:link|script|img) [^>]*(?:href|src)="([^"]*)"', answer.text))

    answers = [answer, *(visitor.http.get(asset) for asset in assets)]

    # What came over the wire: the client has already unpacked it.
    assert sum(int(each.headers["Content-Length"]) for each in answers) < 50_000


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
