"""The databases under test, each over its drivers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, make_url, text

from ..table.database import PATIENCE, TemporaryDatabase, address_of

ADMINISTERED = {"postgresql": ("psycopg", "postgres"), "mariadb": ("pymysql", None)}
"""The driver and the database from which others are made."""

KINDS = ("sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql")


class Database(TemporaryDatabase):
    """A database with the driver over which it is used."""

    def __init__(self, kind: str) -> None:
        name, _, self.driver = kind.partition("+")
        super().__init__(name, "sqlalchemy")

    @property
    def url(self) -> URL:
        """Where it is, with its driver."""
        return self._address(self.driver, self.name)

    @property
    def plain_url(self) -> URL:
        """Where it is, with a driver that is not for asyncio."""
        return self._address("pysqlite" if self.kind == "sqlite" else ADMINISTERED[self.kind][0], self.name)

    def administer(self, statement: str) -> None:
        """Have the server carry out a statement that is about databases."""
        driver, name = ADMINISTERED[self.kind]
        patience: Any = {"connect_timeout": PATIENCE}
        engine = create_engine(
            self._address(driver, name), isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=patience
        )
        with engine.connect() as connection:
            connection.execute(text(statement))

    def _address(self, driver: str, name: str | None) -> URL:
        if self.kind == "sqlite":
            return URL.create(f"sqlite+{driver}", database=name)
        return make_url(address_of(self.kind)).set(drivername=f"{self.kind}+{driver}", database=name)


def plain_engine(database: Database) -> Engine:
    """Return an engine over which tests look at what is there."""
    return create_engine(database.plain_url, poolclass=NullPool)
