"""The pause and the request budget that the processes of a machine share, since xR2 counts by address.

Both are in a small file. Nobody ever waits for a process that holds its lock and does not run: what cannot be written
is owed to the file, counts in this process meanwhile, and is written with what comes next.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType

from .forks import ForkLock
from .outbox.folder import Folder
from .pacing import AHEAD, LONGEST_RATE_LIMIT_PAUSE, Budget, Made, Pause, Requests

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SUFFIX = ".pacing"

PATIENCE = 0.25
"""Seconds that are enough for who holds the lock to get its turn to run, be the machine ever so busy."""

FRESH = 0.05
"""Seconds for which the pause is not read again."""

REST = 1.0
"""Seconds after which a file that could not be opened is tried again."""


class Machine:
    """What the processes of a machine know together of one server. Threads and forked children may share it.

    Where the folder cannot be written, or there are no locks, it is what this process knows. An event tries to get the
    lock for ``patience`` seconds; a prompt fetch and a pause do not wait.
    """

    def __init__(self, folder: Path, base_url: str, *, patience: float = PATIENCE) -> None:
        name = hashlib.sha256(base_url.encode()).hexdigest()[:12]
        self._ledger = _SharedLedger(folder, name + SUFFIX, patience)

    def budget(self, limit: int | None) -> Budget:
        """Return the budget of ``limit`` requests a minute; no file is touched where it is None."""
        return Budget(limit, self._ledger)

    def pause(self) -> Pause:
        """Return the pause that a 429 asks for."""
        return Pause(self._ledger, longest=LONGEST_RATE_LIMIT_PAUSE + AHEAD)


class _SharedLedger:
    """A ledger (``pacing.Ledger``) in a file."""

    def __init__(self, folder: Path, name: str, patience: float) -> None:
        self._folder = Folder(folder)
        self._path = str(folder / name)
        self._taking = ForkLock()
        self._lock = ForkLock()
        self._owed = Requests()
        self._until = -math.inf
        self._owed_pause: Callable[[float], float] | None = None
        self._read_at = -math.inf
        self._failed_at = -math.inf
        self._patience = patience
        self._patience_left = patience
        self._is_prepared = False

    def until(self) -> float:
        """Return the moment before which nothing is sent, as the file said lately."""
        now = time.monotonic()
        if now - self._read_at > FRESH:
            self._read_at = now
            self._read_until()
        return self._until

    def pause(self, change: Callable[[float], float]) -> None:
        """Change that moment, in the file if it can be had at once."""
        with self._lock:
            self._until, self._owed_pause = change(self._until), change
        self._settle()

    def note(self, made: Made) -> None:
        """Count requests, in the file if it can be had at once."""
        with self._lock:
            self._owed.add(made)
        self._settle()

    def take(self, event: Made, wait_for_room: Callable[[Iterable[Made]], float]) -> float:
        """Count an event where there is room for it; without the lock, by what the file says and is owed."""
        # One thread at a time: one without the lock would not see what another is about to write.
        with self._taking, self._open() as file:
            # Who has waited in vain does not wait again, until the lock was to be had.
            is_locked = file.lock(self._patience_left)
            self._patience_left = self._patience if is_locked else 0.0
            page = file.read()
            with self._lock:
                wait = wait_for_room(chain(page, self._owed))
                if not wait:
                    self._owed.add(event)
            if is_locked:
                self._pay(file, page)
        return wait

    def _read_until(self) -> None:
        if self._owed_pause:
            self._settle()
        with self._open(os.O_RDONLY) as file:
            page = file.read()
        with self._lock:
            if not page.is_new and not self._owed_pause:
                self._until = page.until

    def _settle(self) -> None:
        """Write what is owed, if the lock is free."""
        with self._open() as file:
            if file.lock():
                self._pay(file, file.read())

    def _pay(self, file: _File, page: _Page) -> None:
        with self._lock:
            owed, self._owed = self._owed, Requests()
            until, pause = self._until, self._owed_pause
        for each in owed:
            page.add(each)
        if pause:
            page.until = max(until, pause(page.until))
        elif page.is_new:
            page.until = until
        is_written = file.write(page)
        with self._lock:
            if not is_written:
                for each in owed:
                    self._owed.add(each)
            elif self._owed_pause is pause:
                self._until, self._owed_pause = page.until, None

    def _open(self, flags: int = os.O_RDWR | os.O_CREAT) -> _File:
        if fcntl is None or time.monotonic() - self._failed_at < REST:
            return _NoFile()
        try:
            return _File(self._descriptor(flags))
        except FileNotFoundError:  # to be looked at, and not there yet
            return _NoFile()
        except OSError:
            self._failed_at = time.monotonic()
            return _NoFile()

    def _descriptor(self, flags: int) -> int:
        if not self._is_prepared:
            self._folder.prepare()
            self._is_prepared = True
        try:
            return _open_own(self._path, flags)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            self._folder.prepare()
            return _open_own(self._path, flags)


def _open_own(path: str, flags: int) -> int:
    """Open a file of this user's that no other name leads to, and nothing else."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() and found.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EPERM, "not a file of our own", path)


