"""A shop whose orders are written through SQLAlchemy, in the colour of its driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

Body = Callable[[Session], Any]


class Shop:
    """Transactions over an engine; those of a driver for asyncio run on an event loop."""

    def __init__(self, engine: Engine) -> None:
        self._loop = asyncio.new_event_loop() if engine.dialect.is_async else None
        self.engine: Any = engine if self._loop is None else AsyncEngine(engine)
        self.sessions: Any = sessionmaker(engine) if self._loop is None else async_sessionmaker(self.engine)

    @property
    def is_async(self) -> bool:
        """Whether its transactions run on an event loop."""
        return self._loop is not None

    def transact(self, body: Body) -> Any:
        """Do something in a transaction, which is committed unless it raises."""
        if self._loop is None:
            with self.sessions.begin() as session:
                return body(session)
        return self._loop.run_until_complete(self._atransact(body))

    async def _atransact(self, body: Body) -> Any:
        session: AsyncSession
        async with self.sessions.begin() as session:
            return await session.run_sync(body)

    def close(self) -> None:
        """Close its connections."""
        if self._loop is None:
            self.engine.dispose()
        else:
            self._loop.run_until_complete(self.engine.dispose())
            self._loop.close()
