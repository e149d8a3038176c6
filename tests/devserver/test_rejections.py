"""What the page tells of requests that came to nothing: prompts that are not served, keys that are refused."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from xr2_web.devserver import Store
from xr2_web.devserver.limits import Limits
from xr2_web.devserver.rejections import KEPT, LONGEST, SHOWN_FOR

from .conftest import Visitor


def told(visitor: Visitor, query: str = "") -> list[str]:
    """Return what the page says of each refused request, the latest first."""
    section = re.search('<section class="rejections".*?</section>', visitor.http.get(f"/{query}").text, re.DOTALL)
    entries = re.findall("<li>(.*?)</li>", section[0], re.DOTALL) if section else []
    return [" ".join(unescape(re.sub("<.*?>", " ", each)).split()) for each in entries]


def test_a_prompt_that_is_not_there_is_told_with_the_nearest(visitor: Visitor) -> None:
    visitor.fetch("welcom")

    [entry] = told(visitor)

    assert entry.startswith("welcom 404 tests ")
    assert "The nearest name is welcome." in entry
    assert "Fetch welcome, or put a file of this name into the folder: welcom.prompt" in entry
    assert entry.endswith("xR2 answers: Prompt not found. Available slugs: welcome")


def test_one_like_no_other_asks_for_a_file(visitor: Visitor) -> None:
    visitor.fetch("goodbye")

    [entry] = told(visitor)

    assert "No prompt goodbye is in the folder, nor one with a name like it." in entry
    assert "Put a file of this name into the folder: goodbye.prompt" in entry


def test_a_version_that_is_not_there_is_told_as_xr2_answers(visitor: Visitor) -> None:
    visitor.fetch(version_number=7)

    [entry] = told(visitor)

    assert "xR2 answers: No such version. Available versions of welcome: 1 (production)" in entry
    assert "To do" not in entry


@pytest.mark.parametrize(("method", "endpoint"), [("post", "get-prompt"), ("post", "events"), ("get", "check-api-key")])
def test_a_refused_key_is_told_and_not_shown(visitor: Visitor, method: str, endpoint: str) -> None:
    visitor.http.request(method, f"/api/v1/{endpoint}", headers={"Authorization": "Bearer xr2_prod_secret"})

    [entry] = told(visitor)

    assert entry.startswith(f"{endpoint} 401 ")
    assert "this is a production key" in entry
    assert "xr2_prod_secret" not in visitor.http.get("/").text


def test_a_request_without_a_key_is_told(visitor: Visitor) -> None:
    del visitor.http.headers["Authorization"]
    visitor.fetch()

    [entry] = told(visitor)

    assert re.match("get-prompt 403 .*Not authenticated", entry)


def test_what_is_asked_for_wrongly_is_told(visitor: Visitor) -> None:
    visitor.http.post("/api/v1/get-prompt", json={"slug": 7, "source_name": "tests"})
    visitor.http.post("/api/v1/get-prompt", content="{")

    last, first = told(visitor)

    assert re.match("get-prompt 422 tests .*body.slug: Expected `str`, got `int`", first)
    assert re.match("get-prompt 422 .*JSON decode error", last)


def test_what_the_limits_refuse_is_told(tmp_path: Path, store: Store) -> None:
    visitor = Visitor(tmp_path, store, limits=Limits(daily_quota=1, ip_limit=2))
    visitor.write(welcome="Hi")
    for _ in range(3):
        visitor.fetch()

    last, first = told(visitor)

    assert re.match("welcome 429 tests .*Daily limit of 1 prompt requests is used up", first)
    assert re.match("get-prompt 429 .*--ip-limit refuses the address for 300 s", last)


def test_the_same_is_told_once_and_counted(visitor: Visitor) -> None:
    for slug in ("welcom", "goodbye", "welcom", "welcom"):
        visitor.fetch(slug)

    entries = told(visitor)

    assert [each.split(" tests ")[0] for each in entries] == ["welcom 404 3 times", "goodbye 404"]


def test_it_is_over_when_the_prompt_is_served(visitor: Visitor) -> None:
    visitor.fetch("product")
    visitor.fetch("goodbye")
    visitor.write(product="Hi")

    visitor.fetch("product")

    assert [each.split()[0] for each in told(visitor)] == ["goodbye"]


def test_it_is_shown_for_a_while(visitor: Visitor) -> None:
    visitor.fetch("welcom")
    visitor.now += SHOWN_FOR - 1
    before = told(visitor)
    visitor.now += 1

    assert before
    assert not told(visitor)


def test_it_is_gone_with_everything_else(visitor: Visitor) -> None:
    visitor.fetch("welcom")

    visitor.http.post("/clear")

    assert not told(visitor)


@pytest.mark.parametrize(("query", "is_told"), [("?refused=1", True), ("?text=sign_up", False), ("?prompt=x", False)])
def test_a_search_for_something_else_does_not_find_it(visitor: Visitor, query: str, is_told: bool) -> None:
    visitor.fetch("welcom")

    assert bool(told(visitor, query)) is is_told


def test_an_event_that_is_refused_is_in_its_visit_alone(visitor: Visitor) -> None:
    visitor.send("evt_unknown")

    assert not told(visitor)


def test_few_are_kept_and_little_of_each(visitor: Visitor) -> None:
    for number in range(KEPT + 5):
        visitor.fetch(f"{number}-" + LONGEST * "x")

    entries = told(visitor)

    assert len(entries) == KEPT
    assert entries[0].startswith(f"{KEPT + 4}-x")
    assert max(len(word) for each in entries for word in each.split()) == LONGEST + len(".prompt")


def test_nothing_of_it_is_taken_for_html(visitor: Visitor) -> None:
    visitor.http.post("/api/v1/get-prompt", json={"slug": "<b>", "source_name": "<i>"})

    shown = visitor.http.get("/").text

    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown.replace("<b>To do:</b>", "").replace("<b>0</b>", "")
    assert "<i>" not in shown


def revision(visitor: Visitor) -> Any:
    found = re.search("seen=([0-9a-f-]+)", visitor.http.get("/").text)
    return found and found[1]


def test_an_open_page_gets_to_know(visitor: Visitor) -> None:
    seen = [revision(visitor)]
    for slug in ("product", "product"):
        visitor.fetch(slug)
        seen.append(revision(visitor))
    visitor.write(product="Hi")
    visitor.fetch("product")
    seen.append(revision(visitor))

    assert len(set(seen)) == 4
