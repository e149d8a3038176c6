"""What breaks, how often, and the dice that decide it. No I/O happens here.

A fault is written ``name:rate`` or ``name:rate:seconds``, and several with commas between them:
``429:0.2:30s,slow:0.1:2s,reset:0.05``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from http import HTTPStatus
from math import fsum
from types import MappingProxyType

import msgspec

from ..errors import ConfigurationError
from . import duration

SLOW = "slow"
"""The answer takes ``seconds`` longer; drawn on its own, so that a slow answer may be a bad one too."""
RESET = "reset"
"""The connection is reset, and the request is not processed."""
SILENT = "silent"
"""The request is processed, and no answer comes."""
QUOTA = "quota"
"""The daily quota of prompt fetches is used up; events go on."""
REVOKED = "revoked"
"""The key is refused."""

NAMES = (SLOW, RESET, SILENT, QUOTA, REVOKED)
LONGEST = 3_600
"""Seconds that ``slow`` and ``Retry-After`` may last."""

_SECONDS = {SLOW: 2.0, "429": 300.0}
_STATUSES = frozenset(str(each.value) for each in HTTPStatus if each.value >= 400)


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often, from 0 to 1, and for ``slow`` (how long) and ``429`` (its Retry-After) the seconds."""

    rate: float
    seconds: float | None = None


Faults = Mapping[str, Fault]
NOTHING: Faults = MappingProxyType({})


def parse(spec: str) -> Faults:
    """Return the faults of a command line; raise ``ConfigurationError`` with all that is wrong."""
    entries: dict[str, object] = {}
    for entry in spec.split(","):
        name, _, rest = entry.strip().partition(":")
        rate, _, seconds = rest.partition(":")
        if name in entries:
            raise ConfigurationError([f"chaos: {name} is given twice"])
        entries[name] = {"rate": _number(rate), **({"seconds": seconds} if seconds else {})}
    return read(entries)


def read(entries: Mapping[str, object]) -> Faults:
    """Return the faults of a mapping of names to rates, or to objects with ``rate`` and ``seconds``.

    Raises ``ConfigurationError`` with all that is wrong. All but ``slow`` exclude each other: their rates add up to 1
    at most.
    """
    faults: dict[str, Fault] = {}
    problems = []
    for name, said in entries.items():
        try:
            faults[name] = _fault(name, said)
        except ValueError as exc:
            problems.append(f"chaos: {name}: {exc}")
    total = fsum(fault.rate for name, fault in faults.items() if name != SLOW)
    if total > 1 + 1e-9:
        problems.append(f"chaos: the rates of all but slow add up to {total:g}, and 1 is the most")
    if problems:
        raise ConfigurationError(problems)
    return MappingProxyType(faults)


def tell(faults: Faults) -> dict[str, object]:
    """Return what ``read`` reads as ``faults``: a rate alone where its seconds are the usual ones or none."""
    return {name: fault.rate if fault.seconds == usual_seconds(name) else fault for name, fault in faults.items()}


def usual_seconds(name: str) -> float | None:
    """Return how long the fault lasts where nothing is said, None where it lasts no time."""
    return _SECONDS.get(name)


def _fault(name: str, said: object) -> Fault:
    if name not in NAMES and name not in _STATUSES:
        nearest = get_close_matches(name, NAMES, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ValueError(f"no such fault: there are {', '.join(NAMES)}, and the status codes of HTTP from 400 on{hint}")
    options = said if isinstance(said, Mapping) else {"rate": said}
    if unknown := set(options) - {"rate", "seconds"}:
        raise ValueError(f"a fault has a rate and seconds, not {', '.join(sorted(map(repr, unknown)))}")
    rate = options.get("rate")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ValueError(f"the rate is a number from 0 to 1, not {rate!r}")
    return Fault(rate, _seconds(name, options.get("seconds")))


def _seconds(name: str, said: object) -> float | None:
    if said is None:
        return usual_seconds(name)
    if name not in _SECONDS:
        raise ValueError(f"it lasts no time: only {' and '.join(_SECONDS)} take seconds")
    return duration.read(said, maximum=LONGEST)


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


class Chaos:
    """The faults that are in force, which may be replaced at any time. ``chance`` gives numbers in [0, 1).

    ``struck`` counts the requests that each fault has befallen.
    """

    def __init__(self, faults: Faults = NOTHING, *, chance: Callable[[], float] = random.random) -> None:
        self.faults = faults
        self.struck: Counter[str] = Counter()
        self._chance = chance

    def delay(self) -> float:
        """Draw by how many seconds the next answer is late."""
        slow = self.faults.get(SLOW)
        return slow.seconds or 0 if slow and self._chance() < slow.rate else 0

    def fault(self) -> tuple[str, Fault] | None:
        """Draw what else befalls the next request."""
        faults = [(name, fault) for name, fault in self.faults.items() if name != SLOW]
        point = self._chance() if faults else 0
        for name, fault in faults:
            if point < fault.rate:
                return name, fault
            point -= fault.rate
        return None
