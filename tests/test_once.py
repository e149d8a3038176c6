from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from xr2_web.once import once


class Workshop:
    """Counts what it makes; ``slow`` holds the making open until it is set."""

    def __init__(self, slow: threading.Event | None = None) -> None:
        self.made = 0
        self._slow = slow

    @once
    def tool(self) -> object:
        """Make a tool."""
        if self._slow is not None:
            self._slow.wait(5)
        self.made += 1
        return object()

    @once
    def box(self) -> list[object]:
        """Make a box that needs the tool."""
        return [self.tool]


def test_it_is_made_on_first_use_and_then_kept() -> None:
    workshop = Workshop()
    before = workshop.made

    first, second = workshop.tool, workshop.tool

    assert (before, workshop.made) == (0, 1)
    assert first is second


def test_each_instance_has_its_own() -> None:
    assert Workshop().tool is not Workshop().tool


def test_threads_that_ask_at_once_get_the_same() -> None:
    start = threading.Event()
    workshop = Workshop(slow=start)

    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(lambda: workshop.tool) for _ in range(20)]
        start.set()
        tools = {id(each.result(5)) for each in asked}

    assert workshop.made == len(tools) == 1


def test_one_may_need_another() -> None:
    workshop = Workshop()

    assert workshop.box == [workshop.tool]


def test_what_was_dropped_is_made_again() -> None:
    workshop = Workshop()
    first = workshop.tool

    del workshop.__dict__["tool"]

    assert workshop.tool is not first


def test_a_making_that_fails_is_tried_again() -> None:
    class Flaky:
        tries = 0

        @once
        def thing(self) -> str:
            self.tries += 1
            if self.tries == 1:
                raise LookupError("not yet")
            return "made"

    flaky = Flaky()

    with pytest.raises(LookupError):
        _ = flaky.thing

    assert flaky.thing == "made"


def test_the_class_shows_the_property_and_its_documentation() -> None:
    assert isinstance(Workshop.tool, once)
    assert Workshop.tool.__doc__ == "Make a tool."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_a_thread_was_making_can_make_its_own() -> None:
    program = """
import os, signal, threading, warnings
from xr2_web.once import once
warnings.simplefilter("ignore")
begun, end = threading.Event(), threading.Event()

class Workshop:
    @once
    def tool(self):
        if threading.current_thread() is not threading.main_thread():
            begun.set(); end.wait()
        return "tool"

thread = threading.Thread(target=lambda: Workshop().tool)
thread.start(); begun.wait()
if (child := os.fork()) == 0:
    signal.alarm(3)
    os._exit(0 if Workshop().tool == "tool" else 1)
_, status = os.waitpid(child, 0)
end.set(); thread.join()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
