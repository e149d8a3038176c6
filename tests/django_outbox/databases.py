"""The databases under test, as Django's settings name them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from ..table.database import PATIENCE, TemporaryDatabase, address_of

ORDERS = "CREATE TABLE shop_order (id INTEGER PRIMARY KEY)"

KINDS = ("sqlite", "postgresql", "mariadb")


class Database(TemporaryDatabase):
    """A database under an alias of its own."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, "outbox")
        self.alias = f"outbox_{kind}"

    @property
    def settings(self) -> dict[str, Any]:
        """What DATABASES says about it."""
        if self.kind == "sqlite":
            options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA synchronous=OFF"}
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": self.name, "OPTIONS": options}
        address = urlsplit(address_of(self.kind))
        return {
            "ENGINE": f"django.db.backends.{'mysql' if self.kind == 'mariadb' else self.kind}",
            "NAME": self.name,
            "HOST": address.hostname,
            "PORT": str(address.port or ""),
            "USER": address.username or "",
            "PASSWORD": address.password or "",
            "OPTIONS": {"options": "-c synchronous_commit=off"} if self.kind == "postgresql" else {},
        }

    def administer(self, statement: str) -> None:
        """Have the server carry out a statement that is about databases."""
        address = self.settings
        to: dict[str, Any] = {each.lower(): address[each] for each in ("HOST", "USER", "PASSWORD")}
        to |= {"port": int(address["PORT"]), "connect_timeout": PATIENCE}
        if self.kind == "postgresql":
            import psycopg

            with psycopg.connect(**to, dbname="postgres", autocommit=True) as connection:
                connection.execute(statement)
        else:
            import pymysql

            with pymysql.connect(**to) as connection:
                connection.cursor().execute(statement)


def use_pymysql() -> None:
    """Have Django's MySQL backend work with PyMySQL, where that is installed: it needs no compiler."""
    with suppress(ImportError):
        import pymysql

        pymysql.install_as_MySQLdb()
