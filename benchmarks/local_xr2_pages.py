"""What the pages of the local xR2 cost when it is as full as it gets: 5,000 traces with 100,000 events, in a file.

    python benchmarks/local_xr2_pages.py

Each view is asked for 11 times through the application, without a network; the medians of its CPU time and of the
time by the clock are printed, in milliseconds, and the size of the answer as it is sent. Only on a machine that does
nothing else are the two the same.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from starlette.testclient import TestClient

from xr2_web.devserver import Library, Store, create_app
from xr2_web.devserver.store import TRACES_KEPT, Attempt, Trace

EVENTS_OF_A_TRACE = 20
BEGAN_AT = 1_800_000_000.0
VIEWS = (
    "/",
    "/?text=order-17",
    "/?text=nowhere",
    "/?prompt=welcome",
    "/?refused=1",
    f"/traces/evt_{TRACES_KEPT // 2}",
    "/prompts/welcome",
)


def fill(store: Store) -> None:
    """Keep two fetches and forty events of each visitor, of one prompt and its A/B test."""
    with store.transaction():
        for number in range(TRACES_KEPT):
            trace_id, at = f"evt_{number}", BEGAN_AT + number
            store.add_trace(
                Trace(trace_id, "welcome", 1 + number % 2, "benchmark", at, "tone", f"version_{'ab'[number % 2]}")
            )
            for event in range(EVENTS_OF_A_TRACE):
                store.add_attempt(
                    Attempt(
                        at,
                        trace_id,
                        f"event_{event}",
                        "benchmark",
                        f"user-{number // 2}",
                        f"session-{number // 2}",
                        20.0,
                        "EUR",
                        {"order_id": f"order-{event}", "plan": "pro"},
                        "an-event-id",
                    )
                )


def main() -> None:
    """Print a line for each view."""
    with TemporaryDirectory() as folder, closing(Store(Path(folder) / "state.sqlite3")) as store:
        fill(store)
        http = TestClient(create_app(Library(), store=store), base_url="http://127.0.0.1")
        print(f"{'':24}{'CPU':>8}{'clock':>8}{'bytes':>9}")
        for path in VIEWS:
            worked, took = [], []
            for _ in range(11):
                began, began_work = time.perf_counter(), time.process_time()
                answer = http.get(path)
                worked.append(1_000 * (time.process_time() - began_work))
                took.append(1_000 * (time.perf_counter() - began))
            size = int(answer.headers["Content-Length"])
            print(f"{path:24}{median(worked):8.1f}{median(took):8.1f}{size:9,}")


if __name__ == "__main__":
    main()
