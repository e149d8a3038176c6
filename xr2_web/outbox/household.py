"""What a process does for the folder that it shares: it weighs it, and adopts what the dead have left."""

from __future__ import annotations

from collections.abc import Callable

from ..forks import new_uncut_lock
from .adoption import Adoption, Heir
from .file import Connect
from .folder import Folder

WEIGHED_EVERY = 5.0
ADOPTED_EVERY = 30.0
ADOPTED_AGAIN = 1.0
"""Seconds after which adoption goes on, where some of it had to wait."""

ADOPTION_SLICE = 0.2
"""Seconds for which the courier adopts before it looks at its other work."""


class Household:
    """One for each spool. ``is_full`` says whether the folder takes up more than ``most_bytes``."""

    def __init__(
        self,
        folder: Folder,
        installation: str,
        heir: Heir,
        *,
        most_bytes: int,
        clock: Callable[[], float],
        connect: Connect,
    ) -> None:
        self.is_full = False
        self._folder = folder
        self._most_bytes = most_bytes
        self._clock = clock
        self._own = Adoption(folder, installation, heir, clock=clock, connect=connect)
        self._all = Adoption(folder, "", heir, clock=clock, connect=connect)
        self._adopting = new_uncut_lock()
        self._weigh_at = self._adopt_at = clock()

    def tend(self) -> float:
        """Do what is due, and return the seconds until there may be something to adopt."""
        if self._clock() >= self._weigh_at:
            self._weigh_at = self._clock() + WEIGHED_EVERY
            self.is_full = self._folder.size() > self._most_bytes
        if self._clock() >= self._adopt_at:
            is_complete = self.adopt(self._clock() + ADOPTION_SLICE, others=False)
            self._adopt_at = self._clock() + (ADOPTED_EVERY if is_complete else ADOPTED_AGAIN)
        return self._adopt_at - self._clock()

    def adopt(self, until: float, *, others: bool) -> bool:
        """Take over what dead processes left, with ``others`` also of other installations; False where some waits."""
        with self._adopting:
            return (self._all if others else self._own).run(until)
