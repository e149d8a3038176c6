"""What reporting an event costs the request that it happens in, beside the clients of other analytics services.

Each measurement is a fresh process that makes one call a millisecond; the server is a sink in a process of its own, or
a port that refuses every connection. The contestants take turns in one run. The time of the wall clock is what a
request waits; the processor's time of its thread leaves out what neighbours on the machine and other threads add.
Needs httptools, and of posthog, amplitude-analytics, segment-analytics-python, opentelemetry-exporter-otlp-proto-http,
langfuse and snowplow-tracker those that are to be seen beside it. Nothing leaves this machine.
Run: python benchmarks/tracking.py
"""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from sink import sink

T = TypeVar("T")

KEY = "xr2_dev_benchmark"
ROUNDS = 3
CALLS = 2_000
WARM_UP = 200
FEW, MANY = 10_000, 1_000_000
CLAIMS = 1_000
CLAIM_ROUNDS = 5


class Cost(NamedTuple):
    """What one call took, in nanoseconds of the wall clock and of its thread's processor time."""

    wall: int
    cpu: int


class Costs(NamedTuple):
    """What the calls of one round took, or of several, in microseconds."""

    median: float
    p99: float
    cpu_median: float
    cpu_p99: float

    @classmethod
    def of(cls, found: list[Cost]) -> Costs:
        """Return the quantiles of single calls."""
        wall, cpu = ([each[clock] / 1e3 for each in found] for clock in (0, 1))
        return cls(statistics.median(wall), p99(wall), statistics.median(cpu), p99(cpu))


class Calls(NamedTuple):
    """How to call a contestant: ``track`` is measured, with a trace id, inside what ``around`` returns."""

    track: Callable[[str], object]
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    inside: list[Cost] | None = None
    """Where it notes what is to count instead of the whole call."""


class Contestant(NamedTuple):
    """Something that takes events, in so many processes at once; ``module`` has to be installed for it."""

    name: str
    calls: Callable[[str], Calls]
    processes: int = 1
    module: str = "xr2_web"

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.name if self.processes == 1 else f"{self.name}, {self.processes} processes"


def main() -> None:
    print(f"Python {sys.version.split()[0]}, {platform.machine()}, {os.cpu_count()} processors, load {load()}\n")
    with sink() as running, refusing() as away_url:
        healthy, away = compare(running.base_url, away_url)
    print_costs(healthy)
    print_outage(healthy, away)
    print_pending()
    print(f"\nLoad at the end: {load()}")


def compare(base_url: str, away_url: str) -> tuple[dict[str, list[Costs]], dict[str, list[Costs]]]:
    """Return what each round has found with the server there, and for ours with the server away."""
    installed = [each for each in CONTESTANTS if is_installed(each.module)]
    healthy: dict[str, list[Costs]] = {each.title: [] for each in installed}
    away: dict[str, list[Costs]] = {each.title: [] for each in OURS}
    for _ in range(ROUNDS):
        for each in installed:
            healthy[each.title].append(measure(each, base_url))
            if each in OURS:
                away[each.title].append(measure(each, away_url))
    return healthy, away


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def print_costs(healthy: dict[str, list[Costs]]) -> None:
    """Print a row for each contestant."""
    print(f"One call a millisecond, {CALLS:,} in each process; medians of {ROUNDS} rounds, in µs.\n")
    print("| event by | median | p99 | CPU median | CPU p99 |")
    print("|---|---|---|---|---|")
    for each in CONTESTANTS:
        if each.title in healthy:
            found = [statistics.median(rounds) for rounds in zip(*healthy[each.title], strict=True)]
            print(f"| {each.title} | {' | '.join(f'{value:,.1f}' for value in found)} |")
        else:
            print(f"| {each.title} | not installed | | | |")


def print_outage(healthy: dict[str, list[Costs]], away: dict[str, list[Costs]]) -> None:
    """Print what the absence of the server adds to the slowest calls."""
    print("\nThe p99 while the server is away, in µs; the difference is the median of those of each round.\n")
    print("| event by | healthy | away | difference | CPU healthy | CPU away | CPU difference |")
    print("|---|---|---|---|---|---|---|")
    for each in OURS:
        cells = []
        for field in ("p99", "cpu_p99"):
            there, gone = ([getattr(costs, field) for costs in found[each.title]] for found in (healthy, away))
            added = [after - before for before, after in zip(there, gone, strict=True)]
            cells += [f"{statistics.median(values):,.0f}" for values in (there, gone, added)]
        print(f"| {each.title} | {' | '.join(cells)} |")


