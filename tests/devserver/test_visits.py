"""Which visits the page shows, what stands in each, and in which order."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import pytest

from xr2_web.devserver import Store
from xr2_web.devserver.store import Attempt, Trace

from .conftest import Visitor

_TRACE = r'class="plain" href="/traces/[^"]*"><code>(.*?)</code>'
_EVENT = r"<strong>(.*?)</strong>"


def cards(visitor: Visitor, path: str = "/") -> list[list[str]]:
    """Return for each visit on a page its trace ids and the names of its events, as they stand there."""
    shown = visitor.http.get(path).text
    return [
        [html.unescape(trace or event) for trace, event in re.findall(f"{_TRACE}|{_EVENT}", card)]
        for card in re.findall(r'<article id="visit-.*?</article>', shown, re.DOTALL)
    ]


def left_out(visitor: Visitor, path: str = "/") -> str:
    """Return what the page says of earlier entries."""
    return "".join(re.findall(r"(\d+ earlier \w+) (?:is|are) not shown", visitor.http.get(path).text))


def counts(visitor: Visitor) -> list[str]:
    """Return the numbers above the visits."""
    found = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", visitor.http.get("/").text)
    return [f"{count} {name}" for name, count in found]


def of_session(visitor: Visitor, number: int, *, events: int = 1) -> list[str]:
    """Make so many fetches of one session, each with its events, and return their trace ids."""
    trace_ids = [visitor.trace_id() for _ in range(number)]
    for place, trace_id in enumerate(trace_ids):
        for which in range(events):
            visitor.send(trace_id, f"event_{place}_{which}", session_id="me")
    return trace_ids


def test_the_visitor_who_was_active_last_comes_first(visitor: Visitor) -> None:
    for _ in range(4):
        visitor.send("evt_before", "before")
    first, second, third = (visitor.trace_id() for _ in range(3))
    visitor.send("evt_after", "after")
    visitor.send(first, "came_back")

    assert [card[0] for card in cards(visitor)] == [first, "evt_after", third, second, "evt_before"]


def test_inside_of_a_visit_the_oldest_comes_first(visitor: Visitor) -> None:
    older, newer = of_session(visitor, 2, events=2)
    visitor.send("evt_astray", "astray_0", session_id="me")
    visitor.send("evt_astray", "astray_1", session_id="me")

    assert cards(visitor) == [
        [older, "event_0_0", "event_0_1", newer, "event_1_0", "event_1_1", "evt_astray", "astray_0", "astray_1"]
    ]
    assert left_out(visitor) == ""


def test_every_event_stands_in_one_visit_alone(visitor: Visitor) -> None:
    known = visitor.trace_id()
    visitor.send(known, "of_you", session_id="you")
    visitor.send(known, "of_you_too", session_id="me")
    visitor.send(known, "of_you_as_well", session_id="another")
    visitor.send("evt_astray", "of_nobody")
    visitor.send("evt_astray", "of_nobody_either")
    visitor.send("evt_astray", "of_me", session_id="me")

    shown = cards(visitor)

    assert shown == [
        ["evt_astray", "of_me"],
        ["evt_astray", "of_nobody", "of_nobody_either"],
        [known, "of_you", "of_you_too", "of_you_as_well"],
    ]
    assert left_out(visitor) == ""


def test_events_without_a_trace_are_of_a_visitor_each_unless_they_name_a_session(visitor: Visitor) -> None:
    def send(name: str, **more: str) -> None:
        visitor.http.post("/api/v1/events", json={"event_name": name, "source_name": "tests", **more})

    send("one")
    send("other")
    send("mine", session_id="me")
    send("mine_too", session_id="me")

    assert cards(visitor) == [["mine", "mine_too"], ["other"], ["one"]]


def test_every_visit_has_an_anchor_of_its_own_that_stays(visitor: Visitor) -> None:
    def anchors() -> list[str]:
        return re.findall(r'<article id="(visit-[0-9a-f]+)"', visitor.http.get("/").text)

    visitor.send("evt_same", session_id="evt_same")
    visitor.send("evt_same")
    for _ in range(20):
        visitor.trace_id()
    before = anchors()
    visitor.trace_id()

    assert len(set(before)) == 22
    assert anchors()[1:] == before


def test_an_empty_session_is_none(visitor: Visitor) -> None:
    for _ in range(2):
        visitor.send(visitor.trace_id(), session_id="")

    assert visitor.http.get("/").text.count('class="visit"') == 2


def test_only_a_session_gives_a_visitor_a_name(visitor: Visitor) -> None:
    visitor.send("evt_astray")
    visitor.trace_id()
    visitor.send(visitor.trace_id(), session_id="me")

    headings = re.findall(r'<article id="visit-.*?<h2>(.*?)</h2>', visitor.http.get("/").text, re.DOTALL)

    assert headings == ["Visitor <code>me</code>", "New visitor", "Unknown visitor"]


def test_what_is_kept_is_counted(visitor: Visitor) -> None:
    assert counts(visitor) == ["0 fetches", "0 events", "0 duplicates", "0 refused"]

    trace_ids = [visitor.trace_id() for _ in range(5)]
    for trace_id in trace_ids[:4]:
        visitor.send(trace_id)
    for trace_id in trace_ids[:2]:
        visitor.send(trace_id)
    visitor.send("evt_astray")

    assert counts(visitor) == ["5 fetches", "4 events", "2 duplicates", "1 refused"]


class TestLongVisits:
    def test_the_latest_four_fetches_are_shown_with_their_events_and_the_rest_is_counted(
        self, visitor: Visitor
    ) -> None:
        trace_ids = of_session(visitor, 6)

        assert cards(visitor) == [
            [each for number in (2, 3, 4, 5) for each in (trace_ids[number], f"event_{number}_0")]
        ]
        assert left_out(visitor) == "4 earlier entries"
        assert "Under no known trace" not in visitor.http.get("/").text

    def test_the_page_of_a_trace_shows_ten_times_as_many(self, visitor: Visitor) -> None:
        trace_ids = of_session(visitor, 41)
        path = f"/traces/{trace_ids[-1]}"

        [shown] = cards(visitor, path)

        assert shown == [each for number in range(1, 41) for each in (trace_ids[number], f"event_{number}_0")]
        assert left_out(visitor, path) == "2 earlier entries"

    def test_the_page_of_a_trace_shows_up_to_sixty_events(self, visitor: Visitor) -> None:
        [trace_id] = of_session(visitor, 1, events=61)
        path = f"/traces/{trace_id}"

        assert cards(visitor, path) == [[trace_id, *(f"event_0_{number}" for number in range(1, 61))]]
        assert left_out(visitor, path) == "1 earlier entry"

    def test_a_trace_is_on_its_own_page_however_much_came_later(self, visitor: Visitor) -> None:
        trace_ids = of_session(visitor, 42, events=2)

        [shown] = cards(visitor, f"/traces/{trace_ids[0]}")

        assert shown[:3] == [trace_ids[0], "event_0_0", "event_0_1"]
        assert shown[-3:] == [trace_ids[41], "event_41_0", "event_41_1"]
        assert trace_ids[2] not in shown


class TestOfTrace:
    def test_an_id_under_which_only_an_event_came_has_a_page(self, visitor: Visitor) -> None:
        visitor.send("evt_astray", "first")
        visitor.send("evt_astray", "second")
        visitor.send("evt_other", "other")

        assert cards(visitor, "/traces/evt_astray") == [["evt_astray", "first", "second"]]

    def test_it_is_shown_with_the_visit_of_who_named_it_last(self, visitor: Visitor) -> None:
        known = visitor.trace_id()
        visitor.send(known, "known", session_id="me")
        visitor.send("evt_astray", "of_nobody")
        visitor.send("evt_astray", "of_me", session_id="me")

        assert cards(visitor, "/traces/evt_astray") == [[known, "known", "evt_astray", "of_me"]]

    def test_a_fetch_that_no_event_followed_has_a_page(self, visitor: Visitor) -> None:
        trace_id = visitor.trace_id()

        assert cards(visitor, f"/traces/{trace_id}") == [[trace_id]]

    def test_a_fetch_without_a_session_is_alone(self, visitor: Visitor) -> None:
        older, newer = visitor.trace_id(), visitor.trace_id()
        visitor.send(older, "older")
        visitor.send(newer, "newer")

        assert [cards(visitor, f"/traces/{each}") for each in (older, newer)] == [
            [[older, "older"]],
            [[newer, "newer"]],
        ]


class TestSearch:
    @pytest.mark.parametrize(
        ("text", "is_found"),
        [
            ("evt_c0b137fe", True),
            ("welcome", True),
            ("the-source", True),
            ("session-1", True),
            ("tone", True),
            ("version_a", True),
            ("ession-", True),
            ("welcomethe-source", False),
            ("none", False),
        ],
    )
    def test_a_fetch_is_found_by_any_of_its_texts(
        self, visitor: Visitor, store: Store, text: str, is_found: bool
    ) -> None:
        store.add_trace(Trace("evt_c0b137fe_1", "welcome", 1, "the-source", 1.0, "tone", "version_a"))
        store.add_attempt(Attempt(1.0, "evt_c0b137fe_1", "x", "y", session_id="session-1"))

        assert bool(cards(visitor, f"/?text={text}")) == is_found

    @pytest.mark.parametrize("text", ["evt_c0b137fe", "welcome", "tests"])
    def test_a_fetch_that_no_event_followed_is_found(self, visitor: Visitor, text: str) -> None:
        trace_id = visitor.trace_id()

        assert cards(visitor, f"/?text={text}") == [[trace_id]]

    @pytest.mark.parametrize("text", ["\\", "a\\b", "a%b", "a_b", "\\%"])
    def test_a_character_that_means_something_to_the_database_is_itself(self, visitor: Visitor, text: str) -> None:
        visitor.send("evt-plain", "plain", user_id="axb", source_name="plain")
        visitor.send("evt-found", "found", user_id=f"user {text}", source_name="plain")

        assert cards(visitor, f"/?text={quote(text)}") == [["evt-found", "found"]]


class TestManyVisits:
    def test_one_busy_visitor_hides_no_other(self, visitor: Visitor) -> None:
        quiet = visitor.trace_id()
        busy = of_session(visitor, 40)

        assert [card[0] for card in cards(visitor)] == [busy[36], quiet]

    def test_the_latest_thirty_of_thousands_are_shown(self, visitor: Visitor, store: Store) -> None:
        with store.transaction():
            for number in range(1_100):
                store.add_trace(Trace(f"evt_{number}", "welcome", 1, "tests", 1.0))
        assert [card[0] for card in cards(visitor)] == [f"evt_{number}" for number in range(1_099, 1_069, -1)]

        with store.transaction():
            for number in range(1_100):
                store.add_attempt(Attempt(1.0, f"evt_astray_{number}", "astray", "tests", refused="unknown"))
        assert [card[0] for card in cards(visitor)] == [f"evt_astray_{number}" for number in range(1_099, 1_069, -1)]
