"""``dead``: dead letters are found, sent once more and dropped, whoever has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..faults.programs import Program, wait_until
from .conftest import Command, Server

Make = Callable[[str], Program]

SOME = "note('evt_1'); note('evt_2'); note('evt_2', 'upgraded', metadata={'plan': 'pro'})"


def keys(outbox: Command, *arguments: str) -> set[tuple[str, str]]:
    letters = outbox("dead", "list", *arguments, "--json").document["letters"]
    return {(each["trace_id"], each["event_name"]) for each in letters}


def test_they_are_listed_with_the_servers_reason(dead_letters: Make, outbox: Command) -> None:
    dead_letters("note('evt_1')")

    lines = outbox("dead", "list").out.splitlines()

    assert lines[0].split() == ["Died", "Event", "Trace", "Tries", "Reason"]
    assert lines[1].split()[2:] == ["sign_up", "evt_1", "1", "404:", "Event", "definition", "not", "found"]
    assert lines[2:] == ["1 dead letter"]


def test_they_are_selected_by_trace_event_name_and_reason(dead_letters: Make, outbox: Command) -> None:
    dead_letters(SOME)
    whole = {("evt_1", "sign_up"), ("evt_2", "sign_up"), ("evt_2", "upgraded")}

    assert keys(outbox) == whole
    assert keys(outbox, "evt_1") == {("evt_1", "sign_up")}
    assert keys(outbox, "--event", "sign_up") == {("evt_1", "sign_up"), ("evt_2", "sign_up")}
    assert keys(outbox, "evt_2", "--event", "sign_up") == {("evt_2", "sign_up")}
    assert keys(outbox, "--reason", "DEFINITION") == whole
    assert keys(outbox, "--reason", "503") == set()


def test_a_long_list_is_cut_and_says_so(dead_letters: Make, outbox: Command) -> None:
    dead_letters(SOME)

    lines = outbox("dead", "list", "--most", "1").out.splitlines()

    assert len(lines) == 3
    assert lines[-1] == "3 dead letters; the latest 1 are shown"


def test_one_is_shown_with_what_was_to_be_sent(dead_letters: Make, outbox: Command) -> None:
    dead_letters(SOME)

    shown, missing = outbox("dead", "show", "evt_2", "--event", "upgraded"), outbox("dead", "show", "evt_3")

    assert shown.code == 0
    assert shown.document["body"] == {
        "trace_id": "evt_2",
        "event_name": "upgraded",
        "source_name": "xr2_web",
        "metadata": {"plan": "pro"},
    }
    assert missing == (1, "", "There is no such dead letter.\n")


def test_a_living_process_sends_them_once_more_when_it_is_told_to(
    xr2: Server, dead_letters: Make, outbox: Command
) -> None:
    dead_letters(SOME)
    xr2.come_up()

    result = outbox("dead", "retry", "--event", "sign_up")
    xr2.wait_for({"evt_1", "evt_2"})
    wait_until(lambda: not outbox("status", "--json").document["pending"])

    assert result == (0, "2 dead letters will be tried\n", "")
    assert xr2.arrived == {"evt_1": 1, "evt_2": 1}
    assert keys(outbox) == {("evt_2", "upgraded")}


def test_those_of_an_ended_process_are_sent_by_the_next_drain(xr2: Server, dead_letters: Make, outbox: Command) -> None:
    dead_letters(SOME).kill()
    xr2.come_up()

    retried = outbox("dead", "retry", "--all", "--json").document
    drained = outbox("drain", "--json").document

    assert retried == {"letters": 3, "kept": 0, "undone": []}
    assert (drained["delivered"], drained["left"]) == (3, 0)
    assert xr2.arrived == {"evt_1": 1, "evt_2": 2}


@pytest.mark.parametrize("is_alive", [True, False])
def test_dropped_ones_are_gone(dead_letters: Make, outbox: Command, is_alive: bool) -> None:
    program = dead_letters(SOME)
    if not is_alive:
        program.kill()

    result = outbox("dead", "drop", "evt_1")

    assert result == (0, "1 dead letter dropped\n", "")
    assert keys(outbox) == {("evt_2", "sign_up"), ("evt_2", "upgraded")}


def test_who_has_no_room_keeps_them_and_says_so(dead_letters: Make, outbox: Command) -> None:
    dead_letters(
        """
        os.environ["XR2_OUTBOX_MAX_EVENTS"] = "1"
        for number in range(2):
            note(f"evt_{number}")
            xr2_web.flush()
        """
    )

    result = outbox("dead", "retry", "--all")

    assert result.code == 1
    assert result.out == "1 dead letter will be tried\n"
    assert result.err == "1 dead letter found no room; try again when some have left\n"
    assert len(keys(outbox)) == 1


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_a_trace_that_has_none_is_told(dead_letters: Make, outbox: Command, command: str) -> None:
    dead_letters("note('evt_1')")

    named, by_event = outbox("dead", command, "evt_2"), outbox("dead", command, "--event", "no_such")

    assert (named.code, named.err) == (1, "There is no such dead letter.\n")
    assert named.out.startswith("0 dead letters ")
    assert (by_event.code, by_event.err) == (0, "")


def test_which_ones_has_to_be_said(dead_letters: Make, outbox: Command) -> None:
    dead_letters(SOME)

    nothing, contradiction = outbox("dead", "drop"), outbox("dead", "drop", "evt_1", "--all")

    assert (nothing.code, contradiction.code) == (2, 2)
    assert nothing.err.endswith("Error: say which: trace ids, --event, --reason, or else --all\n")
    assert len(keys(outbox)) == 3


def test_a_process_that_stands_still_is_named_and_does_nothing_later(dead_letters: Make, outbox: Command) -> None:
    still, _ = dead_letters("note('evt_1')"), dead_letters("note('evt_2')")
    still.stop()

    while_stopped = outbox("dead", "drop", "--all")
    still.go_on()
    afterwards = outbox("dead", "drop", "--event", "another")

    assert (while_stopped.code, while_stopped.out) == (1, "1 dead letter dropped\n")
    assert while_stopped.err.startswith(f"Not done: process {still.pid} on ")
    assert while_stopped.err.endswith(" has not answered\n")
    assert afterwards.code == 0
    assert keys(outbox) == {("evt_1", "sign_up")}
