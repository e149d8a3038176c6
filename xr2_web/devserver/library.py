"""The folder of prompts: ``*.prompt`` files and ``events.toml``, read again when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from ..errors import ConfigurationError
from . import definitions, prompt_file
from .definitions import EventDefinition
from .prompts import Prompt, Version, gather

SAMPLE = Path(__file__).parent / "sample"
EVENTS_FILE = "events.toml"

Stamp = tuple[int, int]


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

    A file that cannot be read keeps its last good content. Each new problem goes to ``report`` once.
    """

    def __init__(self, folder: Path = SAMPLE, *, report: Callable[[str], object] = lambda problem: None) -> None:
        self.folder = folder
        self._report = report
        self._files: dict[str, _File] = {}
        self._catalog = Catalog()
        self._lock = Lock()

    def catalog(self) -> Catalog:
        """Return what the folder holds now. Costs one listing of the folder while nothing changes."""
        with self._lock:
            stamps = self._stamps()
            if stamps != {name: file.stamp for name, file in self._files.items()}:
                self._files = {name: self._read(name, stamp) for name, stamp in stamps.items()}
                self._put_together()
            return self._catalog

    def _stamps(self) -> dict[str, Stamp]:
        stamps = {}
        for path in [*sorted(self.folder.glob("[!.]*.prompt")), self.folder / EVENTS_FILE]:
            with suppress(FileNotFoundError):
                status = path.stat()
                stamps[path.name] = status.st_mtime_ns, status.st_size
        return stamps

    def _read(self, name: str, stamp: Stamp) -> _File:
        known = self._files.get(name)
        if known is not None and known.stamp == stamp:
            return known
        try:
            return _File(stamp, self._parse(name, stamp))
        except (ConfigurationError, OSError, UnicodeDecodeError) as exc:
            return _File(stamp, known.content if known else None, f"{name}: {exc}")

    def _parse(self, name: str, stamp: Stamp) -> Version | Mapping[str, EventDefinition]:
        text = (self.folder / name).read_text("utf-8-sig")
        if name == EVENTS_FILE:
            return definitions.parse(text)
        return prompt_file.parse(text, slug=name.partition(".")[0], changed_at=stamp[0] / 1e9)

    def _put_together(self) -> None:
        contents = [file.content for file in self._files.values()]
        prompts, conflicts = gather(each for each in contents if isinstance(each, Version))
        problems = [file.problem for file in self._files.values() if file.problem] + conflicts
        for problem in problems:
            if problem not in self._catalog.problems:
                self._report(problem)
        defined = next((each for each in contents if isinstance(each, Mapping)), None)
        self._catalog = Catalog(prompts, defined, tuple(problems))
