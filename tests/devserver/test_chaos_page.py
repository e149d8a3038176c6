"""The page on which faults and the clock are changed, and what the other pages say of both."""

from __future__ import annotations

import re

import msgspec
import pytest

from xr2_web.devserver import steering
from xr2_web.devserver.chaos import NAMES, Fault, tell
from xr2_web.devserver.duration import span
from xr2_web.errors import ConfigurationError

from .conftest import Visitor

CHAOS, CLOCK = "/api/local/chaos", "/api/local/clock"


def send(visitor: Visitor, path: str = "/chaos", **fields: str) -> str:
    """Send a form and return the page to which it leads."""
    answer = visitor.http.post(path, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.text


def entered(visitor: Visitor) -> dict[str, str]:
    """Return the form of the page as a browser would send it."""
    return dict(re.findall(r'<input [^>]*name="([^"]+)" value="([^"]*)"', visitor.http.get("/chaos").text))


@pytest.mark.parametrize("name", steering.PRESETS)
def test_a_preset_is_put_in_force_and_marked(visitor: Visitor, name: str) -> None:
    shown = send(visitor, preset=name)

    assert visitor.http.get(CHAOS).json() == msgspec.to_builtins(tell(steering.PRESETS[name].faults))
    assert re.findall(r'value="(\w+)" aria-current="true"', shown) == [name]


def test_every_fault_is_offered_and_another_status_too(visitor: Visitor) -> None:
    shown = visitor.http.get("/chaos").text

    offered = set(re.findall(r'name="rate\.(\w+)"', shown))
    assert offered == {*NAMES, "503", "429", "other"}


def test_a_form_is_put_in_force_as_it_is_filled_in(visitor: Visitor) -> None:
    filled = {"rate.503": "20", "rate.slow": "12.5", "seconds.slow": "500ms", "other": "502", "rate.other": "1"}

    send(visitor, **{**entered(visitor), **filled})

    assert visitor.http.get(CHAOS).json() == {"503": 0.2, "slow": {"rate": 0.125, "seconds": 0.5}, "502": 0.01}


def test_a_form_that_is_sent_back_unchanged_changes_nothing(visitor: Visitor) -> None:
    faults = {"404": 0.25, "429": {"rate": 0.5, "seconds": 1.5}, "slow": 0.3, "silent": 0.07}
    visitor.http.put(CHAOS, json=faults)

    send(visitor, **entered(visitor))

    assert visitor.http.get(CHAOS).json() == faults


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "neither a preset nor a rate"),
        ({"preset": "nonsense"}, "there is no preset nonsense"),
        ({"rate.503": "101"}, "from 0 to 1"),
        ({"rate.503": "often"}, "not &#39;often&#39;"),
        ({"rate.503": "nan"}, "not nan"),
        ({"rate.slow": "1", "seconds.slow": "soon"}, "soon"),
        ({"rate.503": "60", "rate.reset": "50"}, "add up to 1.1"),
        ({"rate.other": "5"}, "no such fault"),
        ({"rate.other": "5", "other": "200"}, "no such fault"),
    ],
)
def test_a_wrong_form_changes_nothing_and_says_why(visitor: Visitor, fields: dict[str, str], problem: str) -> None:
    visitor.http.put(CHAOS, json={"reset": 0.5})

    answer = visitor.http.post("/chaos", data=fields)

    assert answer.status_code == 422
    assert problem in answer.text
    assert visitor.http.get(CHAOS).json() == {"reset": 0.5}
    for name, value in fields.items():
        assert name == "preset" or f'name="{name}" value="{value}"' in answer.text


def test_what_was_broken_is_counted(visitor: Visitor) -> None:
    visitor.http.put(CHAOS, json={"quota": 1, "slow": {"rate": 1, "seconds": "1ms"}})

    for _ in range(3):
        assert visitor.fetch().status_code == 429
    visitor.send("evt_nobody")

    shown = visitor.http.get("/chaos").text
    assert re.findall("<dt>(\\w+)</dt><dd>(\\d+) \N{MULTIPLICATION SIGN}</dd>", shown) == [
        ("slow", "4"),
        ("quota", "3"),
    ]


@pytest.mark.parametrize("path", ["/", "/prompts/welcome", "/traces/evt_nobody", "/chaos"])
def test_every_page_says_what_breaks_and_what_time_it_is(visitor: Visitor, path: str) -> None:
    assert 'id="steered"' not in visitor.http.get(path).text

    visitor.http.put(CHAOS, json={"503": 0.2, "slow": {"rate": 0.125, "seconds": 0.5}, "reset": 0})
    visitor.http.post(CLOCK, json={"ahead": "31d"})

    shown = visitor.http.get(path).text
    assert "503 for 20 %, slow (0.5 s) for 12.5 %." in shown
    assert "The clock is 31 days ahead." in shown


def test_the_clock_goes_ahead_and_back(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()

    assert "31 days ahead" in send(visitor, "/clock", ahead="31d")
    assert visitor.send(trace_id).status_code == 404
    assert "32 days ahead" in send(visitor, "/clock", ahead="1d")
    assert "ahead" not in re.sub(r'name="ahead"', "", send(visitor, "/clock", reset=""))

    assert visitor.send(trace_id).status_code == 200


@pytest.mark.parametrize("fields", [{}, {"ahead": "soon"}, {"ahead": "-1d"}, {"ahead": "4000d"}])
def test_a_wrong_time_is_told(visitor: Visitor, fields: dict[str, str]) -> None:
    answer = visitor.http.post("/clock", data=fields)

    assert answer.status_code == 422
    assert "clock: " in answer.text
    assert visitor.http.get(CLOCK).json()["ahead"] == 0


def test_fields_that_are_empty_or_zero_are_no_fault_and_none_is_given_twice() -> None:
    assert steering.read_form({"rate.503": " ", "rate.reset": "0", "rate.429": "50"}) == {"429": Fault(0.5, 300)}
    with pytest.raises(ConfigurationError, match="503 is given twice"):
        steering.read_form({"rate.503": "10", "rate.other": "10", "other": "503"})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, ""),
        (1, "1 seconds"),
        (90, "90 seconds"),
        (60, "1 minute"),
        (7_200, "2 hours"),
        (86_400, "1 day"),
        (31 * 86_400, "31 days"),
        (0.25, "0.25 seconds"),
    ],
)
def test_a_span_is_told_in_whole_units(seconds: float, words: str) -> None:
    assert span(seconds) == words
