"""Who may have a file: the processes of a machine, the interpreters of a process, and the children that outlive it."""

from __future__ import annotations

import ast
import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xr2_web.outbox import lease as leases
from xr2_web.outbox.lease import Lease, is_leased

ASKS = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from xr2_web.outbox.lease import Lease, is_leased
file = Path({file!r})
Path({said!r}).write_text(repr({question}))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "a.sqlite3"


@pytest.fixture
def lease(file: Path) -> Lease:
    file.parent.mkdir()
    lease = Lease.take(file)
    assert lease is not None
    return lease


def in_another_interpreter(question: str, file: Path) -> object:
    """Return what an expression is in an interpreter of this process that is new."""
    said = file.with_suffix(".said")
    _run_in_another_interpreter(ASKS.format(path=sys.path, file=str(file), said=str(said), question=question))
    answer: object = ast.literal_eval(said.read_text())
    said.unlink()
    return answer


def _run_in_another_interpreter(program: str) -> None:
    if sys.version_info >= (3, 13):
        import _interpreters

        interpreter = _interpreters.create("legacy")
        try:
            assert _interpreters.exec(interpreter, program) is None
        finally:
            _interpreters.destroy(interpreter)
    else:
        import _xxsubinterpreters  # type: ignore[import-not-found]

        interpreter = _xxsubinterpreters.create(isolated=False)
        try:
            _xxsubinterpreters.run_string(interpreter, program)
        finally:
            _xxsubinterpreters.destroy(interpreter)


def in_a_child(is_so: Callable[[], bool]) -> bool:
    """Tell whether something is so in a forked child."""
    child = os.fork()
    if child == 0:
        os._exit(0 if is_so() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_another_interpreter_of_the_process_finds_the_lease_taken(lease: Lease, file: Path) -> None:
    found = in_another_interpreter("(is_leased(file), Lease.take(file) is None)", file)

    assert found == (True, True)
    lease.release(remove=True)


@pytest.mark.parametrize("question", ["is_leased(file)", "Lease.take(file) is None"])
def test_an_interpreter_that_asks_does_not_take_the_lease_from_another(lease: Lease, file: Path, question: str) -> None:
    """Closing any descriptor of its file would let the POSIX lock go, for all processes."""
    assert in_another_interpreter(question, file)

    assert in_a_child(lambda: Lease.take(file) is None)
    lease.release(remove=True)


def test_a_lease_that_was_released_is_free_to_all_and_leaves_nothing(lease: Lease, file: Path) -> None:
    lease.release(remove=True)
    is_leased_there = in_another_interpreter("is_leased(file)", file)

    assert is_leased_there is False
    assert list(file.parent.iterdir()) == []


def test_a_lease_is_released_when_its_folder_is_one_no_more(lease: Lease, file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_text("")

    lease.release()

    file.parent.unlink()
    file.parent.mkdir()
    again = Lease.take(file)
    assert again is not None
    again.release()


def test_one_that_is_taken_by_another_process_leaves_no_mark(lease: Lease, file: Path) -> None:
    before = sorted(file.parent.iterdir())

    assert in_a_child(lambda: Lease.take(file) is None and sorted(file.parent.iterdir()) == before)
    lease.release(remove=True)
    assert list(file.parent.iterdir()) == []


def test_a_child_that_has_inherited_the_mark_may_take_what_its_parent_left(file: Path) -> None:
    file.parent.mkdir()
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        Lease.take(file)
        if os.fork() == 0:
            os.read(read, 1)
        os._exit(0)
    os.waitpid(parent, 0)

    is_free, lease = not is_leased(file), Lease.take(file)

    os.write(write, b"x")
    assert is_free
    assert lease is not None
    lease.release(remove=True)
    assert list(file.parent.iterdir()) == []


def test_a_file_system_without_flock_has_the_lock_of_the_process_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    file.parent.mkdir()
    monkeypatch.setattr(leases.fcntl, "flock", flock)

    lease = Lease.take(file)

    assert lease is not None
    assert is_leased(file)
    assert in_a_child(lambda: Lease.take(file) is None)
    lease.release(remove=True)
