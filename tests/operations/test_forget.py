"""``forget``: what waits of a user is removed, wherever it is, and whoever has it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ..faults.programs import Program, wait_until
from .conftest import Applications, Command, Result, Server, files

SOME = """
    note("evt_1", user_id=1)
    note("evt_2", user_id=12)
    note("evt_3", user_id="ada@example.com")
    note("evt_4", metadata={"user_id": "1"})
    """


def waiting(outbox: Command) -> set[str]:
    return {each["trace_id"] for each in outbox("export", "--json").document["events"]}


@pytest.mark.parametrize("is_alive", [True, False])
def test_only_what_is_of_the_user_is_removed(applications: Applications, outbox: Command, is_alive: bool) -> None:
    program = applications.start(SOME)
    if not is_alive:
        program.kill()

    result = outbox("forget", "--user", "1", "--json")

    assert (result.code, result.document["events"]) == (0, 1)
    assert waiting(outbox) == {"evt_2", "evt_3", "evt_4"}


def test_an_id_that_was_hashed_is_found_with_the_key_of_the_application(
    applications: Applications, outbox: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    applications.start("os.environ['XR2_SECRET_KEY'] = 'a key of its own'\nnote('evt_3', user_id='ada@example.com')")

    without_key = outbox("forget", "--user", "ada@example.com")
    monkeypatch.setenv("XR2_SECRET_KEY", "a key of its own")
    with_key = outbox("forget", "--user", "ada@example.com")

    assert without_key.out == "0 events and 0 dead letters forgotten\n"
    assert without_key.err.startswith("XR2_SECRET_KEY is not set: ")
    assert with_key == (0, "1 event and 0 dead letters forgotten\n", "")


def test_dead_letters_are_forgotten_too(dead_letters: Callable[[str], Program], outbox: Command) -> None:
    dead_letters(SOME)

    result = outbox("forget", "--user", "1", "--user", "12")

    assert result.out == "0 events and 2 dead letters forgotten\n"


def test_what_is_forgotten_is_not_sent_any_more(xr2: Server, applications: Applications, outbox: Command) -> None:
    applications.start(SOME)

    outbox("forget", "--user", "1")
    xr2.come_up()
    xr2.wait_for({"evt_2", "evt_3", "evt_4"})
    wait_until(lambda: not outbox("status", "--json").document["pending"])

    assert set(xr2.arrived) == {"evt_2", "evt_3", "evt_4"}


def test_files_of_other_installations_are_searched_only_when_that_is_asked(
    applications: Applications, outbox: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    applications.start(SOME)
    monkeypatch.setenv("XR2_API_KEY", "another")

    ours, all_of_them = outbox("forget", "--user", "1"), outbox("forget", "--user", "1", "--others")

    assert ours.out == (
        "0 events and 0 dead letters forgotten; not searched: 1 file of other installations (--others)\n"
    )
    assert all_of_them.out == "1 event and 0 dead letters forgotten\n"


def test_a_process_all_of_whose_sends_hang_obeys_all_the_same(
    xr2: Server, applications: Applications, outbox: Command
) -> None:
    xr2.fall_silent()
    applications.start(
        """
        os.environ["XR2_CONCURRENCY"] = "2"
        for number in range(9):
            note(f"evt_{number}", user_id=number % 3)
        """
    )
    wait_until(lambda: len(xr2.requests) == 2)

    result = outbox("forget", "--user", "1")

    assert result == (0, "3 events and 0 dead letters forgotten\n", "")


def test_two_commands_at_once_are_both_obeyed(applications: Applications, outbox: Command) -> None:
    applications.start("for number in range(8): note(f'evt_{number}', user_id=number % 4)")
    applications.start("for number in range(8): note(f'evt_{number}', user_id=number % 4)")

    results = _at_once(*(lambda user=user: _run("forget", "--user", str(user)) for user in range(3)))

    assert [result.out for result in results] == ["4 events and 0 dead letters forgotten\n"] * 3
    assert waiting(outbox) == {"evt_3", "evt_7"}


def test_the_file_of_who_dies_before_it_has_answered_is_dealt_with_by_the_command(
    applications: Applications, outbox: Command, spool: Path
) -> None:
    program = applications.start(SOME)
    program.stop()

    def kill_when_asked() -> Result:
        wait_until(lambda: list(spool.glob("*.request")))
        program.kill()
        return Result(0, "", "")

    result, _ = _at_once(lambda: _run("forget", "--user", "1"), kill_when_asked)

    assert result == (0, "1 event and 0 dead letters forgotten\n", "")
    assert waiting(outbox) == {"evt_2", "evt_3", "evt_4"}


def test_a_command_leaves_nothing_behind(applications: Applications, outbox: Command, spool: Path) -> None:
    applications.start(SOME)
    applications.ended("note('evt_9', user_id=1)")

    result = outbox("forget", "--user", "1")

    assert result.out == "2 events and 0 dead letters forgotten\n"
    assert len({name.partition(".")[0] for name in files(spool)}) == 1
    assert not [name for name in files(spool) if name.endswith((".request", ".answer", ".taken", ".part"))]


def _run(*arguments: str) -> Result:
    """Run a command in a process of its own."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "xr2_web", "outbox", *arguments], capture_output=True, text=True)
    return Result(done.returncode, done.stdout, done.stderr)


def _at_once(*calls: Callable[[], Result]) -> list[Result]:
    results: dict[int, Result] = {}
    threads = [
        threading.Thread(target=lambda number=number, call=call: results.update({number: call()}))  # type: ignore[misc]
        for number, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(len(calls))]
