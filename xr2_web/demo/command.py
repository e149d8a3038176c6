"""The command ``xr2-web demo``: all chosen examples at once, with one local xR2 that shows what they do."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigurationError
from .examples import EXAMPLES, Example, find_projects, missing
from .failure import Failure
from .interruption import Interrupted, interruptible
from .processes import Processes
from .report import Report
from .reporters import JsonReport, TextReport
from .stage import Outcome, show, start_xr2


def run(framework: str, *, as_json: bool, keep: bool) -> int:
    """Show the example of the framework, or ``all``, and return the exit code: 0 if all is as expected.

    With ``keep`` the examples run on until a signal comes. Raises ``ConfigurationError`` where they cannot run.
    """
    chosen = [each for each in EXAMPLES if framework in ("all", each.framework)]
    projects = _check(chosen)
    report = _choose_report(as_json)
    began = time.monotonic()
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="xr2-web-demo-", ignore_cleanup_errors=True) as folder,
        Processes(Path(folder)) as processes,
    ):
        outcomes = _show_all(chosen, report, projects, processes=processes, folder=Path(folder))
        report.summary(outcomes, seconds=time.monotonic() - began)
        if keep:
            _keep(report, outcomes)
    return 0 if all(each.is_right for each in outcomes) else 1


def _keep(report: Report, outcomes: Sequence[Outcome]) -> None:
    with suppress(Interrupted):
        report.addresses(outcomes)
        while True:
            # Not signal.pause: it sleeps through a signal that came just before it.
            time.sleep(1)


def _check(chosen: Sequence[Example]) -> Path:
    if os.name != "posix":
        raise ConfigurationError(["the demo runs gunicorn, which needs Linux or macOS"])
    if modules := missing(chosen):
        verb = "is" if len(modules) == 1 else "are"
        raise ConfigurationError([f"{', '.join(modules)} {verb} missing: pip install 'xr2-web[demo]'"])
    return find_projects()


def _choose_report(as_json: bool) -> Report:
    if as_json:
        return JsonReport()
    if sys.stdout.isatty() and find_spec("rich"):
        from .rich_report import RichReport

        return RichReport()
    return TextReport()


def _start_xr2(projects: Path, *, processes: Processes, folder: Path) -> str:
    try:
        return start_xr2(projects, processes=processes, folder=folder)
    except Failure as exc:
        raise ConfigurationError([exc.message, *exc.log]) from exc


def _show_all(
    chosen: Sequence[Example], report: Report, projects: Path, *, processes: Processes, folder: Path
) -> list[Outcome]:
    """Show them side by side, which on two cores takes two thirds of the time that one after another does."""
    executor = ThreadPoolExecutor(len(chosen))
    try:
        with report.waiting([each.framework for each in chosen]):
            xr2_url = _start_xr2(projects, processes=processes, folder=folder)
            tasks = [
                executor.submit(show, each, projects, xr2_url=xr2_url, processes=processes, folder=folder)
                for each in chosen
            ]
            for task in as_completed(tasks):
                report.outcome(task.result())
    finally:
        # After a signal nobody is waited for: as soon as the processes have ended, so does every task.
        executor.shutdown(wait=False, cancel_futures=True)
    return [each.result() for each in tasks]