def print_pending() -> None:
    """Print what a million events that wait cost their process."""
    with refusing() as away_url, environment() as environ:
        found = json.loads(started("--pending", away_url, environ=environ).communicate()[0])
    print(f"\nEvents that wait while the server is away; {CLAIMS:,} claims, medians of {CLAIM_ROUNDS} rounds.\n")
    print(f"| pending | memory of the process grew by | {CLAIMS:,} claims take | CPU |")
    print("|---|---|---|---|")
    for pending, grown, wall, cpu in found:
        print(f"| {pending:,} | {grown:.1f} MB | {wall:.2f} ms | {cpu:.2f} ms |")


def measure(contestant: Contestant, base_url: str) -> Costs:
    """Have a contestant called in processes of its own, all at the same time."""
    with environment() as environ:
        arguments = ("--call", str(CONTESTANTS.index(contestant)), base_url)
        processes = [started(*arguments, environ=environ) for _ in range(contestant.processes)]
        for each in processes:
            assert each.stdout.readline() == "ready\n", contestant.title
        for each in processes:
            each.stdin.write("go\n")
            each.stdin.flush()
        outputs = [each.communicate()[0] for each in processes]
    return Costs.of([Cost(*cost) for output in outputs for cost in json.loads(output)])


def started(*arguments: str, environ: dict[str, str]) -> Any:
    """Start this file in another process."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def call(contestant: Contestant, base_url: str) -> list[Cost]:
    """Call a contestant from here, once a millisecond."""
    calls = contestant.calls(base_url)
    call_often(calls, WARM_UP)
    print("ready", flush=True)
    sys.stdin.readline()
    costs = call_often(calls, CALLS)
    return costs if calls.inside is None else calls.inside[-CALLS:]


def call_often(calls: Calls, times: int) -> list[Cost]:
    costs: list[Cost] = []
    for _ in range(times):
        trace_id = uuid4().hex
        with calls.around():
            timed(calls.track, trace_id, costs)
        time.sleep(0.001)
    return costs


def timed(function: Callable[[T], object], argument: T, costs: list[Cost]) -> object:
    """Call a function and note what that took."""
    cpu = time.thread_time_ns()
    wall = time.perf_counter_ns()
    result = function(argument)
    wall = time.perf_counter_ns() - wall
    costs.append(Cost(wall, time.thread_time_ns() - cpu))
    return result


def spool(base_url: str) -> Calls:
    return through_outbox("spool", base_url)


def memory(base_url: str) -> Calls:
    return through_outbox("memory", base_url)


def spool_alone(base_url: str) -> Calls:
    from xr2_web.engines import new_spool

    costs: list[Cost] = []
    return through_outbox(lambda chosen: Watched(new_spool(chosen), costs), base_url)._replace(inside=costs)


class Watched:
    """An outbox of which is noted what each ``put`` takes."""

    def __init__(self, outbox: Any, costs: list[Cost]) -> None:
        self._outbox = outbox
        self._costs = costs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    def put(self, entry: Any) -> object:
        return timed(self._outbox.put, entry, self._costs)


def sqlite(base_url: str) -> Calls:
    """Write a row of the same size with its commit: what the file of the spool costs at the least."""
    connection = sqlite3.connect(f"{os.environ['XR2_OUTBOX_PATH']}/{uuid4().hex}", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, trace_id TEXT UNIQUE, body BLOB)")
    insert = "INSERT INTO events (trace_id, body) VALUES (?, ?)"
    return Calls(lambda trace_id: connection.execute(insert, (trace_id, bytes(150))))


def through_outbox(outbox: Any, base_url: str) -> Calls:
    import xr2_web

    xr2_web.configure(api_key=KEY, base_url=base_url, outbox=outbox)
    return Calls(track_accepted, xr2_web.scope)


def track_accepted(trace_id: str) -> None:
    import xr2_web

    receipt = xr2_web.track_event("upgraded", value=20, currency="EUR", trace_id=trace_id)
    assert receipt.accepted, receipt.reason


def fixed(base_url: str) -> Calls:
    """Call what is always the same: what the machine itself makes of a short call."""
    return Calls(lambda trace_id: sum(range(1000)))


def posthog(base_url: str) -> Calls:
    from posthog import Posthog  # type: ignore[import-not-found, unused-ignore]

    client = Posthog("phc_benchmark", host=base_url)

    def track(trace_id: str) -> None:
        client.capture("upgraded", distinct_id="42", properties={"value": 20, "currency": "EUR", "trace_id": trace_id})

    return Calls(track)


def amplitude(base_url: str) -> Calls:
    from amplitude import Amplitude, BaseEvent, Config  # type: ignore[import-not-found, unused-ignore]

    client = Amplitude("benchmark", Config(server_url=base_url))

    def track(trace_id: str) -> None:
        properties = {"value": 20, "currency": "EUR", "trace_id": trace_id}
        client.track(BaseEvent("upgraded", user_id="user-42", event_properties=properties))

    return Calls(track)


def segment(base_url: str) -> Calls:
    from segment.analytics import Client  # type: ignore[import-not-found, unused-ignore]

    client = Client("benchmark", host=base_url)

    def track(trace_id: str) -> None:
        client.track("42", "upgraded", {"value": 20, "currency": "EUR", "trace_id": trace_id})

    return Calls(track)


def opentelemetry(base_url: str) -> Calls:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # type: ignore[import-not-found, unused-ignore]
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base_url}/v1/traces")))
    tracer = provider.get_tracer("benchmark")

    def track(trace_id: str) -> None:
        tracer.start_span("upgraded", attributes={"value": 20, "currency": "EUR", "trace_id": trace_id}).end()

    return Calls(track)


def langfuse(base_url: str) -> Calls:
    from langfuse import Langfuse  # type: ignore[import-not-found, unused-ignore]

    client = Langfuse(public_key="benchmark", secret_key="benchmark", base_url=base_url)

    def track(trace_id: str) -> None:
        client.create_score(name="upgraded", value=20, trace_id=trace_id, metadata={"currency": "EUR"})

    return Calls(track)


def snowplow(base_url: str) -> Calls:
    from snowplow_tracker import AsyncEmitter, StructuredEvent, Tracker  # type: ignore[import-not-found, unused-ignore]

    logging.getLogger("snowplow_tracker.emitters").setLevel(logging.WARNING)  # it would tell of every request
    address = urlsplit(base_url)
    tracker = Tracker("benchmark", AsyncEmitter(str(address.hostname), protocol="http", port=address.port))

    def track(trace_id: str) -> None:
        tracker.track(StructuredEvent("plans", "upgraded", label=trace_id, property_="EUR", value=20))

    return Calls(track)


OURS = (
    Contestant("xr2_web, spool", spool),
    Contestant("xr2_web, spool", spool, processes=4),
    Contestant("xr2_web, memory", memory),
)
CONTESTANTS = (
    *OURS,
    Contestant("xr2_web, spool: of this outbox.put", spool_alone),
    Contestant("xr2_web, spool: of this outbox.put", spool_alone, processes=4),
    Contestant("SQLite alone: an insert with its commit", sqlite, module="sqlite3"),
    Contestant("PostHog", posthog, module="posthog"),
    Contestant("Amplitude", amplitude, module="amplitude"),
    Contestant("Segment", segment, module="segment.analytics"),
    Contestant("OpenTelemetry, a span", opentelemetry, module="opentelemetry.exporter.otlp.proto.http"),
    Contestant("Langfuse, a score", langfuse, module="langfuse"),
    Contestant("Snowplow", snowplow, module="snowplow_tracker"),
    Contestant("nothing: sum(range(1000))", fixed),
)


def pend(base_url: str) -> list[tuple[int, float, float, float]]:
    """Let events wait here; return for each number of them the growth in MB, and what claims take in ms."""
    import xr2_web

    runtime = xr2_web.configure(api_key=KEY, base_url=base_url, outbox="spool", outbox_max_events=1_100_000)
    fill(runtime, WARM_UP)
    before = resident()
    found = []
    for pending in (FEW, MANY):
        fill(runtime, pending)
        grown = (resident() - before) / 1e6
        rounds = [claim_many(runtime, pending) for _ in range(CLAIM_ROUNDS)]
        wall, cpu = (statistics.median(each[clock] for each in rounds) / 1e6 for clock in (0, 1))
        found.append((pending, grown, wall, cpu))
    return found


def fill(runtime: Any, pending: int) -> None:
    """Track until so many events wait."""
    import xr2_web

    waiting = 0 if runtime.outbox is None else runtime.outbox.counts().pending
    for _ in range(pending - waiting):
        with xr2_web.scope():
            track_accepted(uuid4().hex)
    assert runtime.outbox.counts().pending == pending


def claim_many(runtime: Any, pending: int) -> Cost:
    """Claim events of so many that wait, as the courier does."""
    fill(runtime, pending)
    costs: list[Cost] = []
    for _ in range(CLAIMS):
        runtime.outbox.done(timed(lambda outbox: outbox.claim(), runtime.outbox, costs))
    return Cost(sum(each.wall for each in costs), sum(each.cpu for each in costs))


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[-1]


def resident() -> int:
    """Return the bytes of memory that this process takes up."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def load() -> str:
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Yield the environment of a measurement's processes, with a folder that they share."""
    with tempfile.TemporaryDirectory() as folder:
        yield {**os.environ, "XR2_OUTBOX_PATH": folder, "NO_PROXY": "127.0.0.1"}


@contextmanager
def refusing() -> Iterator[str]:
    """Yield the address of a port that is taken, and refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def report(found: object) -> None:
    """Say what was found, and end at once: what a client does at its end is not measured."""
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        report(call(CONTESTANTS[int(sys.argv[2])], sys.argv[3]))
    elif sys.argv[1:2] == ["--pending"]:
        report(pend(sys.argv[2]))
    else:
        main()
