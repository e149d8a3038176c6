"""One SQLite connection for each request that asks for it. Every worker process opens the same file."""

from __future__ import annotations

import sqlite3

from flask import Flask, current_app, g


def connection() -> sqlite3.Connection:
    if "connection" not in g:
        g.connection = sqlite3.connect(current_app.config["DATABASE"], timeout=20)
        g.connection.row_factory = sqlite3.Row
    return g.connection


def init_app(app: Flask) -> None:
    """Create the tables that are missing and close connections after each request."""
    app.teardown_appcontext(close)
    with app.app_context(), app.open_resource("schema.sql", "r") as schema:
        connection().executescript(schema.read())


def close(exc: BaseException | None = None) -> None:
    if opened := g.pop("connection", None):
        opened.close()
