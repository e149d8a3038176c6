"""Accounts and orders in one SQLite file, which every worker process opens. Its methods block: use a thread."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from .catalogue import Product

SCHEMA = """
CREATE TABLE IF NOT EXISTS user (
  id INTEGER PRIMARY KEY,
  username TEXT NOT NULL UNIQUE,
  salt BLOB NOT NULL,
  password BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS purchase (
  id INTEGER PRIMARY KEY,
  user_id INTEGER REFERENCES user (id),
  product TEXT NOT NULL,
  total TEXT NOT NULL,
  placed_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
"""


@dataclass(frozen=True, slots=True)
class Order:
    product: Product
    total: Decimal


class Store:
    def __init__(self, path: str) -> None:
        self._path = path

    def create_tables(self) -> None:
        with self._transaction() as db:
            db.executescript(SCHEMA)

    def add_user(self, username: str, password: str) -> int | None:
        """Add the account and return its id, or None when the name is taken."""
        salt = secrets.token_bytes(16)
        query = "INSERT INTO user (username, salt, password) VALUES (?, ?, ?)"
        try:
            with self._transaction() as db:
                return db.execute(query, (username, salt, hashed(password, salt))).lastrowid
        except sqlite3.IntegrityError:
            return None

    def find_user(self, username: str, password: str) -> int | None:
        """Return the account's id when name and password are right."""
        with self._transaction() as db:
            query = "SELECT id, salt, password FROM user WHERE username = ?"
            found = db.execute(query, (username,)).fetchone()
        if found is None:
            return None
        user_id, salt, expected = found
        return user_id if hmac.compare_digest(hashed(password, salt), expected) else None

    def add_order(self, product: Product, user_id: int | None) -> Order:
        """Sell one piece of the product; a guest's order belongs to nobody."""
        with self._transaction() as db:
            query = "INSERT INTO purchase (user_id, product, total) VALUES (?, ?, ?)"
            db.execute(query, (user_id, product.slug, str(product.price)))
        return Order(product, product.price)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=20)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


def hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
