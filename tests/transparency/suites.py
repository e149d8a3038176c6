"""The test suite of an installed framework, fetched from the package registry and run in processes of its own.

Only its tests are unpacked: what they test is the release that is installed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol
from xml.etree import ElementTree

LIMITS = ("--timeout=10", "--session-timeout=240")
"""So that a test which hangs is named, and many of them end with a report."""

PLUGINS = Path(__file__).with_name("plugins")


class Unavailable(Exception):
    """The registry did not give the source distribution; pip's own words say why."""


class Run(NamedTuple):
    """What became of each test, by its name, with the message of one that did not pass."""

    outcomes: dict[str, str]
    messages: dict[str, str]
    counted: dict[str, int]
    """What our plugin saw, such as how many requests went through the middleware."""

    def __str__(self) -> str:
        counts = [*Counter(self.outcomes.values()).most_common(), *sorted(self.counted.items())]
        return ", ".join(f"{count} {what}" for what, count in counts)


class Runner(Protocol):
    """How a suite is run, in the folder above its ``tests``."""

    def wrapping(self, variant: str) -> tuple[str, ...]:
        """Return the options that have the middleware around what the suite tests."""

    def command(self, report: Path, options: Sequence[str]) -> list[str]:
        """Return what runs the suite, with further options, and has ``report`` written."""

    def read(self, report: Path) -> Run:
        """Read what has been written."""


class Pytest(NamedTuple):
    """A suite for pytest, with the plugins and arguments that it counts on."""

    plugin: str = ""
    """The one that wraps."""

    plugins: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ("tests",)

    def wrapping(self, variant: str) -> tuple[str, ...]:
        return ("-p", self.plugin, "--wrapped", variant)

    def command(self, report: Path, options: Sequence[str]) -> list[str]:
        plugins = [argument for plugin in ("pytest_timeout", *self.plugins) for argument in ("-p", plugin)]
        command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *plugins, *LIMITS]
        return [*command, "--continue-on-collection-errors", f"--junitxml={report}", *options, *self.arguments]

    def read(self, report: Path) -> Run:
        return _read(report)


class Django(NamedTuple):
    """Django's own suite, which brings the runner of its own; the tests that ``labels`` name."""

    labels: tuple[str, ...]

    def wrapping(self, variant: str) -> tuple[str, ...]:
        return ("--wrapped", variant)

    def command(self, report: Path, options: Sequence[str]) -> list[str]:
        return [sys.executable, str(PLUGINS / "run_django.py"), *options, str(report), *self.labels]

    def read(self, report: Path) -> Run:
        return Run(**json.loads(report.read_text()))


class Suite(NamedTuple):
    """An unpacked suite, and how it is run."""

    folder: Path
    runner: Runner = Pytest()

    @classmethod
    def of(cls, package: str, folder: Path, runner: Runner, *, also: tuple[str, ...] = ()) -> Suite:
        """Fetch and unpack the tests of the installed release of ``package``, and what ``also`` they need.

        Raises ``Unavailable``.
        """
        wanted = f"{package}=={version(package)}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", package, wanted]
        asked = subprocess.run([*command, "-d", folder], capture_output=True, text=True)
        if asked.returncode:
            raise Unavailable(f"{wanted} cannot be had: {asked.stderr.strip()}")
        needed = {"tests", "pyproject.toml", *also}
        with tarfile.open(next(folder.glob("*.tar.gz"))) as packed:
            members = [each for each in packed if needed.intersection(PurePosixPath(each.name).parts[1:2])]
            packed.extractall(folder, members=members, filter="data")
        return cls(next(each for each in folder.iterdir() if each.is_dir()), runner)

    def run_each(self, variants: Mapping[str, tuple[str, ...]]) -> dict[str, Run]:
        """Run the suite once with each of some options, two at a time."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            started = {name: pool.submit(self.run, name, *options) for name, options in variants.items()}
        return {name: each.result() for name, each in started.items()}

    def run(self, name: str, *options: str) -> Run:
        """Run the suite with further options."""
        report = self.folder / f"{name}.report"
        command = self.runner.command(report, options)
        ended = subprocess.run(
            command, cwd=self.folder, env=_environment(), capture_output=True, text=True, timeout=300
        )
        if not report.exists():
            raise AssertionError(f"{self.folder.name}, {name}, did not run:\n{ended.stdout}\n{ended.stderr}")
        return self.runner.read(report)


def harmed(plain: Run, wrapped: Run) -> dict[str, str]:
    """Return the tests that did well plain and not wrapped, each with what became of it."""
    return {
        test: f"{wrapped.outcomes.get(test, 'missing')}: {wrapped.messages.get(test, '')}"
        for test, outcome in plain.outcomes.items()
        if outcome in ("passed", "skipped") and wrapped.outcomes.get(test) != outcome
    }


def _environment() -> dict[str, str]:
    # Nothing of the pytest that runs this, nor of xr2_web's own settings.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "XR2_"))}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(PLUGINS)}


def _read(report: Path) -> Run:
    run = Run({}, {}, {})
    tree = ElementTree.parse(report)
    for each in tree.iter("property"):
        run.counted[each.attrib["name"]] = int(each.attrib["value"])
    for case in tree.iter("testcase"):
        name = f"{case.attrib['classname']}::{case.attrib['name']}"
        # An error of the teardown may be a case of its own under the same name.
        problem = next((child for child in case if child.tag in _OUTCOMES), None)
        if problem is None:
            run.outcomes.setdefault(name, "passed")
        else:
            run.outcomes[name] = _OUTCOMES[problem.tag]
            run.messages[name] = problem.attrib.get("message", "").partition("\n")[0]
    return run


_OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}
