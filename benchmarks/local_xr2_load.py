"""How the local xR2 starts, and what its page shows while events come in at a fixed rate.

    python benchmarks/local_xr2_load.py [<events per second> <seconds>]

Printed are the seconds from the start of the process to its first answer (the median of five starts), the events per
second that were answered while they were sent at the given rate (1,000) for the given time (10 s), whether each of two
open pages came to show all of them, how many updates that took, and how long after the last answer. The sender does as
little as it can: requests are made beforehand, sent over eight connections and not waited for one by one.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from threading import Thread
from urllib.parse import urlsplit

import httpx

STARTS = 5
CONNECTIONS = 8
PAGES = 2
NAMES = 20
TICK = 0.01
KEY = {"Authorization": "Bearer xr2_dev_benchmark"}
COUNT = re.compile(r"<dt>events?</dt><dd>([0-9,]+)</dd>")


@contextmanager
def local_xr2() -> Iterator[tuple[str, float]]:
    """Run it as its users do; yield its URL, and the seconds until it answered."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "xr2_web", "dev", "--port", "0", "--ephemeral"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip().partition("=")[2]
            httpx.get(f"{url}/health").raise_for_status()
            yield url, time.perf_counter() - began
        finally:
            process.terminate()


class Page(Thread):
    """A page that is open: what it has shown, and when."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.shown: list[tuple[float, int]] = []
        self.start()

    def run(self) -> None:
        with httpx.stream("GET", f"{self.url}/stream", timeout=60) as answer:
            message: list[str] = []
            for line in answer.iter_lines():
                if line:
                    message.append(line)
                    continue
                if found := COUNT.search(" ".join(message)):
                    self.shown.append((time.perf_counter(), int(found[1].replace(",", ""))))
                message = []

    def wait_for(self, count: int, *, seconds: float) -> float | None:
        """Return when it has shown ``count``, None where it has not within ``seconds``."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            if self.shown and self.shown[-1][1] >= count:
                return self.shown[-1][0]
            time.sleep(0.01)
        return None


class Connection(Thread):
    """A connection that counts the answers to what was sent over it."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self.socket = socket.create_connection((address.hostname, address.port))
        self.answered = 0
        self.start()

    def run(self) -> None:
        rest = b""
        while data := self.socket.recv(65536):
            data = rest + data
            self.answered += data.count(b"HTTP/1.1 200")
            rest = data[-len("HTTP/1.1 20") :]


def requests(url: str, count: int) -> list[bytes]:
    """Fetch as many prompts as are needed, and return the requests that send events under their traces."""
    made = []
    with httpx.Client(base_url=url, headers=KEY) as http:
        for _ in range(-(-count // NAMES)):
            fetch = {"slug": "welcome", "source_name": "benchmark"}
            trace_id = http.post("/api/v1/get-prompt", json=fetch).json()["trace_id"]
            for name in range(NAMES):
                event = {"trace_id": trace_id, "event_name": f"event_{name}", "source_name": "benchmark", "value": 20}
                made.append(request(url, json.dumps(event).encode()))
    return made[:count]


def request(url: str, body: bytes) -> bytes:
    """Return the bytes of one request."""
    head = (
        f"POST /api/v1/events HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: {KEY['Authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load(url: str, rate: int, seconds: int) -> None:
    """Send at the rate, and print what came of it."""
    wanted = requests(url, rate * seconds)
    pages = [Page(url) for _ in range(PAGES)]
    connections = [Connection(url) for _ in range(CONNECTIONS)]
    began, sent, ticks = time.perf_counter(), 0, 0
    while sent < len(wanted):
        due = min(len(wanted), round(rate * TICK * (ticks + 1)))
        connections[ticks % CONNECTIONS].socket.sendall(b"".join(wanted[sent:due]))
        sent, ticks = due, ticks + 1
        time.sleep(max(0.0, began + ticks * TICK - time.perf_counter()))
    took = time.perf_counter() - began
    while sum(each.answered for each in connections) < len(wanted) and time.perf_counter() < began + 10 * seconds:
        time.sleep(0.01)
    answered_at = time.perf_counter()
    answered = sum(each.answered for each in connections)
    print(
        f"{sent:,} events sent in {took:.1f} s, {answered:,} answered in {answered_at - began:.1f} s: "
        f"{answered / (answered_at - began):,.0f} a second"
    )
    for number, page in enumerate(pages, start=1):
        shown_at = page.wait_for(answered, seconds=10)
        gaps = [later - earlier for (earlier, _), (later, _) in zip(page.shown, page.shown[1:], strict=False)]
        told = "never shown" if shown_at is None else f"shown {max(0.0, shown_at - answered_at):.2f} s after the last"
        print(f"page {number}: all {answered:,} {told}; {len(page.shown)} updates, at most {max(gaps):.2f} s apart")


def main() -> None:
    """Measure the starts, then the load."""
    rate, seconds = map(int, sys.argv[1:] or (1_000, 10))
    starts = []
    for _ in range(STARTS):
        with local_xr2() as (_, took):
            starts.append(took)
    print(f"first answer after {median(starts):.2f} s")
    with ExitStack() as stack:
        url, _ = stack.enter_context(local_xr2())
        load(url, rate, seconds)


if __name__ == "__main__":
    main()
