"""What the names of OUTBOX stand for: where events wait, and how they leave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from .outbox import Outbox
from .outbox.backed import Backed
from .outbox.folder import Folder, default_path
from .outbox.memory import MemoryOutbox
from .outbox.own_file import Origin
from .outbox.spool import MOST_BYTES, Spool
from .settings import Settings

logger = logging.getLogger("xr2_web")

EVENT_BYTES = 1024
"""What an event takes up on disk, generously: where OUTBOX_MAX_EVENTS is raised there is to be room for them."""

MOST_IN_MEMORY = 10_000
"""Events that are kept while the disk fails."""

NewOutbox: TypeAlias = Callable[[Settings], Outbox]


class Engine(NamedTuple):
    """What keeps the events of a process, and what empties it where that is not the usual delivery to xR2.

    ``new_work`` is called with the settings and what ``delivery.Delivery`` is called with.
    """

    new_outbox: NewOutbox
    new_work: Callable[..., Any] | None = None


def offer_engine(name: str, engine: Engine) -> None:
    """Say what a name of OUTBOX stands for, from now on."""
    _offered[name] = engine


def engine_for(chosen: Settings) -> Engine:
    """Return what OUTBOX asks for; where the name stands for nothing yet, the spool, which is told as an error."""
    if callable(chosen.outbox):
        return Engine(chosen.outbox)
    if missing := what_is_missing(chosen):
        logger.error("xr2_web.outbox_missing: %s", missing)
        return _offered["spool"]
    return _offered[chosen.outbox]


def what_is_missing(chosen: Settings) -> str | None:
    """Say why OUTBOX stands for nothing yet; None where it does for something."""
    if callable(chosen.outbox) or chosen.outbox in _offered:
        return None
    return f"OUTBOX is {chosen.outbox!r}, but {_MISSING[chosen.outbox]}"


def spool_path(chosen: Settings) -> Path:
    """Return the folder that the processes of this machine share."""
    return default_path() if chosen.outbox_path is None else chosen.outbox_path


def new_memory(chosen: Settings) -> Outbox:
    """Return an outbox that lives as long as the process."""
    return MemoryOutbox(chosen.outbox_max_events)


def new_spool(chosen: Settings) -> Outbox:
    """Return the outbox on disk, with memory for the time in which the disk fails."""
    folder = Folder(spool_path(chosen))
    spool = Spool(
        folder,
        Origin.of(chosen.base_url, chosen.api_key),
        most_events=chosen.outbox_max_events,
        most_bytes=max(MOST_BYTES, EVENT_BYTES * chosen.outbox_max_events),
        synchronous=chosen.outbox_synchronous,
    )
    spare = MemoryOutbox(min(chosen.outbox_max_events, MOST_IN_MEMORY))
    return Backed(spool, spare, what=f"the spool in {folder.path}", instead="events wait in memory meanwhile")


_offered = {"memory": Engine(new_memory), "spool": Engine(new_spool)}

_MISSING = {
    "database": "neither is xr2_web.django in INSTALLED_APPS nor was xr2_web.sqlalchemy.keep_events called",
    "celery": "xr2_web.celery.install() was not called",
}
