from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session, sessionmaker

from xr2_web.sqlalchemy import follow_transactions

from .orders import database


@pytest.fixture
def maker() -> Iterator[sessionmaker[Session]]:
    """Make sessions whose transactions are followed."""
    engine = database()
    made = sessionmaker(engine)
    follow_transactions(made)
    yield made
    engine.dispose()
