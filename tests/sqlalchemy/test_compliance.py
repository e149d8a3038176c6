"""The compliance suite of all outboxes, over a table of each kind of database."""

from __future__ import annotations

import pytest

from ..table.compliance import *  # noqa: F403

pytestmark = pytest.mark.parametrize(
    "place", ["sqlite+pysqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql"], indirect=True
)
