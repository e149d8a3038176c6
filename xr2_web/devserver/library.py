"""The folder of prompts: ``*.prompt`` files and ``events.toml``, read again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from ..errors import ConfigurationError
from . import definitions, prompt_file, text_file
from .definitions import EventDefinition
from .prompts import Prompt, Version, gather

SAMPLE = Path(__file__).parent / "sample"
EVENTS_FILE = "events.toml"

Stamp = tuple[int, int, int]
"""When a file was written, when it was last changed in any way or put in its place (ns), and its size in bytes."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the folder holds; ``definitions`` is None where there is no ``events.toml``."""

    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    definitions: Mapping[str, EventDefinition] | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    stamp: Stamp
    content: Version | Mapping[str, EventDefinition] | None
    problem: str | None = None


class Library:
    """A folder of prompts, the sample where none is given; may be used from any thread.

    A file that cannot be read keeps its last good content, and so does a folder that is gone. Each new problem goes to
    ``report`` once. What lies outside of the folder, is larger than ``text_file.MAX_BYTES`` or is no regular file is
    not read.
    """

    def __init__(self, folder: Path = SAMPLE, *, report: Callable[[str], object] = lambda problem: None) -> None:
        self.folder = folder
        self._report = report
        self._files: dict[str, _File] = {}
        self._is_gone = False
        self._catalog = Catalog()
        self._lock = Lock()

    def catalog(self) -> Catalog:
        """Return what the folder holds now. Costs one listing of the folder while nothing changes."""
        with self._lock:
            was_gone, self._is_gone = self._is_gone, not self.folder.is_dir()
            if self._is_gone:
                if not was_gone:
                    self._lose()
                return self._catalog
            stamps = self._stamps()
            if was_gone or stamps != {name: file.stamp for name, file in self._files.items()}:
                self._files = {name: self._read(name, stamp) for name, stamp in stamps.items()}
                self._put_together()
            return self._catalog

    def _lose(self) -> None:
        problem = f"the folder {self.folder} is gone; what it held last is served"
        self._catalog = replace(self._catalog, problems=(problem, *self._catalog.problems))
        self._report(problem)

    def _stamps(self) -> dict[str, Stamp]:
        stamps = {}
        for path in [*sorted(self.folder.glob("[!.]*.prompt")), self.folder / EVENTS_FILE]:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            except OSError:
                stamps[path.name] = 0, 0, 0
            else:
                stamps[path.name] = status.st_mtime_ns, status.st_ctime_ns, status.st_size
        return stamps

    def _read(self, name: str, stamp: Stamp) -> _File:
        known = self._files.get(name)
        if known is not None and known.stamp == stamp:
            return known
        try:
            return _File(stamp, self._parse(name, stamp))
        except (ConfigurationError, ValueError, RecursionError) as exc:
            return _File(stamp, known.content if known else None, f"{_printable(name)}: {exc}")

    def _parse(self, name: str, stamp: Stamp) -> Version | Mapping[str, EventDefinition]:
        path = self.folder / name
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.folder)):
            raise ConfigurationError(["it is a link that leads out of the folder, and is not read"])
        if _printable(name) != name:
            raise ConfigurationError(["its name is not UTF-8"])
        text = text_file.read(path)
        if name == EVENTS_FILE:
            return definitions.parse(text)
        return prompt_file.parse(text, slug=name.partition(".")[0], changed_at=stamp[0] / 1e9, file=name)

    def _put_together(self) -> None:
        contents = [file.content for file in self._files.values()]
        prompts, conflicts = gather(each for each in contents if isinstance(each, Version))
        problems = [file.problem for file in self._files.values() if file.problem] + conflicts
        defined = next((each for each in contents if isinstance(each, Mapping)), None)
        known, self._catalog = self._catalog, Catalog(prompts, defined, tuple(problems))
        for problem in problems:
            if problem not in known.problems:
                self._report(problem)


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
