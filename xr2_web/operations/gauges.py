"""How an installation is doing, for those who watch it: what waits on this machine, and whether it is well."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import NamedTuple

from ..outbox import Outbox
from ..runtime import Runtime, running

_OF_NO_EVENT = frozenset({"prompt_fetched", "prompt_failed", "bad_token", "bad_header"})


class Reading(NamedTuple):
    """What was seen: events that wait, dead letters, the age of the oldest in seconds, and whether all is well."""

    pending: int = 0
    dead: int = 0
    oldest: float = 0.0
    is_well: bool = True

    def plus(self, other: Reading) -> Reading:
        """Return what was seen of both."""
        oldest, is_well = max(self.oldest, other.oldest), self.is_well and other.is_well
        return Reading(self.pending + other.pending, self.dead + other.dead, oldest, is_well)


def is_of_an_event(outcome: str) -> bool:
    """Tell whether what was counted became of an event; the others are of prompts and of what visitors carry."""
    return outcome not in _OF_NO_EVENT


def read() -> Reading:
    """Look at the outboxes that this process uses, and at what other processes have in the same place."""
    total = Reading()
    for outbox in _distinct(running()):
        total = total.plus(_read(outbox))
    return total


def _distinct(runtimes: Iterable[Runtime]) -> Iterable[Outbox]:
    """Return an outbox for each place: two runtimes with the same settings look at the same files."""
    found: dict[object, Outbox] = {}
    for runtime in runtimes:
        chosen, outbox = runtime.settings, runtime.outbox
        if outbox is not None:
            key = (chosen.base_url, chosen.api_key, chosen.outbox_path) if outbox.stores(others=False) else id(outbox)
            found.setdefault(key, outbox)
    return found.values()


def _read(outbox: Outbox) -> Reading:
    try:
        surveys = [store.survey() for store in outbox.stores(others=False)]
    except (OSError, sqlite3.Error):
        surveys = []
    places = [place for survey in surveys for place in survey.places if place.is_ours]
    if not surveys:
        return Reading(*outbox.counts(), _age(outbox.oldest()), outbox.is_well)
    here = outbox.counts()
    # What this process keeps in memory, since its disk fails, nobody else sees.
    pending = max(here.pending, sum(each.pending for each in places))
    dead = max(here.dead, sum(each.dead for each in places))
    oldest = max((_age(each.oldest) for each in places), default=0.0)
    return Reading(pending, dead, oldest, outbox.is_well)


def _age(made_at: float | None) -> float:
    return 0.0 if made_at is None else max(0.0, time.time() - made_at)
