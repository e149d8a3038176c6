"""How sure a conversion rate is: 95 % intervals of proportions. No I/O happens here."""

from __future__ import annotations

from math import hypot, sqrt
from typing import NamedTuple

_Z = 1.959964
"""The 97.5th percentile of the normal distribution."""


class Interval(NamedTuple):
    """From ``low`` to ``high``."""

    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's score interval of a proportion, from 0 to 1; all of it where nothing was tried.

    It holds its 95 % for few trials and for proportions near 0 and 1, where the textbook's interval does not.
    """
    if trials == 0:
        return Interval(0.0, 1.0)
    rate, square = successes / trials, _Z * _Z
    middle = rate + square / (2 * trials)
    reach = _Z * sqrt(rate * (1 - rate) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    return Interval(max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale))


def difference(one: tuple[int, int], other: tuple[int, int]) -> Interval:
    """Return Newcombe's interval of ``other`` minus ``one``, each successes and trials, from -1 to 1.

    It is put together from Wilson's intervals of the two. Where it does not hold 0 they differ by more than chance.
    """
    if not one[1] or not other[1]:
        return Interval(-1.0, 1.0)
    rate, rival = one[0] / one[1], other[0] / other[1]
    first, second = wilson(*one), wilson(*other)
    return Interval(
        rival - rate - hypot(rival - second.low, first.high - rate),
        rival - rate + hypot(second.high - rival, rate - first.low),
    )
