"""What becomes of accepted events when processes are killed, stopped, forked, or end in a way of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

from .programs import Programs, Xr2, running_xr2, wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes end and fork as POSIX has it")


@pytest.fixture
def xr2() -> Iterator[Xr2]:
    with running_xr2() as xr2:
        yield xr2


@pytest.fixture
def programs(xr2: Xr2, tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path, xr2.base_url)
    yield programs
    programs.end()


def once_each(*trace_ids: str) -> dict[str, int]:
    return dict.fromkeys((*trace_ids, "of the heir"), 1)


def test_a_kill_between_the_answer_and_its_note_sends_the_event_again(xr2: Xr2, programs: Programs) -> None:
    """SIGKILL between the server's yes and our note of it."""
    program = programs.start("track('taken'); say('tracked'); signal.pause()")
    program.next_line()
    xr2.before_answer, xr2.after_answer = program.stop, program.kill

    xr2.come_up()
    program.wait()
    xr2.before_answer = xr2.after_answer = lambda: None
    programs.start_heir()
    xr2.wait_for({"taken", "of the heir"})
    wait_until(lambda: not programs.spools.waiting())

    assert xr2.arrived == {"taken": 2, "of the heir": 1}


def test_sigterm_with_ten_thousand_waiting_ends_in_time_and_loses_none(xr2: Xr2, programs: Programs) -> None:
    """SIGTERM with 10,000 waiting, at a server that does not answer: out in SHUTDOWN_TIMEOUT, 2 s."""
    xr2.fall_silent()
    program = programs.start(
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        for number in range(10_000):
            track(f"evt_{number}")
        say("tracked")
        signal.pause()
        """
    )
    program.next_line()

    seconds = program.terminate()

    assert seconds < 2 + 1
    told = "xr2_web.events_left: 10000 undelivered at the end, and kept: the next process sends them\n"
    assert program.errors() == told
    assert programs.spools.waiting() == {(f"evt_{number}", "sign_up"): 1 for number in range(10_000)}


FORKS = {
    "before the first event": """
        child = os.fork()
        track("of the parent" if child else "of the child")
        if child:
            os.waitpid(child, 0)
        """,
    "after the first event": """
        track("of the parent")
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            track("of the child")
        """,
    "after the first event, and out by os._exit": """
        track("of the parent")
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            track("of the child")
            os._exit(0)
        """,
    "twice, as daemons do": """
        track("of the parent")
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        elif grandchild := os.fork():
            os.waitpid(grandchild, 0)
        else:
            track("of the child")
        """,
    "by multiprocessing's fork": """
        import multiprocessing
        track("of the parent")
        child = multiprocessing.get_context("fork").Process(target=track, args=("of the child",))
        child.start()
        child.join()
        """,
    "by multiprocessing's spawn": """
        import multiprocessing
        if __name__ == "__main__":
            track("of the parent")
            child = multiprocessing.get_context("spawn").Process(target=track, args=("of the child",))
            child.start()
            child.join()
        """,
}


@pytest.mark.parametrize("program", FORKS.values(), ids=FORKS.keys())
def test_events_before_and_after_a_fork_arrive_once_each(program: str, xr2: Xr2, programs: Programs) -> None:
    """Fork before and after the first event, multiprocessing fork and spawn, double fork, ``os._exit``."""
    programs.run(program)

    xr2.come_up()
    programs.start_heir()
    xr2.wait_for(once_each("of the parent", "of the child").keys())
    wait_until(lambda: not programs.spools.waiting())

    assert xr2.arrived == once_each("of the parent", "of the child")


FORKED_AMONG_THREADS = """
    is_over = False
    numbers = {}

    def track_on(thread):
        number = 0
        while not is_over and number < 5_000:
            track(f"parent_{thread}_{number}")
            number += 1
        numbers[thread] = number

    threads = [threading.Thread(target=track_on, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for child in range(20):
        if not os.fork():
            for number in range(20):
                track(f"child_{child}_{number}")
            os._exit(0)
    for child in range(20):
        assert os.wait()[1] == 0
    is_over = True
    for thread in threads:
        thread.join()
    say(" ".join(str(numbers[thread]) for thread in range(4)))
    os._exit(0)
    """


@pytest.mark.parametrize("first", ["", "track('early')"], ids=["before the first event", "after the first event"])
def test_what_a_parent_and_its_children_track_at_once_is_kept(first: str, xr2: Xr2, programs: Programs) -> None:
    """Fork while threads of the parent track: no child waits for what they held, nor writes where the parent does."""
    program = programs.start("\n".join(map(dedent, (first, FORKED_AMONG_THREADS))))
    numbers = [int(number) for number in program.next_line().split()]
    assert program.wait() == 0, program.errors()

    # The parent may have ended while it adopted a child's: then these are in both files.
    assert {trace_id for trace_id, _ in programs.spools.waiting()} - {"early"} == {
        *(f"child_{child}_{number}" for child in range(20) for number in range(20)),
        *(f"parent_{thread}_{number}" for thread, most in enumerate(numbers) for number in range(most)),
    }


def test_a_child_that_lives_on_does_not_keep_what_its_killed_parent_has_left(xr2: Xr2, programs: Programs) -> None:
    """A child holding the parent's lock."""
    parent = programs.start(
        """
        track("of the parent")
        child = os.fork()
        if not child:
            track("of the child")
            say(os.getpid())
        signal.pause()
        """
    )
    child = int(parent.next_line())

    parent.kill()
    xr2.come_up()
    programs.start_heir()
    xr2.wait_for(once_each("of the parent").keys())

    os.kill(child, 0)
    xr2.wait_for(once_each("of the child").keys())
    assert xr2.arrived == once_each("of the parent", "of the child")


def test_events_at_exit_and_of_finalizers_are_kept(xr2: Xr2, programs: Programs) -> None:
    """Events in ``atexit`` and ``__del__``: before the courier has stopped, after it has, and when modules go."""
    program = programs.run(
        """
        import atexit

        class Late:
            def __del__(self, track=track, say=say):
                track("of a finalizer")
                say("tracked")

        atexit.register(track, "after the courier")
        track("usual")
        atexit.register(track, "before the courier")
        late = Late()
        """
    )

    assert program.next_line() == "tracked"
    assert "Traceback" not in program.errors()
    xr2.come_up()
    programs.start_heir()
    tracked = once_each("usual", "before the courier", "after the courier", "of a finalizer")
    xr2.wait_for(tracked.keys())
    assert xr2.arrived == tracked


def test_a_process_that_stands_still_keeps_its_events_and_goes_on(xr2: Xr2, programs: Programs) -> None:
    """SIGSTOP. Who adopts goes through the files in the order of process ids: it has met the stopped one first."""
    stopped = programs.start("track('of the stopped'); say('tracked'); signal.pause()")
    stopped.next_line()
    stopped.stop()
    programs.run("track('of the dead'); os._exit(0)")

    xr2.come_up()
    programs.start_heir()
    xr2.wait_for({"of the dead"})
    meanwhile = set(xr2.arrived)
    stopped.go_on()
    xr2.wait_for(once_each("of the stopped").keys())

    assert "of the stopped" not in meanwhile
    assert xr2.arrived == once_each("of the stopped", "of the dead")


@pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed")
def test_greenlets_lose_nothing_at_a_kill(xr2: Xr2, programs: Programs) -> None:
    """Gevent, in a process that is patched as a whole."""
    program = programs.start(
        """
        import gevent
        gevent.joinall([gevent.spawn(track, f"evt_{number}") for number in range(100)], raise_error=True)
        say("tracked")
        gevent.sleep(60)
        """,
        first="from gevent import monkey; monkey.patch_all()",
    )
    assert program.next_line() == "tracked", program.errors()

    program.kill()
    waiting = programs.spools.waiting()
    xr2.come_up()
    programs.start_heir()
    tracked = once_each(*(f"evt_{number}" for number in range(100)))
    xr2.wait_for(tracked.keys())

    assert waiting == {(f"evt_{number}", "sign_up"): 1 for number in range(100)}
    assert xr2.arrived == tracked


def test_a_thousand_threads_that_track_at_once_lose_nothing_at_a_kill(xr2: Xr2, programs: Programs) -> None:
    """1,000 threads."""
    program = programs.start(
        """
        together = threading.Barrier(1_000)

        def track_three(number):
            together.wait()
            for name in "abc":
                track(f"evt_{number}_{name}")

        threads = [threading.Thread(target=track_three, args=(number,)) for number in range(1_000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say("tracked")
        signal.pause()
        """
    )
    program.next_line()

    program.kill()

    assert program.errors() == ""
    assert programs.spools.waiting() == {
        (f"evt_{number}_{name}", "sign_up"): 1 for number in range(1_000) for name in "abc"
    }


def test_the_files_that_recycled_workers_have_left_are_emptied_and_removed(xr2: Xr2, programs: Programs) -> None:
    """Recycled workers leaving many files: here 40, of workers that were killed."""
    programs.run(
        """
        track("of the master")
        for number in range(40):
            child = os.fork()
            if not child:
                track(f"evt_{number}")
                os.kill(os.getpid(), signal.SIGKILL)
            os.waitpid(child, 0)
        """
    )
    left = programs.spools.files()

    xr2.come_up()
    programs.start_heir()
    tracked = once_each("of the master", *(f"evt_{number}" for number in range(40)))
    xr2.wait_for(tracked.keys())
    wait_until(lambda: len(programs.spools.files()) == 1)

    assert len(left) > 20  # the master, which lives on, may adopt some of them
    assert xr2.arrived == tracked
