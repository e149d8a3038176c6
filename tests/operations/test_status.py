"""``status``: what it says of living and dead processes, and that it changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ..faults.programs import Program, wait_until
from .conftest import Applications, Command, Server, files


def test_where_nothing_waits_nothing_is_made(outbox: Command, spool: Path) -> None:
    result = outbox("status")

    assert result.code == 0
    assert result.out.startswith("0 pending; 0 dead letters\n")
    assert f"the spool in {spool} (no such folder: it is made with the first event)" in result.out
    assert not spool.exists()


def test_living_and_ended_processes_are_told_apart(applications: Applications, outbox: Command) -> None:
    living = applications.start("note('evt_1'); note('evt_2')")
    ended = applications.ended("note('evt_3')")

    found = outbox("status", "--json").document

    assert {each["pid"]: (each["is_alive"], each["pending"]) for each in found["places"]} == {
        living.pid: (True, 2),
        ended.pid: (False, 1),
    }
    assert found["pending"] == 3
    assert 0 < found["oldest_seconds"] < 60


def test_a_server_that_is_down_is_why_nothing_is_sent(applications: Applications, outbox: Command) -> None:
    applications.start("for number in range(3): note(f'evt_{number}')")

    wait_until(lambda: outbox("status", "--json").document["paused"])
    result = outbox("status")

    assert ": xR2 cannot be reached, or is in trouble\n" in result.out


def test_people_see_a_row_for_each_living_process_and_one_for_all_others(
    applications: Applications, outbox: Command
) -> None:
    living = applications.start("note('evt_1')")
    applications.ended("note('evt_2')")
    applications.ended("note('evt_3')")

    lines = outbox("status").out.splitlines()

    (row,) = (line.split() for line in lines if line.startswith(f"process {living.pid} on "))
    (rest,) = (line for line in lines if line.startswith("of processes that have ended (2) "))
    assert row[4:6] == ["1", "0"]
    assert rest.split()[6:8] == ["2", "0"]


def test_dead_letters_are_summed_by_reason(dead_letters: Callable[[str], Program], outbox: Command) -> None:
    dead_letters("note('evt_1'); note('evt_2')")

    found = outbox("status", "--json").document

    assert found["dead"] == 2
    assert found["reasons"] == {"404: Event definition not found": 2}


def test_what_belongs_to_another_key_is_named_as_such(
    applications: Applications, outbox: Command, monkeypatch: pytest.MonkeyPatch, xr2: Server
) -> None:
    applications.ended("note('evt_1')")
    monkeypatch.setenv("XR2_API_KEY", "another")

    found = outbox("status", "--json").document
    told = outbox("status").out

    assert (found["pending"], found["places"]) == (0, [])
    assert [(each["pending"], each["base_url"]) for each in found["others"]] == [(1, xr2.base_url)]
    assert f"{xr2.base_url}: of processes that have ended (1)" in told


def test_files_that_cannot_be_read_are_named_with_the_reason(
    applications: Applications, outbox: Command, spool: Path
) -> None:
    applications.ended("note('evt_1')")
    (newer,) = spool.glob("*.sqlite3")
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    (spool / "garbage.sqlite3").write_bytes(b"garbage" * 1000)
    (spool / "old.sqlite3.damaged").write_bytes(b"")
    (spool / "linked.sqlite3").symlink_to(newer)

    (store,) = outbox("status", "--json").document["stores"]

    assert {each["name"]: each["why"] for each in store["left_alone"]} == {
        newer.name: "was made by a later release of xr2-web",
        "garbage.sqlite3": "cannot be read: file is not a database",
        "old.sqlite3.damaged": "was damaged, and is set aside",
        "linked.sqlite3": "is no file of this user",
    }


def test_nothing_is_changed(applications: Applications, outbox: Command, spool: Path) -> None:
    applications.start("note('evt_1')")
    applications.ended("note('evt_2')")
    before = files(spool)

    outbox("status")

    assert files(spool) == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("XR2_OUTBOX", "memory", "OUTBOX is 'memory': what waits there is seen by nobody but the processes themselves"),
        (
            "XR2_ENABLED",
            "false",
            "ENABLED is false: commands need the settings of the application, from XR2_ variables or by --app MODULE",
        ),
        ("XR2_CONCURRENCY", "no number", "XR2_CONCURRENCY must be a number from 1 to 64"),
    ],
)
def test_settings_under_which_nothing_can_be_seen_are_explained(
    outbox: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)

    told, as_json = outbox("status"), outbox("status", "--json")

    assert told == (1, "", f"Error: {message}\n")
    assert (as_json.code, as_json.document) == (1, {"error": message})
