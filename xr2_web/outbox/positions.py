"""Which events of a spool file are due, under way, put off or gone: known in memory alone, and in no lock."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection

from .file import SpoolFile
from .rows import Row

WINDOW = 100
"""Events that are read at a time, and arrivals that are noted at a time."""


class Positions:
    """The place of each event of one file, by its number. ``last`` is the highest that is in the file."""

    def __init__(self, clock: Callable[[], float], *, last: int = 0) -> None:
        self.gone: list[int] = []
        """What has left and is still in the file."""
        self._clock = clock
        self._last = last
        self._read_to = 0
        self._window: deque[Row] = deque()
        self._under_way: set[int] = set()
        self._later: list[tuple[float, int]] = []

    def new_number(self) -> int:
        """Return the number for an event that comes in."""
        self._last = number = self._last + 1
        return number

    def came(self, row: Row) -> None:
        """Know of an event that is in the file now: while all before it are known it need not be read again."""
        if row.number == self._read_to + 1 and len(self._window) < WINDOW:
            self._window.append(row)
            self._read_to = row.number

    def next_due(self) -> float | None:
        """Return the seconds until an event is due; None when none waits."""
        if self._window or self._read_to < self._last:
            return 0.0
        return max(0.0, self._later[0][0] - self._clock()) if self._later else None

    def take(self, file: SpoolFile) -> Row | None:
        """Return the next event that is due, which is under way then."""
        row = self._next(file)
        if row is not None:
            self._under_way.add(row.number)
        return row

    def is_under_way(self, number: int) -> bool:
        """Tell whether an event was taken and nothing has become of it yet."""
        return number in self._under_way

    def put_off(self, number: int, delay: float) -> None:
        """Have an event due after ``delay`` seconds."""
        self._under_way.discard(number)
        heapq.heappush(self._later, (self._clock() + delay, number))

    def end(self, number: int) -> None:
        """Know that an event is no more, in the file neither."""
        self._under_way.discard(number)

    def leave(self, number: int) -> None:
        """Know that an event has left; it is in the file until ``note_gone``."""
        self.end(number)
        self.gone.append(number)

    def forget(self, numbers: Collection[int]) -> None:
        """Know that these are no more; what is under way among them is not to be put back."""
        self._under_way.difference_update(numbers)
        self._window = deque(row for row in self._window if row.number not in numbers)

    def note_gone(self, file: SpoolFile) -> None:
        """Remove from the file what has left."""
        if self.gone:
            file.delete(self.gone)
            self.gone.clear()

    def _next(self, file: SpoolFile) -> Row | None:
        while self._later and self._later[0][0] <= self._clock():
            row = file.find(self._later[0][1])
            heapq.heappop(self._later)
            if row is not None:
                return row
        if not self._window and self._read_to < self._last:
            rows = file.read(self._read_to, WINDOW)
            # A finalizer that tracked an event meanwhile may have brought it here already.
            self._window.extend(row for row in rows if row.number > self._read_to)
            self._read_to = self._window[-1].number if self._window else self._last
        return self._window.popleft() if self._window else None
