"""Every outbox in every example project, and servers that are killed in the middle of a checkout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from xr2_web.demo.examples import EXAMPLES, Example, missing
from xr2_web.demo.processes import Processes
from xr2_web.demo.stage import Outcome, show, start_xr2
from xr2_web.devserver import Library, Store, create_app, serving
from xr2_web.devserver.journal import journal

from .servers import PROJECTS, Server
from .servers import serving as serving_example
from .visitors import new_client

PATIENCE_SECONDS = 30.0

SHOP_EVENTS = [("sign_up", "welcome"), ("purchase_completed", "product")]
EVENTS = {
    "django": SHOP_EVENTS,
    "flask": SHOP_EVENTS,
    "starlette": SHOP_EVENTS,
    "fastapi": [("answer_liked", "assistant")],
}
PACKAGES = {"flask": "shop", "starlette": "shop", "fastapi": "chat"}

NEEDS = {"spool": (), "memory": (), "database": ("sqlalchemy",), "celery": ("celery", "redis")}
WORKER = ("--loglevel", "INFO", "--pool", "solo", "--without-gossip", "--without-mingle", "--without-heartbeat")


@pytest.mark.parametrize("outbox", NEEDS)
def test_the_demo_ends_the_same_with_every_outbox(outbox: str) -> None:
    skip_without(outbox)

    with tempfile.TemporaryDirectory(prefix="xr2-web-") as name, brokers(outbox, Path(name)) as urls:
        examples = [prepared(each, outbox) for each in EXAMPLES]
        environs = [{"XR2_OUTBOX": outbox, "CELERY_BROKER_URL": url} for url in urls]
        outcomes = show_all(examples, environs, Path(name))
        logs = {path.name: path.read_text() for path in Path(name).glob("*.log")}

    # Where an outbox is missing or fails the spool stands in for it, and that is told.
    assert [line for log in logs.values() for line in log.splitlines() if re.search(r"xr2_web\.\w+: ", line)] == []
    assert sum("Task xr2_web.deliver[" in log for log in logs.values()) == (len(EXAMPLES) if outbox == "celery" else 0)
    for outcome in outcomes:
        assert outcome.failure is None, outcome.log
        assert [each.problems for each in outcome.findings if not each.is_right] == [], outcome.log
        assert sorted(arrived(outcome)) == sorted(EVENTS[outcome.example.framework] * 2)


def skip_without(outbox: str) -> None:
    lacking = missing(EXAMPLES) + [module for module in NEEDS[outbox] if find_spec(module) is None]
    if outbox == "celery" and shutil.which("redis-server") is None:
        lacking.append("redis-server")
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not installed")


def prepared(example: Example, outbox: str) -> Example:
    """Return the example with what its README tells to run for an outbox."""
    package = PACKAGES.get(example.framework)
    if outbox == "database" and package:
        return replace(example, prepare=("-m", f"{package}.event_tables"))
    if outbox == "celery":
        app = f"{package}.worker" if package else "config"
        return replace(example, beside=("-m", "celery", "-A", app, "worker", *WORKER))
    return example


@contextmanager
def brokers(outbox: str, folder: Path) -> Iterator[list[str]]:
    """Yield a broker's address for each example: databases of a Redis that nobody else uses."""
    path = folder / "redis.sock"
    if outbox != "celery":
        yield ["" for _ in EXAMPLES]
        return
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        try:
            wait_until(path.exists)
            yield [f"redis+socket://{path}?virtual_host={number}" for number, _ in enumerate(EXAMPLES)]
        finally:
            redis.kill()


def show_all(examples: list[Example], environs: list[dict[str, str]], folder: Path) -> list[Outcome]:
    """Show the examples side by side, as the demo does."""

    def run(example: Example, environ: dict[str, str]) -> Outcome:
        return show(example, PROJECTS, xr2_url=xr2_url, processes=processes, folder=folder, environ=environ)

    with Processes(folder) as processes, ThreadPoolExecutor(len(examples)) as executor:
        xr2_url = start_xr2(PROJECTS, processes=processes, folder=folder)
        return list(executor.map(run, examples, environs))


def arrived(outcome: Outcome) -> list[tuple[str | None, str | None]]:
    found = [each.arrived for each in outcome.findings if each.arrived]
    return [(each.event_name, each.slug) for each in found]


class AwayXr2:
    """A local xR2 that can go away, its port closed, and come back to the same address with all that it knew."""

    api_key = "xr2_dev_tests"

    def __init__(self) -> None:
        self._store = Store()
        self._app = create_app(Library(PROJECTS / "prompts"), store=self._store, clock=time.time)
        self._port = 0
        self.come_back()

    def come_back(self) -> None:
        self._server = serving.make_server(self._app)
        self._listener = serving.listen("127.0.0.1", self._port)
        self._port = self._listener.getsockname()[1]
        self.base_url = serving.base_url(self._listener)
        self._thread = Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()

    def go_away(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_SECONDS)
        self._listener.close()

    def close(self) -> None:
        self.go_away()
        self._store.close()

    def purchases(self) -> list[str]:
        """Return the traces under which purchases arrived, once for each time."""
        traces = journal(*self._store.history())["traces"]
        return [trace["trace_id"] for trace in traces for each in trace["events"] if is_purchase(each)]

    def wait_for_purchases(self, count: int) -> None:
        wait_until(lambda: len(self.purchases()) >= count)


def is_purchase(event: dict[str, Any]) -> bool:
    return event["event_name"] == "purchase_completed" and event["refused"] is None


@pytest.fixture
def xr2() -> Iterator[AwayXr2]:
    with closing(AwayXr2()) as server:
        yield server


