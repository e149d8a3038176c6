"""A command's way through the files of a spool: what the dead have left is changed here, the living are asked."""

from __future__ import annotations

import errno
import math
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from . import Entry, requests
from .file import NewerSchema, SpoolFile
from .lease import Lease, is_leased
from .paths import is_own, remove
from .requests import Answer, Request
from .store import Changed

GRACE = 2.0
"""Seconds more for one that has taken the request: much is asked of it."""

GLANCE = 0.02

Plan: TypeAlias = Callable[[SpoolFile], Request]
"""What is to be done in a file, by what is in it."""


class Visit:
    """One pass over the files: first what the dead have left, then the living, who may adopt it and be asked later."""

    def __init__(self, plan: Plan, patience: float) -> None:
        self.changed = Changed()
        self.is_unsettled = False
        """Whether events may have moved from a file that was not dealt with to one that was."""
        self._plan = plan
        self._patience = patience
        self._asked: dict[Path, tuple[Request, str]] = {}

    def go(self, paths: list[Path]) -> None:
        """Deal with each file."""
        leased = [path for path in paths if not self._did_here(path)]
        for path in leased:
            self._ask(path)
        self._listen(self._patience)
        # Who has not even taken it shall not obey behind the command's back.
        for path in list(self._asked):
            if requests.withdraw(path):
                self._give_up(path)
        self._listen(GRACE)
        for path in list(self._asked):
            self._give_up(path)

    def _did_here(self, path: Path) -> bool:
        """Deal with the file of a dead process; False where somebody has its lease."""
        try:
            lease = Lease.take(path)
        except OSError as exc:
            self._undone(path.name, reason_of(exc))
            return True
        if lease is None:
            return False
        is_gone = False
        try:
            is_gone = self._do_here(path)
        except FileNotFoundError:
            is_gone = self.is_unsettled = True
        except (NewerSchema, OSError, sqlite3.Error) as exc:
            self._undone(path.name, reason_of(exc))
        finally:
            lease.release(remove=is_gone)
        return True

    def _do_here(self, path: Path) -> bool:
        """Do under the lease what is to be done in a file; True where nothing is left of it."""
        with opened(path) as seen:
            asked = self._plan(seen) if seen else new_request()
        if not any(asked[2:]):
            return False
        file = SpoolFile.open(path)
        assert file is not None
        with closing(file):
            answer = Answer(asked.number)
            for part in asked.parts():
                answer = answer.plus(requests.carry_out(part, file, add=_adder(file), room=math.inf))
            self._note(asked, answer)
            is_empty = not file.sums()[0] and not file.dead(1)
        if is_empty:
            remove(path)
        return is_empty

    def _ask(self, path: Path) -> None:
        try:
            with opened(path) as file:
                facts = file.facts() if file else {}
                asked = self._plan(file) if file else new_request()
        except FileNotFoundError:
            self.is_unsettled = True
            return
        except (NewerSchema, OSError, sqlite3.Error) as exc:
            self._undone(path.name, reason_of(exc))
            return
        # By somebody else than its maker: what is moved out of it may come to a file that was looked at before.
        self.is_unsettled |= "adopted_by" in facts
        if any(asked[2:]):
            requests.ask(path, asked)
            self._asked[path] = asked, f"process {pid_of(facts, is_alive=True)} on {facts.get('host')}"

    def _listen(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._asked and time.monotonic() < end:
            for path in list(self._asked):
                self._look_for_answer(path)
            if self._asked:
                time.sleep(GLANCE)

    def _look_for_answer(self, path: Path) -> None:
        asked, who = self._asked[path]
        answer = requests.answer_to(asked, path)
        if answer is not None:
            self._note(asked, answer)
            if answer.failure and not path.exists():
                self.is_unsettled = True
            elif answer.failure:
                self._undone(who, f"failed: {answer.failure}")
        elif not path.exists():
            self.is_unsettled = True
        elif is_leased(path) or not self._did_here(path):
            return
        requests.clear(path)
        del self._asked[path]

    def _give_up(self, path: Path) -> None:
        _, who = self._asked.pop(path)
        requests.clear(path)
        self._undone(who, "has not answered")

    def _note(self, asked: Request, answer: Answer) -> None:
        # Only who has no room for them leaves dead letters where they are, without failing.
        kept = 0 if answer.failure else len(asked.requeue) - answer.requeued
        self.changed = self.changed.plus(Changed(answer.forgotten, answer.dropped + answer.requeued, kept))

    def _undone(self, who: str, why: str) -> None:
        self.changed = self.changed.plus(Changed(undone=(f"{who} {why}",)))


@contextmanager
def opened(path: Path) -> Iterator[SpoolFile | None]:
    """Open a file to be read.

    Raises ``PermissionError`` where it is none of this user's, and ``FileNotFoundError`` where it is gone, or goes.
    """
    if not is_own(path):
        raise PermissionError("is no file of this user")
    file = None
    try:
        file = SpoolFile.look(path)
        yield file
    except sqlite3.Error as exc:
        # SQLite says many things of a file that is removed while it looks at it.
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from exc
        raise
    finally:
        if file is not None:
            file.close()


def new_request(
    *,
    forget: list[int] | None = None,
    drop: list[requests.Key] | None = None,
    requeue: list[requests.Key] | None = None,
) -> Request:
    """Return a request under a number of its own, made now."""
    return Request(secrets.token_hex(8), time.time(), forget or [], drop or [], requeue or [])


def pid_of(facts: dict[str, Any], *, is_alive: bool) -> int | None:
    """Return which process has a file, or had it: its maker, or who is adopting it."""
    return (is_alive and facts.get("adopted_by")) or facts.get("pid")


def reason_of(exc: Exception) -> str:
    """Say in words why a file was not dealt with."""
    if isinstance(exc, NewerSchema):
        return "was made by a later release of xr2-web"
    if isinstance(exc, PermissionError) and exc.errno is None:
        return str(exc)
    return f"cannot be read: {os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else exc}"


def _adder(file: SpoolFile) -> Callable[[Entry, int], object]:
    return lambda entry, attempts: file.insert(file.last() + 1, entry, attempts)
