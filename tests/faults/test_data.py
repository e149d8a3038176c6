"""What applications put into events: it arrives as it was, or is no event and says so; never does it hurt another."""

from __future__ import annotations

import enum
import json
import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import xr2_web
from xr2_web.runtime import Runtime

from ..conftest import RuntimeMaker
from ..scripted_server import ScriptedServer, each_request
from .sending import KEY, TAKEN


class Plan(enum.Enum):
    PRO = "pro"


@dataclass
class Cart:
    total: int = 3


class Lazy:
    """A text that is made when it is asked for, as translations are."""

    def __str__(self) -> str:
        return "later"


class Torn:
    def __str__(self) -> str:
        raise RuntimeError("ada@example.org")

    __repr__ = __str__


def circular() -> dict[str, Any]:
    around: dict[str, Any] = {}
    around["around"] = around
    return around


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


class Site:
    """An application that tracks, and what has arrived of it."""

    def __init__(self, server: ScriptedServer, runtime: Runtime) -> None:
        self._server = server
        self._runtime = runtime

    def track(self, event: Any = "sign_up", **about: Any) -> xr2_web.Receipt:
        """Track an event under a trace of its own."""
        with xr2_web.scope(runtime=self._runtime, trace_id=f"evt_{uuid.uuid4()}"):
            return xr2_web.track_event(event, **about)

    def arrived(self) -> list[dict[str, Any]]:
        """Deliver what waits, and return what has arrived, read as strictly as can be."""
        assert self._runtime.flush(10).left == 0
        return [json.loads(each.body, parse_constant=pytest.fail) for each in self._server.requests]


@pytest.fixture
def site(make_runtime: RuntimeMaker) -> Iterator[Site]:
    with ScriptedServer(each_request(TAKEN)) as server:
        yield Site(server, make_runtime(base_url=server.base_url, api_key=KEY))


MOMENT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)

ARRIVES: dict[str, tuple[Any, Any]] = {
    "Decimal": (Decimal("12.50"), 12.5),
    "Decimal of many digits": (Decimal("0.1234567890123456789"), 0.1234567890123456789),
    "datetime": (MOMENT, "2026-05-01T12:30:00+00:00"),
    "UUID": (uuid.UUID(int=7), str(uuid.UUID(int=7))),
    "Enum": (Plan.PRO, "pro"),
    "2**63-1": (2**63 - 1, 2**63 - 1),
    "emoji": ("🎉", "🎉"),
    "CR/LF": ("a\r\nX-Evil: 1\r\n\r\n", "a\r\nX-Evil: 1\r\n\r\n"),
    "HTML": ("</script><script>", "</script><script>"),
    "nested": (nested(20), nested(20)),
    "a tuple": ((1, None, True), [1, None, True]),
    "10,000 numbers": (list(range(10_000)), list(range(10_000))),
}

IS_REFUSED: dict[str, Any] = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "Decimal NaN": Decimal("NaN"),
    "bytes": b"bytes",
    "set": {1, 2},
    "dataclass": Cart(),
    "lazy string": Lazy(),
    "circular": circular(),
    "depth 10,000": nested(10_000),
    "2**70": 2**70,
    "lone surrogate": "\udcff",
    "NUL": "a\0b",
    "1 MB text": "x" * 1_000_000,
    "keys that are not text": {1: "one"},
    "an object whose __str__ raises": Torn(),
    "10,000 keys": {f"key {number}": "x" * 10 for number in range(10_000)},
}


@pytest.mark.parametrize(("given", "arrives"), ARRIVES.values(), ids=ARRIVES.keys())
def test_what_json_can_hold_arrives_as_it_was(site: Site, given: Any, arrives: Any) -> None:
    """Faults: Decimal; datetime; UUID; Enum."""
    receipt = site.track(metadata={"given": given})

    assert receipt.accepted
    assert [each["metadata"] for each in site.arrived()] == [{"given": arrives}]


@pytest.mark.parametrize("given", IS_REFUSED.values(), ids=IS_REFUSED.keys())
def test_what_json_cannot_hold_is_no_event_and_the_next_one_arrives(
    site: Site, caplog: pytest.LogCaptureFixture, given: Any
) -> None:
    """What no event may hold.

    Faults: NaN; Infinity; bytes; set; dataclass; lazy string; circular; depth 10,000; 2**70; lone surrogate; NUL;
    1 MB text; 10,000 keys; keys that are not text; an object whose `__str__` raises.
    """
    receipt = site.track(metadata={"given": given})
    following = site.track(metadata={"given": "text"})

    assert (receipt.accepted, receipt.reason, following.accepted) == (False, "invalid", True)
    assert [each["metadata"] for each in site.arrived()] == [{"given": "text"}]
    assert len(caplog.records) == 1
    assert len(caplog.text) < 500
    assert "ada@example.org" not in caplog.text


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**70, "12", b"12", True, Decimal("sNaN")], ids=repr)
def test_a_value_that_is_no_number_is_no_event(site: Site, value: Any) -> None:
    receipt = site.track(value=value)

    assert (receipt.accepted, receipt.reason, site.arrived()) == (False, "invalid", [])


@pytest.mark.parametrize("value", [0, -0.0, 1e300, 5e-324, 0.1, Decimal("19.99"), 2**63 - 1], ids=repr)
def test_a_number_arrives_as_it_was(site: Site, value: Any) -> None:
    site.track(value=value)

    assert [each["value"] for each in site.arrived()] == [float(value) if isinstance(value, Decimal) else value]


def test_a_dict_that_is_changed_after_tracking_arrives_as_it_was(site: Site) -> None:
    """Fault: a dict changed after tracking."""
    metadata: dict[str, Any] = {"items": ["tea"]}

    site.track(metadata=metadata)
    metadata["items"].append({1, 2})
    metadata["late"] = math.nan

    assert [each["metadata"] for each in site.arrived()] == [{"items": ["tea"]}]


@pytest.mark.parametrize("name", ["🎉", "sign up\r\nX-Evil: 1\r\n\r\n", "../../events", "<script>", "a'; DROP TABLE"])
def test_a_name_of_any_text_arrives_as_it_is_and_is_nothing_but_a_name(site: Site, name: str) -> None:
    """Faults: names with emoji; names with CR/LF; names with `../`; names with HTML."""
    receipt = site.track(name)

    assert receipt.accepted
    assert [each["event_name"] for each in site.arrived()] == [name]


@pytest.mark.parametrize("name", ["", "x" * 10_240, "é" * 101], ids=["empty", "10 KB", "101 letters"])
def test_a_name_that_xr2_has_no_room_for_is_no_event(site: Site, name: str) -> None:
    """Faults: names, empty; names of 10 KB."""
    receipt = site.track(name)

    assert (receipt.accepted, receipt.reason, site.arrived()) == (False, "invalid", [])


def test_a_name_that_fills_its_column_arrives(site: Site) -> None:
    site.track("é" * 100)

    assert [each["event_name"] for each in site.arrived()] == ["é" * 100]