@pytest.fixture
def environ(xr2: AwayXr2, tmp_path: Path) -> dict[str, str]:
    """The environment of a shop that keeps nothing outside of the test's folder."""
    return {
        "XR2_API_KEY": xr2.api_key,
        "XR2_BASE_URL": xr2.base_url,
        "XR2_OUTBOX_PATH": str(tmp_path / "outbox"),
        "XR2_PROMPT_DEADLINE": "30",
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "SHOP_SECRET_KEY": "a key of the tests that is long enough for everyone",
    }


SHOPS = [each for each in EXAMPLES if each.framework in ("django", "flask")]


@pytest.mark.parametrize("shop", SHOPS, ids=[each.framework for each in SHOPS])
def test_a_purchase_arrives_though_the_server_was_killed_right_after_it(
    shop: Example, xr2: AwayXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_without_shop(shop)
    with serving_example(shop.folder, tmp_path, environ) as server:
        customer = Customer(server)
        xr2.go_away()
        assert customer.buy() in (302, 303)
        kill(server)
    wait_until_gone(server)
    xr2.come_back()

    with serving_example(shop.folder, tmp_path, environ) as server:
        open_a_page(server)
        xr2.wait_for_purchases(1)

    assert xr2.purchases() == [customer.trace_id]


def test_a_purchase_in_the_database_arrives_though_the_server_was_killed_after_the_commit(
    xr2: AwayXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_without_shop(SHOPS[0])
    environ["XR2_OUTBOX"] = "database"
    database = Path(environ["SHOP_DATABASE"])
    with serving_example("django_shop", tmp_path, environ) as server:
        customer = Customer(server)
        xr2.go_away()
        assert customer.buy() == 302
        kill(server, when=lambda: is_at_rest(database))
    wait_until_gone(server)
    orders = select(database, "SELECT id FROM shop_order")
    xr2.come_back()

    with serving_example("django_shop", tmp_path, environ) as server:
        open_a_page(server)
        xr2.wait_for_purchases(1)

    assert len(orders) == 1
    assert xr2.purchases() == [customer.trace_id]


def test_a_checkout_that_is_rolled_back_leaves_no_order_and_no_event_and_the_shop_goes_on(
    xr2: AwayXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    skip_without_shop(SHOPS[0])
    environ["XR2_OUTBOX"] = "database"
    database = Path(environ["SHOP_DATABASE"])
    with serving_example("django_shop", tmp_path, environ) as server:
        unlucky, lucky = Customer(server), Customer(server)
        with commits_that_fail(database):
            refused = unlucky.buy()
        orders, waiting = (
            select(database, "SELECT id FROM shop_order"),
            select(database, "SELECT id FROM xr2_web_event"),
        )
        bought = lucky.buy()
        xr2.wait_for_purchases(1)

    assert (refused, orders, waiting) == (500, [], [])
    assert bought == 302
    assert len(select(database, "SELECT id FROM shop_order")) == 1
    assert xr2.purchases() == [lucky.trace_id]


def skip_without_shop(shop: Example) -> None:
    if lacking := missing([shop]):
        pytest.skip(f"{', '.join(lacking)} not installed")


class Customer:
    """Somebody who has looked at a teapot, and is about to buy it; ``trace_id`` is that of its page."""

    def __init__(self, server: Server) -> None:
        with new_client(server.base_url) as client:
            page = client.get("/products/teapot").text
        self._server = server
        self._cookies = client.cookies
        self._form = {"product": "teapot", **dict(re.findall(r'name="(csrfmiddlewaretoken)" value="(\w+)"', page))}
        self.trace_id = re.findall(r'<code class="trace">(.+?)</code>', page)[0]

    def buy(self) -> int:
        """Check out, and return the status of the answer."""
        with new_client(self._server.base_url) as client:
            client.cookies = self._cookies
            return client.post("/checkout", data=self._form).status_code


def open_a_page(server: Server) -> None:
    with new_client(server.base_url) as client:
        assert client.get("/thanks").status_code == 200


def kill(server: Server, when: Callable[[], bool] = lambda: True) -> None:
    """Kill all processes of a server, at a moment at which ``when`` holds: they stand still while it is asked."""

    def killed() -> bool:
        os.killpg(server.process.pid, signal.SIGSTOP)
        is_time = when()
        os.killpg(server.process.pid, signal.SIGKILL if is_time else signal.SIGCONT)
        return is_time

    wait_until(killed)
    server.process.wait(PATIENCE_SECONDS)


def wait_until_gone(server: Server) -> None:
    """Wait until none of a server's processes is left to hold its socket, and with it the lock of its spool."""
    address = urlsplit(server.base_url)

    def is_refused() -> bool:
        with socket.socket() as client:
            return client.connect_ex((address.hostname, address.port)) != 0

    wait_until(is_refused)


def is_at_rest(database: Path) -> bool:
    """Tell whether the one event was tried and put back: one that a courier had taken would be due after its lease."""
    with suppress(sqlite3.OperationalError):  # locked by one that stands still
        return select(database, "SELECT attempts > 0, token FROM xr2_web_event") == [(1, "")]
    return False


def select(database: Path, query: str) -> Sequence[tuple[Any, ...]]:
    with closing(sqlite3.connect(database, timeout=0.1)) as connection:
        return connection.execute(query).fetchall()


@contextmanager
def commits_that_fail(database: Path) -> Iterator[None]:
    """Have each order name a product that does not exist, which the database finds at the commit."""
    execute(
        database,
        "CREATE TRIGGER spoil AFTER INSERT ON shop_order "
        "BEGIN UPDATE shop_order SET product_id = 0 WHERE id = NEW.id; END",
    )
    yield
    execute(database, "DROP TRIGGER spoil")


def execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, timeout=PATIENCE_SECONDS)) as connection:
        connection.execute(statement)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
