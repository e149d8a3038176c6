"""Start an example beside the local xR2 of all, lead two visitors through it, and judge what arrived."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from .comparison import Finding, compare
from .examples import Example
from .failure import Failure
from .http import httpx
from .journal import Journal, decode
from .processes import Process, Processes
from .visitor import Visitor
from .walk import Walk, lead

ARRIVAL_SECONDS = 20.0
"""How long the expected events may be on their way."""

SETTLING_SECONDS = 0.5
"""How long events beyond them are waited for."""

VISITORS = (("Ada", "teapot"), ("Ben", "sencha"))

_FOREIGN = ("XR2_", "SHOP_", "DJANGO_", "FLASK_", "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY")
"""Beginnings of what may be set for other programs of whoever runs the demo, and would change these."""


@dataclass(frozen=True, slots=True)
class Stage:
    """An example app and the local xR2 that it talks to, both running; the app's folder is its name there."""

    example: Example
    app_url: str
    xr2_url: str
    server: Process
    database: Path

    def journal(self) -> Journal:
        """Return what the local xR2 tells of this app."""
        try:
            answer = httpx.get(f"{self.xr2_url}/api/local/traces", trust_env=False).raise_for_status()
        except httpx.HTTPError as exc:
            raise Failure(f"the local xR2 does not answer: {exc}") from exc
        return decode(answer.content).of(self.example.folder)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one example. ``failure`` says why it ended early, if it did; ``log`` what the app wrote then."""

    example: Example
    stage: Stage | None = None
    findings: tuple[Finding, ...] = ()
    failure: str | None = None
    log: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether exactly the expected events are there with the right traces."""
        return self.failure is None and all(each.is_right for each in self.findings)


def start_xr2(projects: Path, *, processes: Processes, folder: Path) -> str:
    """Start the local xR2 to which the examples talk, and return its base URL; raise ``Failure`` where it ends."""
    command = ["-m", "xr2_web", "dev", "--port", "0", "--ephemeral", "--prompts", str(projects / "prompts")]
    xr2 = processes.start("the local xR2", command, environ=_environment(os.environ, projects, folder), cwd=folder)
    return xr2.wait_for(r"XR2_BASE_URL=(\S+)")


def show(
    example: Example,
    projects: Path,
    *,
    xr2_url: str,
    processes: Processes,
    folder: Path,
    environ: Mapping[str, str] | None = None,
) -> Outcome:
    """Start the example, which goes on running, and return what came of the visitors' walk through it.

    It talks to the xR2 at ``xr2_url``. What it keeps is in a folder of its own under ``folder``. Another thread may
    show another one. ``environ`` is for its processes, besides what the demo sets.
    """
    began = time.monotonic()
    outcome = Outcome(example)
    try:
        talk = {"XR2_BASE_URL": xr2_url, "XR2_SOURCE_NAME": example.folder}
        stage = _set_up(example, projects, processes, folder, {**talk, **(environ or {})})
        outcome = replace(outcome, stage=stage)
        outcome = replace(outcome, findings=_judge(stage, _walk(stage)))
    except Failure as exc:
        outcome = replace(outcome, failure=exc.message, log=exc.log)
    if outcome.stage and not outcome.is_right:
        outcome = replace(outcome, log=outcome.log or outcome.stage.server.last_lines())
    return replace(outcome, seconds=time.monotonic() - began)


def _set_up(example: Example, projects: Path, processes: Processes, folder: Path, given: Mapping[str, str]) -> Stage:
    name, project, folder = example.framework, projects / example.folder, folder / example.framework
    folder.mkdir()
    environ = {**_environment(os.environ, projects, folder), **given}
    if example.prepare:
        task = f"{' '.join(example.prepare)} of {name}"
        processes.start(task, example.prepare, environ=environ, cwd=project).wait()
    if example.beside:
        processes.start(f"{' '.join(example.beside)} of {name}", example.beside, environ=environ, cwd=project)
    with _listener() as listener:
        command = [part.format(fd=listener.fileno()) for part in example.server]
        server = processes.start(
            f"{example.server_name} of {name}", command, environ=environ, cwd=project, inherit=[listener.fileno()]
        )
        app_url = "http://{}:{}".format(*listener.getsockname())
    return Stage(example, app_url, environ["XR2_BASE_URL"], server, Path(environ["SHOP_DATABASE"]))


def _listener() -> socket.socket:
    """Return a listening socket for a server to inherit.

    So nobody else can take the port, and an early visitor waits in its backlog. Closed here, it is the server's alone:
    where that ends, a visitor is refused.
    """
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def _environment(given: Mapping[str, str], projects: Path, folder: Path) -> dict[str, str]:
    """Return the environment for both processes: nothing of theirs is kept outside of ``folder``."""
    environ = {name: value for name, value in given.items() if not name.startswith(_FOREIGN) and not _is_proxy(name)}
    package = Path(__file__).parents[1]
    if projects.parent == package.parent:
        # A clone, which may not be installed.
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package.parent), given.get("PYTHONPATH"))))
    return environ | {
        "XR2_API_KEY": "xr2_dev_demo",
        # On a busy machine the demo waits, where an app would rather fall back.
        "XR2_PROMPT_DEADLINE": "30",
        "SHOP_DATABASE": str(folder / "shop.sqlite3"),
        "SHOP_SECRET_KEY": secrets.token_urlsafe(32),
        "NO_PROXY": "127.0.0.1",
        # gunicorn keeps its control socket there, under one name for all of a user's.
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_STATE_HOME": str(folder),
    }


def _is_proxy(name: str) -> bool:
    """Tell whether the variable sends requests through a proxy; those of the demo stay on this machine."""
    return name.lower().endswith("_proxy")


def _walk(stage: Stage) -> Walk:
    executor = ThreadPoolExecutor(len(VISITORS))
    visitors = [Visitor(name, product, stage.app_url) for name, product in VISITORS]
    try:
        return lead(visitors, stage.example.steps, traces=lambda: stage.journal().traces, executor=executor)
    except Failure:
        # A server that goes down closes its connections first.
        stage.server.check(seconds=1)
        raise
    finally:
        # Whoever ends the demo does not wait for a visitor who waits for an answer.
        executor.shutdown(wait=False, cancel_futures=True)
        for visitor in visitors:
            visitor.close()


def _judge(stage: Stage, walk: Walk) -> tuple[Finding, ...]:
    user_ids = stage.example.user_ids(stage.database)
    expected = [replace(each, user_id=user_ids.get(each.visitor)) for each in walk.expected]
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while _count_taken(stage) < len(expected) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(SETTLING_SECONDS)
    return compare(expected, stage.journal().arrivals(), fetches=walk.fetches)


def _count_taken(stage: Stage) -> int:
    return sum(each.is_taken for each in stage.journal().arrivals())
