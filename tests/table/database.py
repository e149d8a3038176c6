"""A database of one test run: a file of SQLite, or one of PostgreSQL or MariaDB where they are reached."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

_SERVERS = {
    "postgresql": ("XR2_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432"),
    "mariadb": ("XR2_TEST_MARIADB", "mysql://root@127.0.0.1:3306"),
}
"""The variable that overrides an address, and the usual address."""

PATIENCE = 3
"""Seconds that a server may take to let somebody in."""


def address_of(kind: str) -> str:
    """Return where the server of a kind is."""
    return os.environ.get(*_SERVERS[kind])


class TemporaryDatabase(ABC):
    """A database that is made and removed; ``reason`` says why it cannot be had."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = f"xr2_web_{name}_{os.getpid()}"
        self.reason = ""
        if kind == "sqlite":
            self.name = str(Path(tempfile.gettempdir()) / f"{self.name}.sqlite3")

    def create(self) -> None:
        """Make it, or note the reason."""
        if self.kind == "sqlite":
            return
        try:
            self.administer(f"CREATE DATABASE {self.name}")
        except Exception as exc:  # noqa: BLE001 - whatever a driver raises, or that it is not installed
            self.reason = f"no {self.kind}: {exc}"

    def drop(self) -> None:
        """Remove it."""
        if self.kind == "sqlite":
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(self.name + suffix).unlink(missing_ok=True)
        elif not self.reason:
            self.administer(f"DROP DATABASE {self.name}{' WITH (FORCE)' if self.kind == 'postgresql' else ''}")

    @abstractmethod
    def administer(self, statement: str) -> None:
        """Have the server carry out a statement that is about databases."""
