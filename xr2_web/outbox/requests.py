"""What a command asks of the process that owns a spool file, and what that answers: two small files beside it.

A command looks for itself, since anybody may read; it asks for what only the owner may write. The names of the papers
are the spool file's own, so that the owner finds them without listing the folder.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from . import Entry
    from .file import SpoolFile

Key: TypeAlias = tuple[str, str]
"""The trace id and the event name of a dead letter."""

LIFE = 60.0
"""Seconds after which a request is no longer obeyed: whoever has made it is gone."""

CHUNK = 100
"""Events that are dealt with at a time, while a request of the application may have to wait."""

MOST_BYTES = 32 * 1024 * 1024

_REQUEST = ".request"
_TAKEN = ".taken"
_ANSWER = ".answer"
_PART = ".part"


class Request(NamedTuple):
    """What is to be done in one file: events to forget, by their ids, dead letters to drop or to send once more."""

    number: str
    made_at: float
    forget: Sequence[int] = ()
    drop: Sequence[Key] = ()
    requeue: Sequence[Key] = ()

    def parts(self) -> Iterator[Request]:
        """Yield the same in parts that are done quickly."""
        for name in ("forget", "drop", "requeue"):
            asked = getattr(self, name)
            for start in range(0, len(asked), CHUNK):
                yield Request(self.number, self.made_at, **{name: asked[start : start + CHUNK]})


class Answer(NamedTuple):
    """What was done; ``failure`` says why it was not all."""

    number: str
    forgotten: int = 0
    dropped: int = 0
    requeued: int = 0
    failure: str = ""

    def plus(self, part: Answer) -> Answer:
        """Return this with what was done in another part of the request."""
        forgotten, dropped, requeued = self.forgotten + part.forgotten, self.dropped + part.dropped, part.requeued
        return Answer(self.number, forgotten, dropped, self.requeued + requeued, self.failure)


def carry_out(asked: Request, file: SpoolFile, *, add: Callable[[Entry, int], object], room: float) -> Answer:
    """Do in a file what is asked; ``add`` writes an event that was tried before, and there is ``room`` for so many."""
    there = file.present(asked.forget)
    file.delete(there)
    dropped = [letter for key in asked.drop if (letter := file.dead_letter(*key))]
    for letter in dropped:
        file.delete_dead(letter.entry)
    requeued = 0
    for key in asked.requeue:
        letter_again = file.dead_letter(*key)
        if letter_again is None or requeued >= room:
            continue
        # Written first: a crash in between sends it twice, and loses nothing.
        add(letter_again.entry, 1)
        file.delete_dead(letter_again.entry)
        requeued += 1
    return Answer(asked.number, len(there), len(dropped), requeued)


def attend(path: Path, act: Callable[[Request], Answer], now: float) -> None:
    """Obey what is asked of the owner of a file, if anything is; ``now`` is the wall clock.

    Raises the ``OSError`` or ``sqlite3.Error`` that keeps it from being done, after that was answered.
    """
    asked = _take(path)
    # One that comes from the future was written before somebody set the clock.
    if asked is None or abs(now - asked.made_at) > LIFE:
        return
    answer = Answer(asked.number)
    try:
        for part in asked.parts():
            answer = answer.plus(act(part))
    except Exception as exc:
        answer = answer._replace(failure=f"{type(exc).__name__}: {exc}")
        raise
    finally:
        _write(path.with_suffix(_ANSWER), answer)


def ask(path: Path, asked: Request) -> None:
    """Leave a request for the owner of a file. Only who has the folder's commands to itself may do so."""
    path.with_suffix(_ANSWER).unlink(missing_ok=True)
    _write(path.with_suffix(_REQUEST), asked)


def answer_to(asked: Request, path: Path) -> Answer | None:
    """Return the answer, None where there is none yet."""
    found = _read(path.with_suffix(_ANSWER))
    with suppress(TypeError, ValueError):
        answer = Answer(*found)
        if answer.number == asked.number:
            return answer
    return None


def withdraw(path: Path) -> bool:
    """Take a request back; False where the owner has already taken it."""
    try:
        path.with_suffix(_REQUEST).unlink()
    except FileNotFoundError:
        return False
    return True


def clear(path: Path) -> None:
    """Remove both papers, once nobody has any more use for them."""
    for suffix in (_REQUEST, _ANSWER):
        path.with_suffix(suffix).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the papers that commands, and owners, have left that were killed in the middle."""
    with os.scandir(folder) as found:
        names = [each.name for each in found]
    for name in names:
        if name.removesuffix(_PART).endswith((_REQUEST, _TAKEN, _ANSWER)):
            (folder / name).unlink(missing_ok=True)


def _take(path: Path) -> Request | None:
    """Take the request away, so that it is obeyed once and by one, and return it if it is one."""
    taken = path.with_suffix(_TAKEN)
    try:
        os.rename(path.with_suffix(_REQUEST), taken)
    except FileNotFoundError:
        return None
    found = _read(taken)
    taken.unlink(missing_ok=True)
    try:
        number, made_at, forget, drop, requeue = found
        keys = [[(str(trace_id), str(name)) for trace_id, name in letters] for letters in (drop, requeue)]
        return Request(str(number), float(made_at), [int(each) for each in forget], *keys)
    except (TypeError, ValueError):
        return None


def _read(path: Path) -> list[Any]:
    """Return what is written in a file of this user's own; nothing where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        is_own = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_size <= MOST_BYTES
        try:
            content = json.loads(file.read()) if is_own else []
        except (OSError, ValueError):
            content = []
    return content if isinstance(content, list) else []


def _write(path: Path, what: tuple[object, ...]) -> None:
    """Write a file so that it is there as a whole, or not at all."""
    part = path.with_name(f"{path.name}{_PART}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w") as file:
            json.dump(what, file)
        os.rename(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
