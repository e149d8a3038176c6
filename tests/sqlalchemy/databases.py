"""The databases under test: SQLite in a file, PostgreSQL and MariaDB where they are reached, each over its drivers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, make_url, text

SERVERS = {
    "postgresql": ("XR2_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432"),
    "mariadb": ("XR2_TEST_MARIADB", "mysql://root@127.0.0.1:3306"),
}
"""The variable that overrides an address, and the usual address."""

ADMINISTERED = {"postgresql": ("psycopg", "postgres"), "mariadb": ("pymysql", None)}
"""The driver and the database from which others are made."""

KINDS = ("sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql")


class Database:
    """A database of one test run; ``reason`` says why it cannot be had."""

    def __init__(self, kind: str) -> None:
        self.kind, _, self.driver = kind.partition("+")
        self.name = f"xr2_web_sqlalchemy_{os.getpid()}"
        self.reason = ""
        if self.kind == "sqlite":
            self.name = str(Path(tempfile.gettempdir()) / f"{self.name}.sqlite3")

    @property
    def url(self) -> URL:
        """Where it is, with its driver."""
        return self._address(self.driver, self.name)

    @property
    def plain_url(self) -> URL:
        """Where it is, with a driver that is not for asyncio."""
        return self._address("pysqlite" if self.kind == "sqlite" else ADMINISTERED[self.kind][0], self.name)

    def create(self) -> None:
        """Make it, or note the reason."""
        if self.kind == "sqlite":
            return
        try:
            self._administer(f"CREATE DATABASE {self.name}")
        except Exception as exc:  # noqa: BLE001 - whatever a driver raises, or that it is not installed
            self.reason = f"no {self.kind}: {exc}"

    def drop(self) -> None:
        """Remove it."""
        if self.kind == "sqlite":
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(self.name + suffix).unlink(missing_ok=True)
        elif not self.reason:
            self._administer(f"DROP DATABASE {self.name}{' WITH (FORCE)' if self.kind == 'postgresql' else ''}")

    def _address(self, driver: str, name: str | None) -> URL:
        if self.kind == "sqlite":
            return URL.create(f"sqlite+{driver}", database=name)
        variable, usual = SERVERS[self.kind]
        address = make_url(os.environ.get(variable, usual))
        return address.set(drivername=f"{self.kind}+{driver}", database=name)

    def _administer(self, statement: str) -> None:
        driver, name = ADMINISTERED[self.kind]
        patience: Any = {"connect_timeout": 3}
        engine = create_engine(
            self._address(driver, name), isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=patience
        )
        with engine.connect() as connection:
            connection.execute(text(statement))


def plain_engine(database: Database) -> Engine:
    """Return an engine over which tests look at what is there."""
    return create_engine(database.plain_url, poolclass=NullPool)
