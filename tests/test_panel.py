"""What a panel shows of a request, in words and addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from xr2_web import panel, settings
from xr2_web.models import Prompt, Receipt, Trace
from xr2_web.settings import Settings
from xr2_web.witness import Record

LOCAL = "http://127.0.0.1:8765"


def chosen(base_url: str = LOCAL, **keywords: Any) -> Settings:
    return settings.load(settings.keywords({"api_key": "xr2_dev_tests", "base_url": base_url, **keywords}))


def record_with(prompts: int = 0, events: int = 0) -> Record:
    record = Record()
    for number in range(prompts):
        record.note_prompt("welcome", Prompt("welcome", trace_id=f"evt_{number}"))
    for _ in range(events):
        record.note_event("bought")
    return record


@pytest.mark.parametrize(
    ("prompts", "events", "subtitle"),
    [(2, 1, "2 prompts, 1 event"), (1, 2, "1 prompt, 2 events"), (0, 0, "0 prompts, 0 events")],
)
def test_the_subtitle_counts(prompts: int, events: int, subtitle: str) -> None:
    assert panel.shown(chosen(), record_with(prompts, events))["subtitle"] == subtitle


def test_a_request_that_did_nothing_has_no_record() -> None:
    shown = panel.shown(chosen(), None)

    assert (shown["subtitle"], shown["prompts"], shown["events"]) == ("0 prompts, 0 events", [], [])


def test_a_prompt_is_shown_with_its_page_on_the_local_xr2() -> None:
    record = Record()
    record.note_prompt(
        "welcome", Prompt("welcome", version_number=3, trace_id="a/b?c#d e", ab_test_variant="version_b")
    )

    assert panel.shown(chosen(), record)["prompts"] == [
        {
            "slug": "welcome",
            "version": "3",
            "variant": "version_b",
            "source": "fetched",
            "why": "",
            "trace_id": "a/b?c#d e",
            "page": f"{LOCAL}/traces/a%2Fb%3Fc%23d%20e",
        }
    ]


def test_a_trace_elsewhere_leads_to_xr2s_list_of_events() -> None:
    record = record_with(prompts=1)
    record.carried = (Trace("welcome", "evt_1", 3, 0),)

    shown = panel.shown(chosen("https://xr2.uk"), record)

    assert {shown["journal"], shown["prompts"][0]["page"], shown["carried"][0]["page"]} == {
        "https://xr2.uk/analytics/events"
    }


def test_a_fallback_leads_nowhere_and_says_why() -> None:
    record = Record()
    record.note_prompt("welcome", Prompt("welcome", is_fallback=True), source="fallback", why="it is down")

    [shown] = panel.shown(chosen(), record)["prompts"]

    assert (shown["source"], shown["why"], shown["version"], shown["page"]) == ("the fallback", "it is down", "", "")


def test_an_event_is_shown_with_what_became_of_it() -> None:
    record = Record()
    note = record.note_event("bought", 20, "EUR")
    note.trace_id, note.has_user, note.is_after_response = "evt_1", True, True
    note.close(Receipt(accepted=True))

    assert panel.shown(chosen(), record)["events"] == [
        {
            "name": "bought",
            "value": "20 EUR",
            "user": "given",
            "session": "none",
            "when": "after the response",
            "state": "accepted",
            "why": "",
            "trace_id": "evt_1",
            "page": f"{LOCAL}/traces/evt_1",
        }
    ]


@pytest.mark.parametrize(
    "reason", ["no_trace", "other_user", "duplicate", "invalid", "disabled", "full", "status", "aborted"]
)
def test_every_refusal_is_explained(reason: str) -> None:
    record = Record()
    record.note_event("bought").refuse(reason)

    [shown] = panel.shown(chosen(), record)["events"]

    assert shown["state"] == "refused"
    assert len(shown["why"]) > len(reason) + 10


@pytest.mark.parametrize("what", ["status", "end", "commit", "visitor"])
def test_what_a_pending_event_waits_for_is_explained(what: str) -> None:
    record = Record()
    record.note_event("bought").wait(what)

    [shown] = panel.shown(chosen(), record)["events"]

    assert (shown["state"], shown["why"].partition(" ")[0]) == ("pending", "until")


def test_that_everything_is_off_is_said() -> None:
    assert panel.shown(chosen(enabled=False), None)["problem"] == "Nothing is fetched or sent: ENABLED is false."
    assert panel.shown(chosen(), None)["problem"] == ""


def test_it_is_plain_data() -> None:
    record = record_with(2, 2)
    record.carried = (Trace("welcome", "evt_1", 3, 0),)
    shown = panel.shown(chosen(), record)

    assert json.loads(json.dumps(shown)) == shown
