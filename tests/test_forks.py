"""What threads, forks and signals leave of the locks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from xr2_web.forks import ForkLock

from .cutting import each_cut


def is_free(lock: threading.RLock) -> bool:
    taken: list[bool] = []

    def take() -> None:
        if lock.acquire(blocking=False):
            taken.append(True)
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(taken)


def test_an_exception_of_a_signal_leaves_no_lock_locked() -> None:
    lock = ForkLock()

    def use() -> None:
        with lock:
            len("")

    left_locked = [place for place in each_cut(lambda: use) if not is_free(lock)]

    assert not left_locked


def test_a_thread_that_holds_it_may_take_it_again() -> None:
    lock = ForkLock()

    with lock, lock:
        was_free = is_free(lock)

    assert (was_free, is_free(lock)) == (False, True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("first", "second"),
    [("holding_off_forks", "uncut"), ("uncut", "holding_off_forks"), ("older", "uncut"), ("uncut", "older")],
)
def test_a_fork_waits_for_a_thread_that_needs_one_lock_more(first: str, second: str) -> None:
    program = f"""
import os, signal, threading, time, warnings
from xr2_web.forks import holding_off_forks, new_uncut_lock
warnings.simplefilter("ignore")
older, uncut = new_uncut_lock(), new_uncut_lock()
has_first, forks = threading.Event(), threading.Event()
os.register_at_fork(before=forks.set)  # registered last, hence called first

def work():
    with {first}:
        has_first.set(); forks.wait()
        time.sleep(0.1)  # until the one that forks has what it can have
        with {second}:
            pass

signal.alarm(10)
thread = threading.Thread(target=work)
thread.start(); has_first.wait()
if (child := os.fork()) == 0:
    with older, uncut, holding_off_forks:
        os._exit(7)
_, status = os.waitpid(child, 0)
thread.join()
with older, uncut, holding_off_forks:
    raise SystemExit(os.waitstatus_to_exitcode(status))
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (7, "")
