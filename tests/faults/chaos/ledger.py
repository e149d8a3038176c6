"""The books of a run: what was accepted, where it is now, and whether that adds up."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .server import COUNTED, REFUSED_NAME

Key = tuple[str, str]
"""The trace id and the event name."""


@dataclass(frozen=True)
class Spools:
    """The files of one outbox folder, as they are on the disk; read beside the processes that own them."""

    folder: Path

    def waiting(self) -> Counter[Key]:
        """Return the events that wait."""
        return Counter(self._keys("events"))

    def dead(self) -> Counter[Key]:
        """Return the dead letters."""
        return Counter(self._keys("dead"))

    def files(self) -> list[Path]:
        """Return the files."""
        return sorted(self.folder.glob("*.sqlite3"))

    def _keys(self, table: str) -> Iterator[Key]:
        for path in self.files():
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                # A process may have been killed before it had made its tables.
                if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                    yield from database.execute(f"SELECT trace_id, event_name FROM {table}")


@dataclass(frozen=True)
class Ledger:
    """The accounts of a run that is over."""

    accepted: frozenset[Key]
    arrived: Counter[Key]
    dead: Counter[Key]
    waiting: Counter[Key]
    outcomes: Counter[str]
    """What became of each request at the server."""
    complaints: tuple[str, ...]
    """What the workers have said, but for that xR2 refuses an event."""
    kills: int
    seconds: float
    seed: int

    @property
    def lost(self) -> frozenset[Key]:
        """What was accepted and is nowhere."""
        return self.accepted - self.arrived.keys() - self.dead.keys() - self.waiting.keys()

    @property
    def wrongly_dead(self) -> frozenset[Key]:
        """Dead letters that the server would have taken."""
        return frozenset(key for key in self.dead if key[1] != REFUSED_NAME)

    def table(self) -> str:
        """Return the accounts as a Markdown table."""
        rows = {
            "seed": self.seed,
            "seconds": round(self.seconds),
            "SIGKILLs": self.kills,
            "accepted": len(self.accepted),
            "arrived": len(self.accepted & self.arrived.keys()),
            "in the dead letters": len(self.accepted & self.dead.keys()),
            "still waiting": len(self.waiting),
            "**lost**": f"**{len(self.lost)}**",
            "arrived more than once": sum(times > 1 for times in self.arrived.values()),
            **{f"requests {outcome}": times for outcome, times in sorted(self.outcomes.items())},
        }
        widest = max(map(len, rows))
        lines = [f"| {name:<{widest}} | {number:>9} |" for name, number in rows.items()]
        return "\n".join([f"| {'':<{widest}} | {'':>9} |", f"|{'-' * (widest + 2)}|{'-' * 10}:|", *lines])


def accepted(ledgers: Iterable[Path]) -> frozenset[Key]:
    """Read what the workers have noted."""
    return frozenset(_key(line) for path in ledgers for line in path.read_text().splitlines())


def served(journal: Path) -> tuple[Counter[Key], Counter[str]]:
    """Read the server's journal: how often each event arrived, and what became of the requests."""
    arrived: Counter[Key] = Counter()
    outcomes: Counter[str] = Counter()
    for line in journal.read_text().splitlines():
        outcome, _, key = line.partition("\t")
        outcomes[outcome] += 1
        if outcome in COUNTED:
            arrived[_key(key)] += 1
    return arrived, outcomes


def complaints(log: Path) -> tuple[str, ...]:
    """Read what the workers have said beyond what is to be said."""
    return tuple(line for line in log.read_text().splitlines() if not line.startswith("xr2_web.event_refused:"))


def _key(line: str) -> Key:
    trace_id, event_name = line.split("\t")
    return trace_id, event_name
