"""What a runtime has in one process and cannot take along through a fork: connections, outbox, courier, pauses."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import pacing, wire
from .client import adrive, drive
from .courier import Courier
from .delivery import Delivery
from .engines import engine_for, spool_path
from .flow import Conversation, Patience, guarded
from .forks import holding_off_forks
from .loops import is_on_a_loop
from .machine import Machine
from .once import once
from .outbox import Outbox
from .pacing import Chance
from .settings import Settings

if TYPE_CHECKING:
    from .transport import Address, AsyncTransport, SyncTransport

T = TypeVar("T")

PROMPT_CONNECTIONS = 100


class Left(NamedTuple):
    """How many undelivered events are left at the end: kept for the next process, and lost."""

    kept: int
    lost: int


class Process:
    """The working parts of a runtime in the process that made it. Threads may share it."""

    def __init__(self, chosen: Settings, *, count: Callable[[str], None], chance: Chance) -> None:
        self.pid = os.getpid()
        self._settings = chosen
        self._chance = chance
        self._pause, self._budget = _pacing(chosen)
        self._breaker = pacing.Breaker()
        deadline = chosen.prompt_deadline
        self._patience = Patience(timeout=deadline, deadline=deadline, retries=1, backoff_factor=0.2)
        engine = engine_for(chosen)
        self.outbox = engine.new_outbox(chosen)
        self._count = count
        new_work = Delivery if engine.new_work is None else partial(engine.new_work, chosen)
        work = self.delivery_from(self.outbox, new_work)
        self.courier = Courier(self.outbox, work, concurrency=chosen.concurrency, chance=chance)

    def delivery_from(self, outbox: Outbox, new_work: Callable[..., Any] = Delivery) -> Any:
        """Return what delivers from an outbox over connections of this process, by its pauses and its budget."""
        return new_work(
            outbox,
            partial(self._new_transport, self._settings.concurrency),
            pause=self._pause,
            budget=self._budget,
            count=self._count,
            chance=self._chance,
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

    def close(self, timeout: float) -> Left:
        """Deliver what can be delivered in ``timeout`` seconds, and say what is left."""
        with ExitStack() as closing:
            if transport := self.__dict__.get("_transport"):
                closing.callback(transport.close)
            closing.callback(self.outbox.close)
            undelivered = self.courier.stop(timeout)
        lost = self.outbox.at_risk().pending
        return Left(max(0, undelivered - lost), lost)

    def _conversation(self, request: wire.Request[T]) -> Conversation[T]:
        # While sending is paused nothing goes out, and nothing is used up.
        if not self._pause.left(now := self._chance.monotonic()):
            self._budget.debit_prompt(now)
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


def _pacing(chosen: Settings) -> tuple[pacing.Pause, pacing.Budget]:
    """Return what paces the requests: shared by the processes of the machine, where there is a folder to share."""
    if chosen.outbox == "memory" or callable(chosen.outbox):
        return pacing.Pause(), pacing.Budget(chosen.rate_limit)
    machine = Machine(spool_path(chosen), chosen.base_url)
    return machine.pause(), machine.budget(chosen.rate_limit)
