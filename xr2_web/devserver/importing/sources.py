"""Which format a file has, by its name, and the drafts that are in it."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigurationError
from .. import text_file
from . import dotprompt, plain_yaml, prompty
from .draft import Draft


def read(path: Path) -> list[Draft | ConfigurationError]:
    """Return the drafts in a file, and in place of one of several that cannot be made what is wrong.

    Raises ``ConfigurationError`` where the file cannot be converted.
    """
    kind, stem = path.suffix.lower(), path.stem
    if kind not in (".prompty", ".prompt", ".yaml", ".yml"):
        raise ConfigurationError(["its name must end in .prompty, .prompt, .yaml or .yml"])
    text = text_file.read(path)
    if kind == ".prompty":
        return [prompty.read(text, stem)]
    if kind == ".prompt":
        return [dotprompt.read(text, stem)]
    return plain_yaml.read(text, stem)
