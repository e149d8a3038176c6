"""Metrics for OpenTelemetry: what became of events, what waits, and whether all is well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from ._version import __version__
from .operations.gauges import Reading, is_of_an_event, read
from .runtime import observe

__all__ = ["install"]

FRESH = 1.0
"""Seconds for which the gauges of one collection share what was seen."""

_installed: WeakSet[MeterProvider] = WeakSet()


def install(provider: MeterProvider | None = None) -> None:
    """Count outcomes in ``xr2_web.events``, and observe what waits on this machine; a second time does nothing.

    The attribute ``outcome`` has the same values as the label in ``xr2_web.prometheus``.
    """
    provider = provider or get_meter_provider()
    if provider in _installed:
        return
    _installed.add(provider)
    meter = provider.get_meter("xr2_web", __version__)
    counter = meter.create_counter("xr2_web.events", "{event}", "What became of events for xR2")

    def count(outcome: str) -> None:
        if is_of_an_event(outcome):
            counter.add(1, {"outcome": outcome})

    observe(count)
    look = _Look()
    for name, unit, words, value in _GAUGES:
        meter.create_observable_gauge(f"xr2_web.{name}", [_observed(look, value)], unit, words)


class _Look:
    """What was seen lately: all gauges of a collection are asked one after another."""

    def __init__(self) -> None:
        self._reading = Reading()
        self._seen_at = float("-inf")

    def reading(self) -> Reading:
        """Return what there is."""
        if time.monotonic() - self._seen_at > FRESH:
            self._reading = read()
            self._seen_at = time.monotonic()
        return self._reading


def _observed(look: _Look, value: Callable[[Reading], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(value(look.reading()))]


_GAUGES: list[tuple[str, str, str, Callable[[Reading], float]]] = [
    ("pending_events", "{event}", "Events that wait on this machine", lambda seen: seen.pending),
    ("dead_letters", "{event}", "Events that xR2 has refused, kept on this machine", lambda seen: seen.dead),
    ("oldest_event_age", "s", "Age of the oldest event that waits", lambda seen: seen.oldest),
    ("healthy", "1", "1 while events are kept where they should be", lambda seen: float(seen.is_well)),
]
