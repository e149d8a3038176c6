"""What the local xR2 tells of what has arrived, as values. No I/O happens here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event that reached xR2, with the prompt of its trace; ``refused`` says why xR2 did not take it."""

    trace_id: str | None
    event_name: str | None
    user_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    currency: str | None = None
    is_duplicate: bool = False
    refused: str | None = None
    source_name: str | None = None
    slug: str | None = None
    version_number: int | None = None

    @property
    def is_taken(self) -> bool:
        """Whether xR2 counts it."""
        return self.refused is None and not self.is_duplicate


@dataclass(frozen=True, slots=True)
class Trace:
    """A prompt that was fetched once, and what arrived under its trace."""

    trace_id: str
    slug: str
    version_number: int
    source_name: str
    events: tuple[Arrival, ...] = ()


@dataclass(frozen=True, slots=True)
class Journal:
    """Everything that has happened so far, oldest first; ``refused`` belongs to no trace."""

    traces: tuple[Trace, ...]
    refused: tuple[Arrival, ...]

    def of(self, source_name: str) -> Journal:
        """Return what this source did: the traces that it fetched, whoever sent the events, and what it sent astray."""
        return Journal(
            tuple(each for each in self.traces if each.source_name == source_name),
            tuple(each for each in self.refused if each.source_name == source_name),
        )

    def arrivals(self) -> tuple[Arrival, ...]:
        """Return every event that reached xR2, refused ones and repeats too."""
        of_traces = (
            replace(event, slug=trace.slug, version_number=trace.version_number)
            for trace in self.traces
            for event in trace.events
        )
        return (*of_traces, *self.refused)


# Made here, before there are threads: if two of them make msgspec (0.22) learn a type that holds others at the same
# time, one may see it half learnt, and the interpreter crashes.
_decoder = msgspec.json.Decoder(Journal)


def decode(answer: bytes) -> Journal:
    """Read the answer of ``GET /api/local/traces``."""
    return _decoder.decode(answer)
