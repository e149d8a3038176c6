"""What a runtime has in one process and cannot take along through a fork: connections, outbox, courier, pauses."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from . import pacing, wire
from .client import adrive, drive
from .courier import Courier
from .flow import Conversation, Patience, guarded
from .forks import holding_off_forks
from .loops import is_on_a_loop
from .once import once
from .outbox import Outbox
from .outbox.memory import MemoryOutbox
from .pacing import Chance
from .settings import Settings

if TYPE_CHECKING:
    from .transport import Address, AsyncTransport, SyncTransport

T = TypeVar("T")

PROMPT_CONNECTIONS = 100


class Process:
    """The working parts of a runtime in the process that made it. Threads may share it."""

    def __init__(self, chosen: Settings, *, count: Callable[[str], None], chance: Chance) -> None:
        self.pid = os.getpid()
        self._settings = chosen
        self._chance = chance
        self._pause = pacing.Pause()
        self._breaker = pacing.Breaker()
        self._budget = pacing.Budget(chosen.rate_limit)
        deadline = chosen.prompt_deadline
        self._patience = Patience(timeout=deadline, deadline=deadline, retries=1, backoff_factor=0.2)
        self.outbox = _new_outbox(chosen)
        self.courier = Courier(
            self.outbox,
            partial(self._new_transport, chosen.concurrency),
            concurrency=chosen.concurrency,
            pause=self._pause,
            budget=self._budget,
            count=count,
            chance=chance,
        )

    def fetch(self, request: wire.Request[T]) -> wire.Judgement[T]:
        """Hold a conversation within the prompt deadline."""
        return drive(self._conversation(request), self._transport)

    async def afetch(self, request: wire.Request[T]) -> wire.Judgement[T]:
        """Hold a conversation within the prompt deadline, on the running loop; off asyncio, in a thread."""
        if is_on_a_loop():
            return await adrive(self._conversation(request), self._async_transport)
        # Trio: Starlette and hypercorn run on it too. The HTTP library brings anyio.
        from anyio import to_thread

        return await to_thread.run_sync(self.fetch, request)

    def hand_over(self, heir: Process) -> None:
        """Leave what waits here to the parts of a forked child, whose parent sends nothing."""
        while claim := self.outbox.claim():
            heir.outbox.put(claim.entry)
            heir.courier.wake()

    def close(self, timeout: float) -> int:
        """Deliver what can be delivered in ``timeout`` seconds; return how many events are left."""
        left = self.courier.stop(timeout)
        self.outbox.close()
        if transport := self.__dict__.get("_transport"):
            transport.close()
        return left

    def _conversation(self, request: wire.Request[T]) -> Conversation[T]:
        self._budget.debit_prompt(self._chance.monotonic())
        return guarded(request, self._patience, self._chance, self._breaker, self._pause)

    @once
    def _transport(self) -> SyncTransport:
        return self._new_transport(PROMPT_CONNECTIONS)

    @once
    def _async_transport(self) -> AsyncTransport:
        from .transport import AsyncTransport

        return AsyncTransport(self._address)

    def _new_transport(self, connections: int) -> SyncTransport:
        # The courier's thread comes here first, while the application may be about to fork its workers.
        with holding_off_forks:
            import email.utils  # noqa: F401
            import random  # noqa: F401

            from .transport import SyncTransport

        return SyncTransport(self._address, connections=connections)

    @once
    def _address(self) -> Address:
        from .transport import Address

        return Address(self._settings.base_url, self._settings.api_key or "")


def _new_outbox(chosen: Settings) -> Outbox:
    if callable(chosen.outbox):
        outbox: Outbox = chosen.outbox(chosen)
        return outbox
    return MemoryOutbox(chosen.outbox_max_events)
