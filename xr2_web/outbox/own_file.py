"""The file of this process: a spool file with the lease that makes it ours."""

from __future__ import annotations

import errno
import os
import socket
from typing import NamedTuple

from .file import Connect, SpoolFile
from .folder import Folder, installation
from .lease import Lease, require_locks
from .paths import set_aside


class Origin(NamedTuple):
    """Whose events these are: the server, and a hash of the key."""

    base_url: str
    installation: str

    @classmethod
    def of(cls, base_url: str, api_key: str | None) -> Origin:
        """Return the origin of the events of a server and a key."""
        return cls(base_url, installation(base_url, api_key))


class OwnFile(SpoolFile):
    """An open file that nobody else writes, until it is closed or this process ends."""

    lease: Lease

    @classmethod
    def make(cls, folder: Folder, origin: Origin, *, synchronous: str, connect: Connect, now: float) -> OwnFile:
        """Make a file that says whose events are in it. Raises ``OSError`` or ``sqlite3.Error``, and leaves nothing."""
        require_locks()
        folder.prepare()
        path = folder.new_file(origin.installation)
        lease = Lease.take(path)
        if lease is None:
            raise OSError(errno.EEXIST, "the file is taken", str(path))
        try:
            file = cls.create(path, synchronous=synchronous, connect=connect)
        except BaseException:
            lease.release(remove=True)
            raise
        file.lease = lease
        try:
            file.set_facts(**origin._asdict(), pid=os.getpid(), host=socket.gethostname(), made_at=now)
        except BaseException:
            file.close(keep=False)
            raise
        return file

    def close(self, *, keep: bool = True) -> None:
        """Leave the file to whoever lives, or remove it."""
        try:
            super().close(keep=keep)
        finally:
            self.lease.release(remove=not keep)

    def give_up(self) -> None:
        """Close a file that is damaged, and set it aside, or that was removed."""
        is_removed = self.is_removed()
        try:
            super().close()
            if not is_removed:
                set_aside(self.path)
        finally:
            self.lease.release(remove=True)


def copied(old: SpoolFile, new: SpoolFile, gone: set[int]) -> tuple[int, int]:
    """Copy what can be read of a damaged or removed file; return how many events, numbered anew, and dead letters."""
    events = dead = 0
    with new.at_once():
        for row in old.salvage():
            if row.number not in gone:
                events += new.insert(events + 1, row.entry, row.attempts)
        for letter in old.salvage_dead():
            dead += new.bury(letter)
    return events, dead
