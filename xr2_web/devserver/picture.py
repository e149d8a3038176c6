"""Where the parts of a picture of conversion rates stand, in per cent of its width and in pixels of its height."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .funnel import Arm, Conversion

_ROW = 52
_AXIS = 24
_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Row:
    """An arm's rate ``at`` with its interval from ``low`` to ``high``."""

    arm: Arm
    conversion: Conversion
    top: int
    at: float
    low: float
    high: float

    @property
    def length(self) -> float:
        """From low to high."""
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Picture:
    """One row for each arm above an axis from 0 to the rate ``scale``."""

    event_name: str
    rows: list[Row]
    scale: float
    height: int


def draw(event_name: str, arms: Iterable[Arm]) -> Picture:
    """Place the rates of ``event_name`` so that the longest interval just fits."""
    conversions = [(arm, arm.conversion(event_name)) for arm in arms]
    highest = max(conversion.interval.high for _, conversion in conversions)
    scale = next(each for each in _SCALES if highest <= each)
    rows = [
        Row(
            arm,
            conversion,
            top=_ROW * number,
            at=100 * conversion.rate / scale,
            low=100 * conversion.interval.low / scale,
            high=100 * conversion.interval.high / scale,
        )
        for number, (arm, conversion) in enumerate(conversions)
    ]
    return Picture(event_name, rows, scale, _ROW * len(rows) + _AXIS)
