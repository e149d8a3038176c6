from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging
from celery.worker import WorkController

from xr2_web.celery import install
from xr2_web.default import started
from xr2_web.runtime import Runtime

from ..conftest import RuntimeMaker
from .seeing import value


@pytest.fixture(scope="package")
def _worker() -> Iterator[WorkController]:
    """A worker in a thread of this process, whose broker and results are in memory."""
    install()
    # Without fixups: whether a settings module of Django's is named depends on which other tests run.
    app = Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False, fixups=[])
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"polling_interval": 0.005},
        result_chord_retry_interval=0.01,
    )

    @app.task(name="idle")
    def idle() -> None: ...

    # Where somebody else sets up logging Celery leaves the level of the root logger alone.
    setup_logging.connect(_leave_logging)
    with start_worker(app, perform_ping_check=False) as worker:
        yield worker


def _leave_logging(**_: Any) -> None: ...


@pytest.fixture
def app(_worker: WorkController) -> Celery:
    app: Celery = _worker.app
    return app


@pytest.fixture
def runtime(make_runtime: RuntimeMaker) -> Runtime:
    """The runtime of the requests, and the process default, with which the tasks work."""
    made = make_runtime()
    started(made)
    return made


@pytest.fixture
def task(_worker: WorkController, app: Celery) -> Iterator[Callable[..., Any]]:
    """Decorate a function as ``app.task`` does, for the time of the test, and show it to the worker."""
    made: list[str] = []

    def task(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:
            return lambda function: task(function, **options)
        name = f"{function.__name__}-{uuid.uuid4().hex}"
        registered = app.task(name=name, **options)(function)
        made.append(name)
        _worker.consumer.update_strategies()
        return registered

    yield task
    # The worker has one thread: what was sent before has run when this has.
    value(app.tasks["idle"].delay())
    for name in made:
        app.tasks.unregister(name)
