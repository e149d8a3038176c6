"""Tables on standard output: with rich on a terminal, where it is installed, else aligned text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

import click


def has_rich(stream_is_terminal: bool) -> bool:
    """Tell whether a stream is one for rich to write to."""
    return stream_is_terminal and find_spec("rich") is not None


def show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table without lines."""
    if has_rich(sys.stdout.isatty()):
        _show_rich(headings, rows)
        return
    for line in aligned([headings, *rows]):
        click.echo(line)


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def _show_rich(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
