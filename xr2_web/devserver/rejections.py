"""Requests that came to nothing before a visit had them: a prompt that is not served, a key that is refused.

No I/O happens here; nothing outlives the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .refusal import Refusal

KEPT = 20
LONGEST = 100
"""Characters of a slug and of a source that are kept."""

SHOWN_FOR = 600
"""Seconds after its last time in which a rejection is shown: by then it is mended, or has come again."""


class Rejected(NamedTuple):
    """What was asked of which endpoint, and how it was refused; ``slug`` and ``source_name`` where they are known."""

    endpoint: str
    status_code: int
    reason: str
    slug: str = ""
    source_name: str = ""


class Rejection(NamedTuple):
    """What was rejected, how often, and when last (epoch seconds)."""

    rejected: Rejected
    times: int
    last_at: float


class Rejections:
    """The latest rejections, each kind once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._found: dict[Rejected, Rejection] = {}
        self.revision = 0
        """A number that no other state has."""

    def note(self, endpoint: str, refusal: Refusal, *, slug: object = None, source_name: object = None) -> None:
        """Note a refusal; ``slug`` and ``source_name`` as they were sent, whatever they are."""
        named = (each[:LONGEST] if isinstance(each, str) else "" for each in (slug, source_name))
        rejected = Rejected(endpoint, refusal.status_code, refusal.message, *named)
        before = self._found.pop(rejected, None)
        self._found[rejected] = Rejection(rejected, before.times + 1 if before else 1, self._clock())
        if len(self._found) > KEPT:
            del self._found[next(iter(self._found))]
        self.revision += 1

    def is_served(self, slug: str) -> None:
        """Know that a prompt is served by now."""
        for each in [each for each in self._found if each.slug == slug]:
            del self._found[each]
            self.revision += 1

    def clear(self) -> None:
        """Forget all."""
        self._found.clear()
        self.revision += 1

    def latest(self) -> list[Rejection]:
        """Return those that are to be shown, the latest first."""
        now = self._clock()
        return [each for each in reversed(list(self._found.values())) if abs(now - each.last_at) < SHOWN_FOR]
