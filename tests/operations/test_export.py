"""``export``: all that waits and all that is dead, as it was to be sent."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

from ..faults.programs import Program
from .conftest import Applications, Command


def test_each_event_is_a_line_with_what_was_to_be_sent(
    dead_letters: Callable[[str], Program], applications: Applications, outbox: Command
) -> None:
    dead_letters("note('evt_1', user_id=7)")
    applications.ended("note('evt_2', metadata={'plan': 'pro'})")

    result = outbox("export")

    lines = {each["trace_id"]: each for each in map(json.loads, result.out.splitlines())}
    assert result.code == 0
    assert {trace_id: each["state"] for trace_id, each in lines.items()} == {"evt_1": "dead", "evt_2": "waiting"}
    assert lines["evt_1"]["body"]["user_id"] == "7"
    assert lines["evt_1"]["reason"] == "404: Event definition not found"
    assert lines["evt_2"]["body"]["metadata"] == {"plan": "pro"}


def test_all_of_it_can_be_one_document(applications: Applications, outbox: Command) -> None:
    nothing = outbox("export", "--json").document
    applications.ended("note('evt_1'); note('evt_2')")

    found = outbox("export", "--json").document

    assert nothing == {"events": []}
    assert [each["trace_id"] for each in found["events"]] == ["evt_1", "evt_2"]


def test_a_file_is_made_for_this_user_alone_and_never_written_over(
    applications: Applications, outbox: Command, tmp_path: Path
) -> None:
    applications.ended("note('evt_1')")
    output = tmp_path / "events.jsonl"

    first, second = outbox("export", "--output", str(output)), outbox("export", "--output", str(output))

    assert first == (0, f"1 event in {output}\n", "")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert json.loads(output.read_text())["trace_id"] == "evt_1"
    assert second == (1, "", f"Error: {output} is there already\n")


def test_a_file_can_hold_the_document_while_the_command_says_what_it_wrote(
    applications: Applications, outbox: Command, tmp_path: Path
) -> None:
    applications.ended("note('evt_1')")
    output = tmp_path / "events.json"

    result = outbox("export", "--output", str(output), "--json")

    assert result.document == {"written": 1, "output": str(output)}
    assert [each["trace_id"] for each in json.loads(output.read_text())["events"]] == ["evt_1"]


def test_what_belongs_to_others_is_left_out_unless_it_is_asked_for(applications: Applications, outbox: Command) -> None:
    applications.ended("os.environ['XR2_API_KEY'] = 'another'\nnote('evt_1')")

    ours, everything = outbox("export", "--json").document, outbox("export", "--json", "--others").document

    assert ours == {"events": []}
    assert [each["trace_id"] for each in everything["events"]] == ["evt_1"]
