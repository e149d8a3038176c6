"""What Prometheus and OpenTelemetry see, where they are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xr2_web import runtime as runtimes
from xr2_web.outbox import Entry
from xr2_web.runtime import Runtime

from ..conftest import RuntimeMaker


def entry(runtime: Runtime, trace_id: str = "evt_1") -> Entry:
    return Entry(trace_id, "sign_up", b'{"trace_id":"%s","event_name":"sign_up"}' % trace_id.encode(), _now(runtime))


def _now(runtime: Runtime) -> float:
    return runtime.chance.wall()


@pytest.fixture
def offline(make_runtime: RuntimeMaker) -> Runtime:
    """A runtime whose server is nowhere."""
    return make_runtime(base_url="http://127.0.0.1:9")


class TestPrometheus:
    @pytest.fixture
    def registry(self) -> Any:
        client = pytest.importorskip("prometheus_client")
        from xr2_web import prometheus

        registry = client.CollectorRegistry()
        prometheus.install(registry)
        return registry

    def test_outcomes_are_counted(self, registry: Any, runtime: Runtime) -> None:
        runtime.put(entry(runtime))
        runtime.flush()
        runtime.count("prompt_fetched")

        counted = {
            sample.labels["outcome"]: sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "xr2_web_events_total" and sample.value
        }
        assert counted == {"refused": 1.0}

    def test_what_is_to_come_is_there_from_the_start(self, registry: Any) -> None:
        assert registry.get_sample_value("xr2_web_events_total", {"outcome": "delivered"}) == 0.0

    def test_gauges_show_what_waits_and_how_long(self, registry: Any, offline: Runtime) -> None:
        before = registry.get_sample_value("xr2_web_pending_events")
        offline.put(entry(offline)._replace(made_at=_now(offline) - 100))

        assert before == 0.0
        assert registry.get_sample_value("xr2_web_pending_events") == 1.0
        assert registry.get_sample_value("xr2_web_dead_letters") == 0.0
        assert 100 <= registry.get_sample_value("xr2_web_oldest_event_age_seconds") < 160
        assert registry.get_sample_value("xr2_web_healthy") == 1.0

    def test_events_are_seen_once_though_two_runtimes_have_the_same_settings(
        self, registry: Any, make_runtime: RuntimeMaker
    ) -> None:
        for number in (1, 2):
            runtime = make_runtime(base_url="http://127.0.0.1:9")
            runtime.put(entry(runtime, f"evt_{number}"))

        assert registry.get_sample_value("xr2_web_pending_events") == 2.0

    def test_an_outbox_in_memory_is_seen_too(self, registry: Any, make_runtime: RuntimeMaker) -> None:
        runtime = make_runtime(base_url="http://127.0.0.1:9", outbox="memory")
        runtime.put(entry(runtime)._replace(made_at=_now(runtime) - 100))

        assert registry.get_sample_value("xr2_web_pending_events") == 1.0
        assert registry.get_sample_value("xr2_web_oldest_event_age_seconds") >= 100

    def test_a_disk_that_fails_is_not_healthy(self, registry: Any, make_runtime: RuntimeMaker, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        runtime = make_runtime(base_url="http://127.0.0.1:9", outbox_path=tmp_path / "file")
        runtime.put(entry(runtime))

        assert registry.get_sample_value("xr2_web_healthy") == 0.0
        assert registry.get_sample_value("xr2_web_pending_events") == 1.0

    def test_installing_twice_counts_once(self, registry: Any, runtime: Runtime) -> None:
        from xr2_web import prometheus

        prometheus.install(registry)
        runtime.count("expired")

        assert registry.get_sample_value("xr2_web_events_total", {"outcome": "expired"}) == 1.0

    def test_the_counter_is_summed_over_processes(self, tmp_path: Path) -> None:
        pytest.importorskip("prometheus_client")
        environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

        for _ in range(2):
            subprocess.run([sys.executable, "-c", _COUNTS], env=environ, check=True)
        scrape = subprocess.run(
            [sys.executable, "-c", _SCRAPES], env=environ, capture_output=True, text=True, check=True
        )

        assert 'xr2_web_events_total{outcome="delivered"} 2.0\n' in scrape.stdout
        assert "xr2_web_pending_events 0.0\n" in scrape.stdout


_COUNTS = """
import xr2_web, xr2_web.prometheus
xr2_web.prometheus.install()
xr2_web.configure(api_key="xr2_dev_tests").count("delivered")
"""

_SCRAPES = """
import xr2_web.prometheus
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
xr2_web.prometheus.show_gauges(registry)
print(generate_latest(registry).decode())
"""


class TestOpenTelemetry:
    @pytest.fixture
    def reader(self) -> Any:
        export = pytest.importorskip("opentelemetry.sdk.metrics.export")
        from opentelemetry.sdk.metrics import MeterProvider

        from xr2_web import opentelemetry

        reader = export.InMemoryMetricReader()
        provider = MeterProvider([reader])
        opentelemetry.install(provider)
        opentelemetry.install(provider)
        yield reader
        provider.shutdown()

    def test_outcomes_and_what_waits_are_measured(self, reader: Any, offline: Runtime) -> None:
        offline.put(entry(offline)._replace(made_at=_now(offline) - 100))
        offline.count("expired")

        values = {
            (metric.name, *point.attributes.values()): point.value
            for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }
        assert values["xr2_web.events", "expired"] == 1
        assert values[("xr2_web.pending_events",)] == 1
        assert values[("xr2_web.dead_letters",)] == 0
        assert 100 <= values[("xr2_web.oldest_event_age",)] < 160
        assert values[("xr2_web.healthy",)] == 1.0


def test_an_observer_that_fails_harms_nobody(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    def fail(outcome: str) -> None:
        if outcome == "of this test":
            raise ValueError("something private")

    runtimes.observe(fail)

    runtime.count("of this test")
    runtime.count("of this test")

    assert runtime.counts["of this test"] == 2
    assert [record.getMessage() for record in caplog.records] == ["xr2_web.observer_failed: ValueError"]
