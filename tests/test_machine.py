from __future__ import annotations

import fcntl
import os
import random
import stat
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from xr2_web.machine import Machine
from xr2_web.pacing import Budget

URL = "https://xr2.uk"

PRELUDE = """
import fcntl, os, signal, sys, threading, time
from pathlib import Path
from xr2_web.machine import Machine

machine = Machine(Path(sys.argv[1]), "https://xr2.uk")
"""

HOLD_THE_LOCK = """
file = os.open(next(Path(sys.argv[1]).iterdir()), os.O_RDWR)
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def start(folder: Path, script: str) -> subprocess.Popen[str]:
    """Run a script in a process of its own; in it ``machine`` is the machine of a folder."""
    command = [sys.executable, "-c", PRELUDE + script, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(folder: Path, *scripts: str) -> list[str]:
    """Run scripts at the same time and return what they print."""
    processes = [start(folder, script) for script in scripts]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


def taken(budget: Budget, now: float, most: int = 1000) -> int:
    """Take what is left of a budget."""
    return next((count for count in range(most) if budget.debit_event(now)), most)


def file_in(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


@contextmanager
def stopped_holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped while it holds the lock of the file."""
    with start(folder, HOLD_THE_LOCK) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            yield process
        finally:
            process.kill()


class TestTogether:
    def test_processes_together_never_send_more_than_the_limit_in_a_minute(self, tmp_path: Path) -> None:
        script = """
budget, granted = machine.budget(300), 0
while budget.debit_event(time.monotonic()) == 0:
    granted += 1
print(granted)
"""

        granted = run(tmp_path, *[script] * 4)

        assert sum(map(int, granted)) == 300

    def test_no_window_has_more_than_the_limit_whoever_sends(self, tmp_path: Path) -> None:
        budgets = [Machine(tmp_path, URL).budget(30) for _ in range(3)]
        dice, now = random.Random(1), 1000.0
        sent: list[float] = []

        while len(sent) < 600:
            wait = dice.choice(budgets).debit_event(now)
            if wait == 0:
                sent.append(now)
            now += max(wait, dice.choice([0, 0, 0.01, 3]))

        assert max(sum(start <= moment < start + 60 for moment in sent) for start in sent) == 30

    def test_every_prompt_fetch_of_every_thread_of_every_process_is_counted(self, tmp_path: Path) -> None:
        script = """
budget = machine.budget(3000)
def fetch():
    for _ in range(100):
        budget.debit_prompt(1000)
threads = [threading.Thread(target=fetch) for _ in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done", flush=True)
sys.stdin.read()
budget.debit_prompt(1000)
"""
        processes = [start(tmp_path, script) for _ in range(4)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()

        for process in processes:
            process.communicate(timeout=60)

        assert taken(Machine(tmp_path, URL).budget(4 * 501 + 15), 1000) == 15

    def test_a_share_given_back_in_one_process_is_there_for_another(self, tmp_path: Path) -> None:
        one, other = (Machine(tmp_path, URL).budget(20) for _ in range(2))
        taken(one, 1000)

        one.credit_event()

        assert taken(other, 1000) == 1

    def test_events_get_ten_a_minute_for_an_hour_beside_five_fetches_a_second_of_another_process(
        self, tmp_path: Path
    ) -> None:
        fetching, sending = (Machine(tmp_path, URL).budget(90) for _ in range(2))
        sent: Counter[int] = Counter()
        next_try = 0.0

        for tick in range(3600 * 5):
            now = tick / 5
            fetching.debit_prompt(now)
            if now >= next_try:
                wait = sending.debit_event(now)
                next_try = now + wait
                sent[int(now // 60)] += not wait

        # At first there is room for more: the fetches take 18 s to fill the minute.
        assert sent[0] >= 10
        assert [sent[minute] for minute in range(1, 60)] == [10] * 59

    def test_a_pause_is_seen_and_lifted_in_another_process_within_a_moment(self, tmp_path: Path) -> None:
        # A whole number: the sum and the difference of others need not be 300 again.
        pause, now = Machine(tmp_path, URL).pause(), round(time.monotonic())
        before = pause.left(now)

        run(tmp_path, f"machine.pause().extend({now + 300})")
        during = within_a_moment(lambda: pause.left(now) > 0) and pause.left(now)
        run(tmp_path, "machine.pause().lift()")

        assert (before, during) == (0, 300)
        assert within_a_moment(lambda: pause.left(now) == 0)

    def test_a_longer_pause_that_another_process_has_just_said_is_not_shortened(self, tmp_path: Path) -> None:
        one, other = (Machine(tmp_path, URL).pause() for _ in range(2))
        one.left(0)
        other.extend(500)

        one.extend(100)

        assert (one.left(0), Machine(tmp_path, URL).pause().left(0)) == (500, 500)

    def test_each_server_has_its_own(self, tmp_path: Path) -> None:
        Machine(tmp_path, URL).pause().extend(100)
        taken(Machine(tmp_path, URL).budget(20), 0)

        other = Machine(tmp_path, "https://staging.xr2.uk")

        assert other.pause().left(0) == 0
        assert taken(other.budget(20), 0) == 20


def within_a_moment(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.01)
    return False


def left_after_an_event_met_the_lock(folder: Path) -> int:
    """Take a share of 20 while another has the lock for a moment; return what then is left for others."""
    budget = Machine(folder, URL).budget(20)
    budget.debit_prompt(1000)
    with file_in(folder).open("rb") as holder, ThreadPoolExecutor(1) as thread:
        fcntl.flock(holder, fcntl.LOCK_EX)
        event = thread.submit(budget.debit_event, 1000)
        time.sleep(0.02)
        fcntl.flock(holder, fcntl.LOCK_UN)
        assert event.result() == 0
    return taken(Machine(folder, URL).budget(20), 1000)


class TestHeldLock:
    def test_an_event_gets_the_lock_after_who_has_it_for_a_moment(self, tmp_path: Path) -> None:
        # Where this thread does not get its turn for so long that the event gives up, it is tried again.
        assert 18 in (left_after_an_event_met_the_lock(tmp_path / str(number)) for number in range(3))

    def test_threads_without_patience_never_send_more_than_the_limit(self, tmp_path: Path) -> None:
        budgets = [Machine(tmp_path / str(number), URL, patience=0).budget(200) for number in range(10)]

        with ThreadPoolExecutor(20) as threads:
            granted = [list(threads.map(budget.debit_event, [1000] * 500)).count(0) for budget in budgets]

        assert granted == [200] * 10


class TestStoppedWithTheLock:
    def test_events_go_on_within_what_the_file_said_and_this_process_sent(self, tmp_path: Path) -> None:
        taken(Machine(tmp_path, URL).budget(20), 1000, most=5)
        budget = Machine(tmp_path, URL).budget(20)

        with stopped_holder(tmp_path):
            began = time.monotonic()
            while_stopped = taken(budget, 1000)
            took = time.monotonic() - began

        assert while_stopped == 15
        assert took < 3

    def test_a_prompt_fetch_never_waits_and_is_counted_when_the_lock_is_free(self, tmp_path: Path) -> None:
        budget = Machine(tmp_path, URL).budget(1020)
        budget.debit_prompt(1000)

        with stopped_holder(tmp_path):
            began = time.monotonic()
            for _ in range(1000):
                budget.debit_prompt(1000)
            took = time.monotonic() - began
        budget.debit_prompt(1000)

        assert took < 3
        assert taken(Machine(tmp_path, URL).budget(1020), 1000) == 18

    def test_a_pause_holds_here_at_once_and_elsewhere_when_the_lock_is_free(self, tmp_path: Path) -> None:
        machine = Machine(tmp_path, URL)
        machine.budget(90).debit_prompt(0)

        with stopped_holder(tmp_path):
            machine.pause().extend(400)
            machine.pause().extend(300)
            here, there = machine.pause().left(0), Machine(tmp_path, URL).pause().left(0)
        machine.budget(90).debit_prompt(0)

        assert (here, there) == (400, 0)
        assert Machine(tmp_path, URL).pause().left(0) == 400

    def test_a_pause_alone_reaches_the_others_too(self, tmp_path: Path) -> None:
        machine = Machine(tmp_path, URL)
        machine.budget(90).debit_prompt(0)
        pause = machine.pause()
        with stopped_holder(tmp_path):
            pause.extend(400)

        assert within_a_moment(lambda: bool(pause.left(0) and Machine(tmp_path, URL).pause().left(0)))


class TestFork:
    def test_children_share_the_budget_of_their_parent(self, tmp_path: Path) -> None:
        script = """
budget = machine.budget(20)
for _ in range(5):
    budget.debit_event(1000)
for _ in range(3):
    if os.fork() == 0:
        granted = 0
        while budget.debit_event(1000) == 0:
            granted += 1
        os.write(1, b"%d\\n" % granted)
        os._exit(0)
for _ in range(3):
    os.wait()
"""

        (granted,) = run(tmp_path, script)

        assert sum(map(int, granted.split())) == 15

    def test_children_forked_in_the_middle_can_go_on_and_keep_no_lock(self, tmp_path: Path) -> None:
        script = """
import warnings
warnings.simplefilter("ignore")  # Python warns of forks beside threads
budget, pause = machine.budget(100_000), machine.pause()
is_over = False
def work():
    while not is_over:
        budget.debit_prompt(1000)
        budget.debit_event(1000)
        pause.extend(1001)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
children = []
read, write = os.pipe()
for _ in range(50):
    child = os.fork()
    if child == 0:
        budget.debit_prompt(1000)
        budget.debit_event(1000)
        pause.extend(1002)
        os.close(write)
        os.read(read, 1)  # lives on until the parent has tried the lock
        os._exit(0)
    children.append(child)
is_over = True
for thread in threads: thread.join()
file = os.open(next(Path(sys.argv[1]).iterdir()), os.O_RDWR)
end = time.monotonic() + 20
while True:  # the children may be at it still
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        if time.monotonic() > end: raise
        time.sleep(0.001)
os.close(file)
os.close(write)
print([os.waitpid(child, 0)[1] for child in children] == [0] * 50)
"""

        (output,) = run(tmp_path, script)

        assert output == "True"


class TestUnusualContent:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"xr2pace1",
            random.Random(1).randbytes(1040),
            random.Random(2).randbytes(1_000_000),
            b"xr2pace1" + random.Random(3).randbytes(1032),
            b"xr2pace1" + b"\xff" * 1032,
            b"xr2pace2" + bytes(1032),
            b"xr2pace1" + bytes(1032) + b"more",
        ],
        ids=["empty", "truncated", "garbage", "large", "marked garbage", "ones", "another version", "longer"],
    )
    def test_a_file_of_anything_holds_nothing_up_and_is_made_anew(self, tmp_path: Path, content: bytes) -> None:
        Machine(tmp_path, URL).pause().extend(0)
        file_in(tmp_path).write_bytes(content)
        one, other = Machine(tmp_path, URL), Machine(tmp_path, URL)

        left = one.pause().left(1000)
        shares = taken(one.budget(20), 1000, most=12), taken(other.budget(20), 1000)
        one.pause().extend(1100)

        assert left == 0
        assert shares == (12, 8)
        assert Machine(tmp_path, URL).pause().left(1000) == 100
        assert file_in(tmp_path).stat().st_size == 1040

    def test_counts_at_their_most_stay_there(self, tmp_path: Path) -> None:
        budget = Machine(tmp_path, URL).budget(90)
        budget.debit_prompt(1000)
        file_in(tmp_path).write_bytes(
            struct.pack("=8sd", b"xr2pace1", 0) + struct.pack("=qII", 1000, *[2**32 - 1] * 2) * 64
        )

        budget.debit_prompt(1000)

        assert budget.debit_event(1000) == 60
        assert budget.debit_event(1060) == 0

    def test_after_a_restart_of_the_machine_what_was_written_before_means_nothing(self, tmp_path: Path) -> None:
        before = Machine(tmp_path, URL)
        before.pause().extend(1_000_600)
        for second in range(999_940, 1_000_000):
            before.budget(90).debit_prompt(second)
        one, other = Machine(tmp_path, URL), Machine(tmp_path, URL)

        left = one.pause().left(20)
        shares = taken(one.budget(90), 20, most=50), taken(other.budget(90), 20)
        one.pause().extend(80)

        assert left == 0
        assert shares == (50, 40)
        assert (one.pause().left(20), Machine(tmp_path, URL).pause().left(20)) == (60, 60)

    def test_a_pause_of_ten_minutes_holds_for_who_read_the_clock_before_it_was_said(self, tmp_path: Path) -> None:
        pause = Machine(tmp_path, URL).pause()

        pause.extend(1000.5 + 600)

        assert pause.left(1000.0) == 600.5


class TestVanished:
    def test_a_removed_file_is_made_anew_and_shared_again(self, tmp_path: Path) -> None:
        one, other = Machine(tmp_path, URL), Machine(tmp_path, URL)
        taken(one.budget(20), 1000)

        file_in(tmp_path).unlink()
        shares = taken(one.budget(20), 1000, most=12), taken(other.budget(20), 1000)

        assert shares == (12, 8)

    def test_a_share_that_is_given_back_to_a_new_file_is_not_there_twice(self, tmp_path: Path) -> None:
        budget = Machine(tmp_path, URL).budget(20)
        budget.debit_event(1000)

        file_in(tmp_path).unlink()
        budget.credit_event()

        assert taken(budget, 1000) == 20

    def test_a_removed_folder_is_made_anew_and_the_pause_holds(self, tmp_path: Path) -> None:
        folder = tmp_path / "state" / "outbox"
        machine = Machine(folder, URL)
        machine.pause().extend(400)

        file_in(folder).unlink()
        folder.rmdir()
        left = machine.pause().left(0)
        machine.budget(90).debit_prompt(0)

        assert left == 400
        assert Machine(folder, URL).pause().left(0) == 400


def a_file(folder: Path) -> None:
    folder.touch()


def open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def a_link(folder: Path) -> None:
    in_place_of_the_file(folder).symlink_to(secret(folder))


def a_second_name(folder: Path) -> None:
    in_place_of_the_file(folder).hardlink_to(secret(folder))


def a_folder(folder: Path) -> None:
    in_place_of_the_file(folder).mkdir()


def a_pipe(folder: Path) -> None:
    os.mkfifo(in_place_of_the_file(folder))


def of_another_user(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    place = in_place_of_the_file(folder)
    place.write_bytes(b"secret")
    os.chown(place, 12345, 12345)


def in_place_of_the_file(folder: Path) -> Path:
    Machine(folder, URL).pause().extend(0)
    place = file_in(folder)
    place.unlink()
    return place


def secret(folder: Path) -> Path:
    path = folder.parent / "secret"
    path.write_bytes(b"secret")
    return path


class TestNoFile:
    @pytest.mark.parametrize(
        "obstacle", [a_file, open_to_others, a_link, a_second_name, a_folder, a_pipe, of_another_user]
    )
    def test_where_no_file_can_be_had_a_process_counts_for_itself(
        self, tmp_path: Path, obstacle: Callable[[Path], None]
    ) -> None:
        folder = tmp_path / "outbox"
        obstacle(folder)
        machine, descriptors = Machine(folder, URL), os.listdir("/dev/fd")

        machine.budget(20).debit_prompt(1000)
        granted = taken(machine.budget(20), 1000)
        machine.pause().extend(1100)

        assert granted == 19
        assert os.listdir("/dev/fd") == descriptors
        assert machine.pause().left(1000) == 100
        assert {each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} <= {b"secret", b""}

    def test_what_was_counted_without_a_file_is_in_it_once_there_is_one(self, tmp_path: Path) -> None:
        folder = tmp_path / "outbox"
        folder.touch()
        machine, other = Machine(folder, URL), Machine(folder, URL)
        taken(machine.budget(20), 1000, most=12)
        machine.pause().extend(1100)

        folder.unlink()

        assert within_a_moment(lambda: machine.pause().left(1000) == 100 == other.pause().left(1000))
        assert taken(other.budget(20), 1000) == 8

    def test_on_a_full_disk_a_process_counts_for_itself(self, tmp_path: Path) -> None:
        script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
budget = machine.budget(20)
budget.debit_prompt(1000)
granted = 0
while budget.debit_event(1000) == 0:
    granted += 1
machine.pause().extend(1100)
print(granted, machine.pause().left(1000))
"""

        (output,) = run(tmp_path, script)

        assert output == "19 100"

    @pytest.mark.parametrize(
        "system",
        [
            "fcntl = None",
            """
class fcntl:
    LOCK_EX, LOCK_NB, LOCK_UN = 2, 4, 8
    def flock(*_):
        raise OSError(37, "No locks available")
""",
        ],
        ids=["no Unix", "a file system without locks"],
    )
    def test_where_there_are_no_locks_a_process_counts_for_itself(self, tmp_path: Path, system: str) -> None:
        script = f"""
{system}
sys.modules["fcntl"] = fcntl
del sys.modules["xr2_web.machine"]
from xr2_web.machine import Machine

machine = Machine(Path(sys.argv[1]), "https://xr2.uk")
budget = machine.budget(20)
granted = 0
while budget.debit_event(1000) == 0:
    granted += 1
machine.pause().extend(1100)
print(granted, machine.pause().left(1000))
"""

        (output,) = run(tmp_path, script)

        assert output == "20 100"

    def test_without_a_limit_no_file_is_touched(self, tmp_path: Path) -> None:
        budget = Machine(tmp_path / "outbox", URL).budget(None)

        budget.debit_prompt(1000)
        waits = {budget.debit_event(1000) for _ in range(1000)}
        budget.credit_event()

        assert waits == {0}
        assert not (tmp_path / "outbox").exists()

    def test_to_ask_for_a_pause_makes_no_file(self, tmp_path: Path) -> None:
        assert Machine(tmp_path, URL).pause().left(1000) == 0
        assert not list(tmp_path.iterdir())


class TestFile:
    def test_nobody_else_may_read_it_and_its_name_does_not_tell_the_server(self, tmp_path: Path) -> None:
        Machine(tmp_path / "outbox", URL).budget(90).debit_prompt(1000)

        file = file_in(tmp_path / "outbox")

        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert "xr2.uk" not in file.name

    def test_no_descriptor_stays_open(self, tmp_path: Path) -> None:
        machine = Machine(tmp_path, URL)
        machine.budget(90).debit_prompt(1000)
        before = os.listdir("/dev/fd")

        for second in range(1000, 1100):
            machine.budget(90).debit_prompt(second)
            machine.budget(90).debit_event(second)
            machine.pause().extend(second)

        assert os.listdir("/dev/fd") == before

    def test_a_limit_of_any_size_fits(self, tmp_path: Path) -> None:
        budget = Machine(tmp_path, URL).budget(999_999)
        budget.debit_prompt(1000)
        size = file_in(tmp_path).stat().st_size

        with ThreadPoolExecutor(4) as threads:
            waits = list(threads.map(lambda _: budget.debit_event(1000), range(2000)))

        assert set(waits) == {0}
        assert file_in(tmp_path).stat().st_size == size
