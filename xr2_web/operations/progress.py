"""How long work shows on a terminal how far it is; elsewhere it says nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from .tables import has_rich

Watch: TypeAlias = Callable[[int, int, str], None]
"""Called with how much is done, how much there is, and what is to be said about it."""


@contextmanager
def watched(what: str, *, is_quiet: bool = False) -> Iterator[Watch]:
    """Show a bar on standard error while something long is done."""
    if is_quiet or not has_rich(sys.stderr.isatty()):
        yield _say_nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(what),
        BarColumn(15),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, words: progress.update(task, completed=done, total=total, description=words)


def _say_nothing(done: int, total: int, words: str) -> None:
    pass
