"""The command ``xr2-web prompts import``: convert files one by one, and say of each what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import ConfigurationError
from .importing import Draft, Folder, read


def run(files: Sequence[Path], *, to: Path, force: bool) -> int:
    """Write the prompts in ``files`` to the folder ``to`` and return the exit code: 1 where one could not be converted.

    Files that were written go to stdout, a line each; what was left out or failed goes to stderr.
    """
    folder = Folder(to, force=force)
    outcomes = [_convert(path, folder) for path in files]
    return 0 if all(outcomes) else 1


def _convert(path: Path, folder: Folder) -> bool:
    try:
        drafts = read(path)
    except ConfigurationError as exc:
        _fail(path, exc)
        return False
    outcomes = [_write(path, draft, folder) for draft in drafts]
    return all(outcomes)


def _write(path: Path, draft: Draft | ConfigurationError, folder: Folder) -> bool:
    try:
        if isinstance(draft, ConfigurationError):
            raise draft
        written = folder.write(draft)
    except ConfigurationError as exc:
        _fail(path, exc)
        return False
    click.echo(f"wrote {written}")
    if draft.left_out:
        click.secho(
            f"{path}: left out of {written.name}: {', '.join(dict.fromkeys(draft.left_out))}", fg="yellow", err=True
        )
    return True


def _fail(path: Path, exc: ConfigurationError) -> None:
    click.secho(f"{path}: {exc}", fg="red", err=True)
