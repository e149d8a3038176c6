"""The spool as commands see it: the files of all its processes, living and dead.

Files are read without their owners' knowledge. What the dead have left is changed here, under its lease; the living are
asked, and obey within a second or so.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import Paused, requests
from .file import NewerSchema, SpoolFile
from .folder import SUFFIX, Folder
from .lease import Lease, is_leased
from .requests import Request
from .rows import Dead, Row
from .store import Busy, Changed, LeftAlone, Place, Store, Survey
from .visit import GLANCE, Plan, Visit, new_request, opened, pid_of, reason_of

PATIENCE = 3.0
"""Seconds for which a living process may take to answer."""

QUEUE = 10.0
"""Seconds for which a command waits until another has ended."""

PASSES = 3
"""How often the files are gone through where some of them change hands meanwhile."""

CHUNK = 1000


class SpoolStore(Store):
    """The files of one installation in a folder; with ``others`` those of every installation."""

    def __init__(self, folder: Folder, installation: str, *, others: bool, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._installation = installation
        self._owner = "" if others else installation
        self._patience = patience

    def survey(self) -> Survey:
        """Look at the files of every installation."""
        places, left_alone = [], [self._set_aside(name) for name in self._folder.damaged()]
        for path in self._folder.files():
            try:
                place = self._look(path)
            except FileNotFoundError:
                continue
            except (NewerSchema, OSError, sqlite3.Error) as exc:
                left_alone.append(LeftAlone(path.name, reason_of(exc), self._is_ours(path.name)))
            else:
                places += [place] if place else []
        missing = "" if self._folder.path.is_dir() else " (no such folder: it is made with the first event)"
        return Survey(f"the spool in {self._folder.path}{missing}", places, left_alone, self._folder.size())

    def waiting(self) -> Iterator[Row]:
        """Yield the events that wait, file by file in the order of arrival."""
        for file in self._files():
            yield from _all(file)

    def letters(self) -> Iterator[Dead]:
        """Yield the dead letters, file by file."""
        for file in self._files():
            yield from file.dead(-1)

    def forget(self, is_theirs: Callable[[bytes], bool]) -> Changed:
        """Remove what belongs to somebody, whether it waits or is dead."""

        def plan(file: SpoolFile) -> Request:
            events = [row.number for row in _all(file) if is_theirs(row.entry.body)]
            return new_request(forget=events, drop=_keys(file, lambda letter: is_theirs(letter.entry.body)))

        return self._change(plan)

    def requeue(self, is_chosen: Callable[[Dead], bool]) -> Changed:
        """Have dead letters sent once more: by the process that has them, or by whoever adopts them."""
        return self._change(lambda file: new_request(requeue=_keys(file, is_chosen)))

    def drop(self, is_chosen: Callable[[Dead], bool]) -> Changed:
        """Remove dead letters."""
        return self._change(lambda file: new_request(drop=_keys(file, is_chosen)))

    def _set_aside(self, name: str) -> LeftAlone:
        return LeftAlone(name, "was damaged, and is set aside", self._is_ours(name), is_set_aside=True)

    def _is_ours(self, name: str) -> bool:
        return name.startswith(self._installation)

    def _look(self, path: Path) -> Place | None:
        with opened(path) as file:
            if file is None:
                return None
            facts, (pending, oldest) = file.facts(), file.sums()
            reasons = file.reasons()
        is_alive = is_leased(path)
        until: float = facts.get("paused_until") or 0.0
        is_paused = is_alive and until > time.time()
        return Place(
            path.name,
            pending,
            sum(reasons.values()),
            oldest,
            reasons,
            pid=pid_of(facts, is_alive=is_alive),
            host=facts.get("host"),
            base_url=facts.get("base_url"),
            is_alive=is_alive,
            is_ours=self._is_ours(path.name),
            paused=Paused(until, str(facts.get("paused_why"))) if is_paused else None,
        )

    def _files(self) -> Iterator[SpoolFile]:
        """Yield each file that can be read, open; one that is adopted meanwhile goes on in another."""
        for path in self._folder.files(self._owner):
            try:
                with opened(path) as file:
                    if file is not None:
                        yield file
            except (NewerSchema, OSError, sqlite3.Error):
                continue  # told by the survey

    def _change(self, plan: Plan) -> Changed:
        if not self._folder.path.is_dir():
            return Changed()
        self._folder.prepare()
        with self._alone():
            changed = Changed()
            for _ in range(PASSES):
                visit = Visit(plan, self._patience)
                visit.go(self._folder.files(self._owner))
                changed = changed.plus(visit.changed)
                if not visit.is_unsettled or changed.undone:
                    return changed
            return changed.plus(Changed(undone=("files change hands all the time; once more, please",)))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have no other command at work meanwhile."""
        end = time.monotonic() + QUEUE
        while (lease := Lease.take(self._folder.path / f"commands{SUFFIX}")) is None:
            if time.monotonic() >= end:
                raise Busy("another command is at work here, and does not end")
            time.sleep(GLANCE)
        try:
            requests.sweep(self._folder.path)
            yield
        finally:
            lease.release(remove=True)


def _all(file: SpoolFile) -> Iterator[Row]:
    after = 0
    while rows := file.read(after, CHUNK):
        yield from rows
        after = rows[-1].number


def _keys(file: SpoolFile, is_chosen: Callable[[Dead], bool]) -> list[requests.Key]:
    return [(each.entry.trace_id, each.entry.event_name) for each in file.dead(-1) if is_chosen(each)]
