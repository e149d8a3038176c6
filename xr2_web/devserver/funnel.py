"""What the versions of a prompt brought: fetches, the events that count, and revenue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .intervals import Interval, difference, wilson
from .store import Store


@dataclass(slots=True)
class Conversion:
    """The events of one name: in how many of ``fetches`` one was accepted, and their value by currency.

    Values without a currency are under an empty one.
    """

    event_name: str
    fetches: int
    count: int = 0
    revenue: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """From 0 to 1."""
        return self.count / self.fetches

    @property
    def interval(self) -> Interval:
        """Where the rate is with a probability of 95 %."""
        return wilson(self.count, self.fetches)


@dataclass(slots=True)
class Arm:
    """One version of a prompt as it was handed out: by an A/B test, as ``variant`` of ``ab_test``, or without one."""

    version_number: int
    ab_test: str | None
    variant: str | None
    fetches: int
    conversions: dict[str, Conversion] = field(default_factory=dict)

    def conversion(self, event_name: str) -> Conversion:
        """Return the events of this name; there may be none."""
        return self.conversions.get(event_name) or Conversion(event_name, self.fetches)


@dataclass(frozen=True, slots=True)
class Funnel:
    """All arms of a prompt, and the names of their events, the most frequent first."""

    arms: list[Arm]
    event_names: list[str]

    @property
    def fetches(self) -> int:
        """How often the prompt was fetched."""
        return sum(arm.fetches for arm in self.arms)

    def brought(self, version_number: int) -> tuple[int, dict[str, int]]:
        """Count the fetches of a version, however it was handed out, and by name the events that they brought."""
        arms = [arm for arm in self.arms if arm.version_number == version_number]
        counts = {name: sum(arm.conversion(name).count for arm in arms) for name in self.event_names}
        return sum(arm.fetches for arm in arms), {name: count for name, count in counts.items() if count}

    def rivals(self) -> dict[str, tuple[Arm, Arm]]:
        """Return, by the name of an A/B test, its two variants, of which each was handed out."""
        tests: dict[str, dict[str, Arm]] = {}
        for arm in self.arms:
            if arm.ab_test and arm.variant:
                tests.setdefault(arm.ab_test, {})[arm.variant] = arm
        return {
            name: (variants["version_a"], variants["version_b"])
            for name, variants in tests.items()
            if variants.keys() >= {"version_a", "version_b"}
        }


def funnel(store: Store, slug: str) -> Funnel:
    """Count for a prompt what is kept now. Duplicates and refused events do not count."""
    with store.one_moment():
        arms = _arms(store, slug)
        rows = store.select(
            "SELECT arm, event_name, coalesce(currency, ''), count(*), sum(value) FROM attempts INDEXED BY counted"
            " WHERE arm IN (SELECT arm FROM traces WHERE slug = ?) AND refused IS NULL AND NOT is_duplicate"
            " GROUP BY arm, event_name, currency",
            slug,
        )
    for arm_key, event_name, currency, count, value in rows:
        arm = arms[arm_key]
        conversion = arm.conversions.setdefault(event_name, Conversion(event_name, arm.fetches))
        conversion.count += count
        if value is not None:
            conversion.revenue[currency] = conversion.revenue.get(currency, 0) + value
    return Funnel(list(arms.values()), _names(arms.values()))


def verdict(one: Conversion, other: Conversion) -> str:
    """Say in words how the rate of ``other`` compares to that of ``one``, in percentage points."""
    low, high = (100 * each for each in difference((one.count, one.fetches), (other.count, other.fetches)))
    chance = "which may be chance" if low <= 0 <= high else "which is more than chance makes"
    points = _signed(100 * (other.rate - one.rate))
    return f"{points} points, {chance} (95 % interval {_signed(low)} to {_signed(high)})."


def _signed(number: float) -> str:
    return f"{number:+.1f}".replace("-", "\N{MINUS SIGN}")


def _arms(store: Store, slug: str) -> dict[str, Arm]:
    rows = store.select(
        "SELECT arm, version_number, ab_test_name, ab_test_variant, count(*) FROM traces WHERE slug = ?"
        " GROUP BY arm ORDER BY 2, 3, 4",
        slug,
    )
    return {row["arm"]: Arm(*tuple(row)[1:]) for row in rows}


def _names(arms: Iterable[Arm]) -> list[str]:
    totals: dict[str, int] = {}
    for arm in arms:
        for conversion in arm.conversions.values():
            totals[conversion.event_name] = totals.get(conversion.event_name, 0) + conversion.count
    return sorted(totals, key=lambda name: (-totals[name], name))
