"""Metrics for Prometheus: what became of events, what waits, and whether all is well.

``install()`` once at start is all where one process is scraped. In prometheus_client's multiprocess mode the counter is
summed over the processes as any other; the gauges are of the whole machine already, and are added where the registry
for the scrape is made: ``show_gauges(registry)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakSet

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .operations.gauges import Reading, is_of_an_event, read
from .runtime import observe

__all__ = ["install", "show_gauges"]

_installed: WeakSet[CollectorRegistry] = WeakSet()


def install(registry: CollectorRegistry = REGISTRY) -> None:
    """Count outcomes in ``xr2_web_events_total``, and show the gauges; a second time does nothing.

    The label ``outcome`` has some fifteen values, all of them words of this library: ``delivered``, ``refused``,
    ``expired``, and why an event was not accepted. ``failed`` counts tries, and ``duplicate_at_server`` counts events
    that were delivered, too.
    """
    if registry in _installed:
        return
    _installed.add(registry)
    counter = Counter("xr2_web_events", "What became of events for xR2", ["outcome"], registry=registry)
    for outcome in ("delivered", "refused", "expired", "failed", "full"):
        counter.labels(outcome)  # so that the first of them is seen as an increase

    def count(outcome: str) -> None:
        if is_of_an_event(outcome):
            counter.labels(outcome).inc()

    observe(count)
    show_gauges(registry)


def show_gauges(registry: CollectorRegistry) -> None:
    """Show what waits on this machine, and whether this process can keep events, as it is at the time of a scrape."""
    registry.register(_Gauges())


class _Gauges(Collector):
    def collect(self) -> Iterable[Metric]:
        return _families(read())

    def describe(self) -> Iterable[Metric]:
        """Return the names, without looking."""
        return _families(Reading())


def _families(reading: Reading) -> list[Metric]:
    return [
        GaugeMetricFamily("xr2_web_pending_events", "Events that wait on this machine", reading.pending),
        GaugeMetricFamily("xr2_web_dead_letters", "Events that xR2 has refused, kept on this machine", reading.dead),
        GaugeMetricFamily("xr2_web_oldest_event_age_seconds", "Age of the oldest event that waits", reading.oldest),
        GaugeMetricFamily("xr2_web_healthy", "1 while events are kept where they should be", float(reading.is_well)),
    ]
