"""``drain``: what ended processes have left arrives, and nothing is taken from the living."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xr2_web.outbox import Entry
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.own_file import Origin
from xr2_web.outbox.spool import Spool

from ..faults.programs import wait_until
from .conftest import Applications, Command, Server


def test_what_ended_processes_have_left_arrives(
    xr2: Server, applications: Applications, outbox: Command, spool: Path
) -> None:
    applications.ended("note('evt_1')")
    applications.ended("note('evt_2'); note('evt_3')")
    xr2.come_up()

    result = outbox("drain")

    assert result == (0, "3 delivered, 0 refused, 0 expired, 0 left\n", "")
    assert xr2.arrived == {"evt_1": 1, "evt_2": 1, "evt_3": 1}
    assert not list(spool.glob("*.sqlite3*"))


def test_living_processes_keep_theirs(xr2: Server, applications: Applications, outbox: Command) -> None:
    living = applications.start("note('evt_1')")
    living.stop()
    xr2.come_up()

    result = outbox("drain", "--json")

    assert (result.code, result.document["delivered"], result.document["left"]) == (0, 0, 0)
    assert outbox("status", "--json").document["pending"] == 1
    assert not xr2.arrived


def test_what_cannot_be_delivered_is_left_and_told(applications: Applications, outbox: Command) -> None:
    applications.ended("for number in range(5): note(f'evt_{number}')")

    result = outbox("drain", "--patience", "0.5")

    assert result.code == 1
    assert result.out.startswith("0 delivered, 0 refused, 0 expired, 5 left\n")
    assert outbox("status", "--json").document["pending"] == 5


def test_a_pause_that_is_longer_than_the_patience_ends_it_with_the_reason(
    xr2: Server, applications: Applications, outbox: Command
) -> None:
    applications.ended("note('evt_1')")
    xr2.lock_out()

    began = time.monotonic()
    result = outbox("drain", "--patience", "30")

    assert time.monotonic() - began < 30
    assert result.code == 1
    assert result.out.startswith("0 delivered, 0 refused, 0 expired, 1 left\n")
    assert result.out.endswith(": xR2 does not accept API_KEY\n")


def test_refused_events_become_dead_letters(xr2: Server, applications: Applications, outbox: Command) -> None:
    applications.ended("note('evt_1')")
    xr2.refuse()

    result = outbox("drain", "--json")

    assert (result.code, result.document["refused"]) == (0, 1)
    assert outbox("status", "--json").document["dead"] == 1


def test_after_a_change_of_key_what_is_left_is_sent_only_when_that_is_asked(
    xr2: Server, applications: Applications, outbox: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    applications.ended("note('evt_1')")
    monkeypatch.setenv("XR2_API_KEY", "another")
    xr2.come_up()

    ours = outbox("drain", "--json").document
    arrived_before = dict(xr2.arrived)
    adopted = outbox("drain", "--adopt", "--json").document

    assert (ours["delivered"], ours["left"], arrived_before) == (0, 0, {})
    assert (adopted["delivered"], adopted["left"]) == (1, 0)
    assert xr2.arrived == {"evt_1": 1}


def test_a_file_that_cannot_be_taken_over_is_something_left(xr2: Server, outbox: Command, spool: Path) -> None:
    origin = Origin.of(xr2.base_url, "xr2_dev_tests")
    spool.mkdir(parents=True, mode=0o700)
    (spool / f"{origin.installation}-1-a.sqlite3").symlink_to(spool / "elsewhere")

    result = outbox("drain", "--json")

    assert (result.code, result.document["left"]) == (1, 0)
    assert result.document["left_alone"] == [f"{origin.installation}-1-a.sqlite3 is no file of this user"]


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for what waits that is in memory, where there is such a place: three hundred files take a disk long."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as folder:
        monkeypatch.setenv("XR2_OUTBOX_PATH", folder)
        yield Path(folder)


def test_three_hundred_files_are_emptied(xr2: Server, outbox: Command, in_memory: Path) -> None:
    origin = Origin.of(xr2.base_url, "xr2_dev_tests")
    for number in range(300):
        left = Spool(Folder(in_memory), origin, most_events=10)
        left.put(Entry(f"evt_{number}", "sign_up", b'{"trace_id":"evt_%d"}' % number, time.time()))
        left.close()
    xr2.come_up()

    result = outbox("drain", "--json")

    assert (result.code, result.document["delivered"]) == (0, 300)
    assert len(xr2.arrived) == 300


class TestForever:
    @pytest.fixture
    def drain(self, outbox: Command) -> Iterator[subprocess.Popen[str]]:
        arguments = [sys.executable, "-m", "xr2_web", "outbox", "drain", "--forever", "--json"]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        yield process
        process.kill()
        process.communicate()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_delivers_what_is_left_later_and_ends_with_a_signal(
        self, xr2: Server, applications: Applications, drain: subprocess.Popen[str], number: signal.Signals
    ) -> None:
        xr2.go_down()
        applications.ended("note('evt_1')")
        xr2.come_up()
        xr2.wait_for({"evt_1"})

        drain.send_signal(number)
        out, _ = drain.communicate(timeout=10)

        assert drain.returncode == 0
        assert '"delivered": 1' in out

    def test_what_it_has_taken_over_survives_its_own_end(
        self, applications: Applications, drain: subprocess.Popen[str], outbox: Command
    ) -> None:
        applications.ended("note('evt_1')")
        wait_until(lambda: [each["pid"] for each in _living(outbox)] == [drain.pid])

        drain.kill()
        drain.wait()

        assert outbox("status", "--json").document["pending"] == 1


def _living(outbox: Command) -> list[dict[str, object]]:
    return [each for each in outbox("status", "--json").document["places"] if each["is_alive"] and each["pending"]]
