"""Who owns a spool file: a lock of the kernel, which ends with its process; no clock and no heartbeat is needed."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import ModuleType

from ..forks import ForkLock

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SUFFIX = ".lock"

_held: set[tuple[int, Path]] = set()
"""The kernel's lock is the process's, which can take it twice; and would lose it by closing any descriptor of it."""

_taking = ForkLock()
"""Held while a lease is taken or asked about, so that no two threads have the file open at once."""


class Lease:
    """The lock of one file, held by this process until it releases it or ends, however it ends.

    A POSIX lock, and no ``flock``: it is not inherited by a forked child, which may outlive its parent for days.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._holder = (os.getpid(), path)

    @classmethod
    def take(cls, file: Path) -> Lease | None:
        """Take the lease of a file; None where a living process has it. Raises ``OSError`` where there are no locks."""
        with _taking:
            return cls._take(_path(file))

    @classmethod
    def _take(cls, path: Path) -> Lease | None:
        require_locks()
        assert fcntl is not None
        if (os.getpid(), path) in _held:
            return None
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = _is_the_same(descriptor, path)
        except OSError as exc:
            os.close(descriptor)
            if exc.errno in (errno.EACCES, errno.EAGAIN):
                return None
            raise
        if not is_ours:  # who had it has removed it meanwhile, and the file with it
            os.close(descriptor)
            return None
        lease = cls(path, descriptor)
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


def is_leased(file: Path) -> bool:
    """Tell whether a living process has the lease of a file, without making or changing anything."""
    path = _path(file)
    with _taking:
        if (os.getpid(), path) in _held:
            return True
        if fcntl is None:
            return False
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return True
        finally:
            os.close(descriptor)
    return False


def _path(file: Path) -> Path:
    # By its one true name: whoever comes by a link must find the same lease in ``_held``.
    return Path(os.path.realpath(file.parent), file.with_suffix(SUFFIX).name)


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
