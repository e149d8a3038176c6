"""How fast events reach the server, and what that costs, beside the reference client sending one after the other.

Each measurement is a fresh process: it tracks its events and waits until the server has them all, so what the outbox
costs is in the figures. The server is a sink in a process of its own. The contestants take turns in one run.
Needs httptools, and xr2-sdk for the reference.
Run: python benchmarks/delivery.py [OUTBOX …]   (default: spool memory)
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from sink import sink

KEY = "xr2_dev_benchmark"
ROUNDS = 5
REFERENCE = "reference"
WARM_UP = 200


class Cost(NamedTuple):
    """What the delivery of events took, in seconds of the wall clock and of the processor."""

    events: int
    elapsed: float
    cpu: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.elapsed


def main() -> None:
    outboxes = sys.argv[1:] or ["spool", "memory"]
    print(f"Python {sys.version.split()[0]}, {platform.machine()}; medians of {ROUNDS} rounds\n")
    print("| server | outbox | in flight | events/s | × reference | CPU µs an event | × reference |")
    print("|---|---|---|---|---|---|---|")
    compare("on loopback", outboxes, concurrency=8, delay=0.0, events=10_000, reference_events=3_000)
    compare("takes 50 ms", outboxes, concurrency=64, delay=0.05, events=6_400, reference_events=40)


def compare(
    server: str, outboxes: list[str], *, concurrency: int, delay: float, events: int, reference_events: int
) -> None:
    """Print a row for the reference, and one for each outbox."""
    found: dict[str, list[Cost]] = {name: [] for name in (REFERENCE, *outboxes)}
    with sink(delay=delay) as running:
        for _ in range(ROUNDS):
            for name, costs in found.items():
                count = reference_events if name == REFERENCE else events
                costs.append(measure(name, running.base_url, concurrency, count))
    reference = middle(found[REFERENCE])
    for name, costs in found.items():
        cost, in_flight = middle(costs), 1 if name == REFERENCE else concurrency
        print(
            f"| {server} | {name} | {in_flight} | {cost.rate:,.0f} | {cost.rate / reference.rate:.2f} "
            f"| {cost.cpu / cost.events * 1e6:.0f} | {each(cost) / each(reference):.2f} |",
            flush=True,
        )


def middle(costs: list[Cost]) -> Cost:
    """Return the medians of several runs."""
    return Cost(
        costs[0].events,
        statistics.median(cost.elapsed for cost in costs),
        statistics.median(cost.cpu for cost in costs),
    )


def each(cost: Cost) -> float:
    """Return the processor's seconds for one event."""
    return cost.cpu / cost.events


def measure(name: str, base_url: str, concurrency: int, events: int) -> Cost:
    """Deliver the events from a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--deliver", name, base_url, str(concurrency), str(events)]
        environ = {**os.environ, "XR2_OUTBOX_PATH": folder, "NO_PROXY": "127.0.0.1"}
        process = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(*json.loads(process.stdout))


def deliver(name: str, base_url: str, concurrency: int, events: int) -> Cost:
    """Deliver the events from here, after some more to warm up."""
    send = by_reference(base_url) if name == REFERENCE else through_outbox(name, base_url, concurrency)
    send("warm", min(WARM_UP, events))
    elapsed, cpu = time.perf_counter(), time.process_time()
    send("trace", events)
    return Cost(events, time.perf_counter() - elapsed, time.process_time() - cpu)


def by_reference(base_url: str) -> Callable[[str, int], None]:
    from xr2_sdk.client import xR2Client

    client = xR2Client(KEY, base_url=base_url)

    def send(trace: str, events: int) -> None:
        for number in range(events):
            response = client.track_event(
                trace_id=f"{trace}-{number}",
                event_name="purchase_completed",
                user_id="42",
                value=20,
                currency="EUR",
                metadata={"plan": "pro"},
            )
            assert response.ok, response.error

    return send


def through_outbox(outbox: str, base_url: str, concurrency: int) -> Callable[[str, int], None]:
    import xr2_web

    xr2_web.configure(api_key=KEY, base_url=base_url, outbox=outbox, concurrency=concurrency)

    def send(trace: str, events: int) -> None:
        with xr2_web.scope(user_id=42):
            for number in range(events):
                receipt = xr2_web.track_event(
                    "purchase_completed",
                    value=20,
                    currency="EUR",
                    metadata={"plan": "pro"},
                    trace_id=f"{trace}-{number}",
                )
                assert receipt.accepted, receipt.reason
        flushed = xr2_web.flush(timeout=120)
        assert (flushed.refused, flushed.left) == (0, 0), flushed

    return send


if __name__ == "__main__":
    if sys.argv[1:2] == ["--deliver"]:
        print(json.dumps(deliver(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))))
    else:
        main()