class _File:
    """The file, opened for one look or one change.

    It is opened each time: so it is always the one that is there, whoever has removed another, and there is no
    descriptor to look after, or to inherit but in the middle of it. The lock is ``flock``, which belongs to this
    opening and not to the process as that of ``lockf`` does: it keeps threads apart too, and is not lost when another
    thread closes the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_locked = False

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_locked:
            assert fcntl is not None
            # Said and not left to the closing: a child that was forked meanwhile has it open, too.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def lock(self, patience: float = 0.0) -> bool:
        """Get the lock, trying for ``patience`` seconds where another has it; tell whether it was to be had."""
        assert fcntl is not None
        end = time.monotonic() + patience
        while not self._is_locked:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._is_locked = True
            except BlockingIOError:
                if time.monotonic() >= end:
                    break
                time.sleep(0.001)
            except OSError:  # no locks on this file system
                break
        return self._is_locked

    def read(self) -> _Page:
        """Return what is in it; a blank page where that is nothing, or nothing of ours."""
        try:
            return _Page(os.pread(self._descriptor, _Page.SIZE + 1, 0))
        except OSError:
            return _Page(b"")

    def write(self, page: _Page) -> bool:
        """Write the page, and tell whether it stands."""
        try:
            if page.is_new:
                os.ftruncate(self._descriptor, _Page.SIZE)
            return os.pwrite(self._descriptor, page.content, 0) == _Page.SIZE
        except OSError:
            return False


class _NoFile(_File):
    """In place of a file that cannot be had."""

    def __init__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def lock(self, patience: float = 0.0) -> bool:
        """Get no lock."""
        return False

    def read(self) -> _Page:
        """Return a blank page."""
        return _Page(b"")


class _Page:
    """What is in the file: the pause, and counts of the last minute, each in the place of its second.

    Any bytes can be read as one: seconds long past, or in the future as after a restart of the machine, mean nothing
    to the rule, and their places are taken by the next that need them.
    """

    MARK = b"xr2pace1"
    """Another layout needs another mark, and another name for the file, so that no two versions undo each other."""

    PLACES = 64
    """More than the seconds that count at one time: ``WINDOW`` and ``AHEAD``."""

    HEAD = struct.Struct("=8sd")
    COUNT = struct.Struct("=qII")
    SIZE = HEAD.size + PLACES * COUNT.size
    MOST = 2**32 - 1
    """The most that has room in a place."""

    def __init__(self, content: bytes) -> None:
        self.is_new = len(content) != self.SIZE or not content.startswith(self.MARK)
        blank = self.HEAD.pack(self.MARK, -math.inf)
        self.content = bytearray(blank.ljust(self.SIZE, b"\0") if self.is_new else content)

    def __iter__(self) -> Iterator[Made]:
        return self.COUNT.iter_unpack(memoryview(self.content)[self.HEAD.size :])

    @property
    def until(self) -> float:
        until: float = self.HEAD.unpack_from(self.content)[1]
        return until

    @until.setter
    def until(self, until: float) -> None:
        self.HEAD.pack_into(self.content, 0, self.MARK, until)

    def add(self, made: Made) -> None:
        """Count requests, or fewer of them where a number is negative."""
        second, *more = made
        place = self.HEAD.size + second % self.PLACES * self.COUNT.size
        there, *counts = self.COUNT.unpack_from(self.content, place)
        before = counts if there == second else (0, 0)
        now = (min(max(0, each + added), self.MOST) for each, added in zip(before, more, strict=True))
        self.COUNT.pack_into(self.content, place, second, *now)
