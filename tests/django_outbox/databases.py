"""The databases under test: SQLite in a file, PostgreSQL and MariaDB where they are reached."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ORDERS = "CREATE TABLE shop_order (id INTEGER PRIMARY KEY)"

SERVERS = {
    "postgresql": ("XR2_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432", "postgres"),
    "mariadb": ("XR2_TEST_MARIADB", "mysql://root@127.0.0.1:3306", ""),
}
"""The variable that overrides an address, the usual address, and the database from which others are made."""

KINDS = ("sqlite", *SERVERS)


class Database:
    """A database of one test run, as Django's settings name it; ``reason`` says why it cannot be had."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.alias = f"outbox_{kind}"
        self.name = f"xr2_web_outbox_{os.getpid()}"
        self.reason = ""
        if kind == "sqlite":
            self.name = str(Path(tempfile.gettempdir()) / f"{self.name}.sqlite3")

    @property
    def settings(self) -> dict[str, Any]:
        """What DATABASES says about it."""
        if self.kind == "sqlite":
            options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA synchronous=OFF"}
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": self.name, "OPTIONS": options}
        variable, usual, _ = SERVERS[self.kind]
        address = urlsplit(os.environ.get(variable, usual))
        return {
            "ENGINE": f"django.db.backends.{'mysql' if self.kind == 'mariadb' else self.kind}",
            "NAME": self.name,
            "HOST": address.hostname,
            "PORT": str(address.port or ""),
            "USER": address.username or "",
            "PASSWORD": address.password or "",
            "OPTIONS": {"options": "-c synchronous_commit=off"} if self.kind == "postgresql" else {},
        }

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
            forced = " WITH (FORCE)" if self.kind == "postgresql" else ""
            with suppress(Exception):
                self._administer(f"DROP DATABASE {self.name}{forced}")

    def _administer(self, statement: str) -> None:
        address = self.settings
        if self.kind == "postgresql":
            import psycopg

            to = {"host": address["HOST"], "port": address["PORT"], "user": address["USER"]}
            with psycopg.connect(
                **to, password=address["PASSWORD"], dbname=SERVERS[self.kind][2], autocommit=True, connect_timeout=3
            ) as connection:
                connection.execute(statement)
        else:
            import pymysql

            with pymysql.connect(
                host=address["HOST"], port=int(address["PORT"]), user=address["USER"], password=address["PASSWORD"]
            ) as connection:
                connection.cursor().execute(statement)


def use_pymysql() -> None:
    """Have Django's MySQL backend work with PyMySQL, where that is installed: it needs no compiler."""
    with suppress(ImportError):
        import pymysql

        pymysql.install_as_MySQLdb()
