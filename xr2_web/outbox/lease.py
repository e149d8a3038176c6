"""Who owns a spool file: a lock of the kernel, which ends with its process; no clock and no heartbeat is needed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from ..forks import ForkLock

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SUFFIX = ".lock"
MARK = ".held"
PID_BYTES = 20

Lock: TypeAlias = Callable[[int, int], object]

_held: set[tuple[int, Path]] = set()
"""The kernel's lock is the process's, which can take it twice; and would lose it by closing any descriptor of it."""

_taking = ForkLock()
"""Held while a lease is taken or asked about, so that no two threads have the file open at once."""


class Lease:
    """The lock of one file, held by this process until it releases it or ends, however it ends.

    A POSIX lock, and no ``flock``: it is not inherited by a forked child, which may outlive its parent for days. But
    other interpreters of this process, as ``mod_wsgi`` makes them, neither know of it nor are kept out by it: for them
    there is a ``flock`` on a mark beside it, which is named after the process, and is nothing to any other.
    """

    def __init__(self, path: Path, descriptor: int, mark: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._mark = mark
        self._holder = (os.getpid(), path)

    @classmethod
    def take(cls, file: Path) -> Lease | None:
        """Take the lease of a file; None where it is taken. Raises ``OSError`` where there are no locks."""
        with _taking:
            return cls._take(_path(file))

    @classmethod
    def _take(cls, path: Path) -> Lease | None:
        require_locks()
        assert fcntl is not None
        if (os.getpid(), path) in _held:
            return None
        # Before the lock is opened: closing it again would take it from another interpreter.
        mark = _locked(_mark(path), _flock)
        if mark is None:
            return None
        descriptor = None
        try:
            descriptor = _locked(path, fcntl.lockf)
        finally:
            if descriptor is None:
                _remove_mark(path, mark)
        if descriptor is None:
            return None
        _succeed(path, descriptor)
        lease = cls(path, descriptor, mark)
        _held.add(lease._holder)
        return lease

    def release(self, *, remove: bool = False) -> None:
        """Give the file up; ``remove`` where the file is gone too."""
        with _taking:
            if self._holder not in _held or self._holder[0] != os.getpid():
                return
            try:
                if remove:
                    self._path.unlink(missing_ok=True)
            finally:
                _held.discard(self._holder)
                os.close(self._descriptor)
                _remove_mark(self._path, self._mark)


def is_leased(file: Path) -> bool:
    """Tell whether the lease of a file is taken, by whomever, without making or changing anything."""
    path = _path(file)
    with _taking:
        if (os.getpid(), path) in _held:
            return True
        if fcntl is None:
            return False
        return _is_locked(_mark(path), _flock) or _is_locked(path, fcntl.lockf)


def is_inherited(file: Path) -> bool:
    """Tell whether this process is a fork of one that had the lease of a file, and with it the file open."""
    path = _path(file)
    with _taking:
        return any(held == path and pid != os.getpid() for pid, held in _held)


def _locked(path: Path, lock: Lock) -> int | None:
    """Return the descriptor of a file that is locked by it; None where somebody else has locked it."""
    assert fcntl is not None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    is_ours = False
    try:
        lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it may have removed it meanwhile.
        is_ours = _is_the_same(descriptor, path)
    except OSError as exc:
        if not _is_taken(exc):
            raise
    finally:
        if not is_ours:
            os.close(descriptor)
    return descriptor if is_ours else None


def _is_locked(path: Path, lock: Lock) -> bool:
    assert fcntl is not None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        lock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as exc:
        if not _is_taken(exc):
            raise
        return True
    finally:
        os.close(descriptor)
    return False


def _flock(descriptor: int, operation: int) -> None:
    """Lock a mark; on a file system without such locks nobody has it."""
    assert fcntl is not None
    try:
        fcntl.flock(descriptor, operation)
    except OSError as exc:
        if _is_taken(exc):
            raise


def _is_taken(exc: OSError) -> bool:
    return exc.errno in (errno.EACCES, errno.EAGAIN)


def _remove_mark(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # the folder may be gone; a mark that stays does no harm
        _mark(path).unlink()
    os.close(descriptor)


def _path(file: Path) -> Path:
    # By its one true name: whoever comes by a link must find the same lease in ``_held``.
    return Path(os.path.realpath(file.parent), file.with_suffix(SUFFIX).name)


def _mark(path: Path, pid: int | None = None) -> Path:
    # A forked child has the ``flock`` too, and keeps it for longer than its parent lives: it holds the parent's mark.
    return path.with_suffix(f".{pid or os.getpid()}{MARK}")


def _succeed(path: Path, descriptor: int) -> None:
    """Write down whose the lock is, and remove the mark of a process that had it and is no more."""
    with suppress(OSError, ValueError):
        former = int(os.pread(descriptor, PID_BYTES, 0))
        if former != os.getpid():
            _mark(path, former).unlink()
    with suppress(OSError):  # on a full disk the mark stays for longer, and does no harm
        os.pwrite(descriptor, str(os.getpid()).encode().ljust(PID_BYTES), 0)


def require_locks() -> None:
    """Raise ``OSError`` where the system has no locks of this kind."""
    if fcntl is None:
        raise OSError(errno.ENOSYS, "this system has no POSIX locks")


def _is_the_same(descriptor: int, path: Path) -> bool:
    try:
        there, here = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(here.st_mode) and os.path.samestat(there, here)
