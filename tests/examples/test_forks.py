"""Trap 24: an application that is loaded in the master and forked into its workers, and has tracked before the fork."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from . import commands
from .commands import Command, skip_if_missing
from .gate import gate
from .journal import doubled, events_by_trace
from .servers import probing
from .visitors import buy

VISITORS = 20
PRELOADED = ("--preload",)
DJANGO = ("probe.django_probe",)
FLASK = ("probe.flask_probe",)
STARLETTE = ("probe.starlette_probe:application",)

ROWS: dict[str, Command] = {
    "gunicorn": commands.GUNICORN + PRELOADED + DJANGO,
    "gunicorn with threads": commands.GTHREAD + PRELOADED + FLASK,
    "gunicorn with gevent": commands.GEVENT + PRELOADED + FLASK,
    "gunicorn with uvicorn": commands.GUNICORN_UVICORN + PRELOADED + STARLETTE,
    "uwsgi": commands.UWSGI + FLASK,
}


@pytest.mark.parametrize("command", ROWS.values(), ids=ROWS.keys())
def test_the_event_of_the_import_and_those_of_the_workers_arrive_once_each(
    command: Command, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    """The event of the import is under way in the master while it forks: the gate is shut until a worker answers.

    The pid in ``Runtime._here`` keeps the workers from the master's outbox and its dead threads, that in
    ``Runtime.close`` from sending what they inherited, that in ``SyncTransport._pool`` from its connections.
    uWSGI's master may have no threads (``forks.is_before_fork``): its first worker sends what it made (``is_heir``).
    """
    skip_if_missing(command)

    with gate(local_xr2, "/api/v1/events") as events:
        environ |= {"XR2_BASE_URL": events.base_url, "PROBE_TRACKS_AT_IMPORT": "yes"}
        with probing(command, tmp_path, environ) as server:
            first = buy(server)
            events.open()
            others = {buy(server) for _ in range(VISITORS)}
            server.stop()

    assert len(events_by_trace(local_xr2, "sign_up")) == 1
    assert events_by_trace(local_xr2, "purchase_completed").keys() == {first, *others}
    assert doubled(local_xr2) == []
    # What gevent says of modules that the import has used already.
    assert [each for each in server.complaints() if "MonkeyPatchWarning" not in each] == []


def test_a_greenlet_that_a_fork_has_copied_sends_nothing(
    local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    """Where gevent patches first, the master's courier lives on in the workers.

    ``Courier._is_copy`` stops it there; what it waited for at the fork its parent may be late to get, and asks again.
    """
    skip_if_missing(commands.GEVENT_FIRST)
    environ["PROBE_TRACKS_AT_IMPORT"] = "yes"

    with probing(commands.GEVENT_FIRST + FLASK, tmp_path, environ) as server:
        bought = {buy(server) for _ in range(VISITORS)}
        server.stop()

    assert len(events_by_trace(local_xr2, "sign_up")) == 1
    assert events_by_trace(local_xr2, "purchase_completed").keys() == bought
    assert doubled(local_xr2) == []
    assert server.complaints() == []
