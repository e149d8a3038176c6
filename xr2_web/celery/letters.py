"""An event as a message in the user's broker: how it is written and read."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import values
from ..outbox import Entry

DELIVER = "xr2_web.deliver"


class Letter(NamedTuple):
    """An event in a message. It names the installation by its hash, and never the key.

    ``attempts`` to send it were made, and ``passes`` workers of other installations have passed it on.
    """

    installation: str
    trace_id: str
    event_name: str
    body: str
    made_at: float
    attempts: int
    passes: int = 0

    @classmethod
    def of(cls, installation: str, entry: Entry, attempts: int) -> Letter:
        """Write an event down."""
        return cls(installation, entry.trace_id, entry.event_name, entry.body.decode(), entry.made_at, attempts)

    @classmethod
    def read(cls, written: Any, *, now: float) -> Letter:
        """Read what a message holds. Raises ``ValueError`` where that is no event."""
        try:
            letter = cls(**written)
            if len(letter.body.encode()) > values.EVENT_BYTES:
                raise ValueError("larger than any event")
            values.text(letter.installation, "installation", limit=64)
            values.text(letter.trace_id, "trace_id", limit=values.TRACE_ID_LENGTH)
            values.event_name(letter.event_name)
            made_at, attempts, passes = float(letter.made_at), int(letter.attempts), int(letter.passes)
        except (TypeError, AttributeError, OverflowError) as exc:
            raise ValueError("no event") from exc
        if not math.isfinite(made_at):
            raise ValueError("made at no time")
        # One from the future would never be too old.
        return letter._replace(made_at=min(made_at, now), attempts=max(0, attempts), passes=max(0, passes))

    @property
    def entry(self) -> Entry:
        """The event."""
        return Entry(self.trace_id, self.event_name, self.body.encode(), self.made_at)
