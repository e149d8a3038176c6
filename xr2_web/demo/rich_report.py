"""The report on a terminal, with rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .report import HEADINGS, heading, problems, rows, verdict
from .stage import Outcome

WIDE = 112
"""Columns from which on traces and sessions are shown whole."""


class RichReport:
    """A spinner while the visitors walk, a table for each example as soon as it is done."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._waiting_for: list[str] = []

    @contextmanager
    def waiting(self, frameworks: Sequence[str]) -> Iterator[None]:
        """Show a spinner with the names of those that are not done yet."""
        self._waiting_for = list(frameworks)
        self._console.print()
        with self._console.status(self._state()) as self._status:
            yield

    def outcome(self, outcome: Outcome) -> None:
        """Print a table, and what is wrong with it."""
        self._waiting_for.remove(outcome.example.framework)
        self._status.update(self._state())
        project, *rest = heading(outcome)
        self._console.print(Text.assemble((project, "bold"), (" · ".join(["", *rest]), "dim")))
        if outcome.findings:
            self._console.print(Padding(self._table(outcome), (0, 0, 0, 2)))
        for problem in problems(outcome):
            self._print_hanging("✗ ", problem, "red")
        for line in outcome.log:
            self._print_hanging("│ ", line, "dim")
        self._console.print()

    def summary(self, outcomes: Sequence[Outcome], *, seconds: float) -> None:
        """Print the verdict."""
        is_right = all(each.is_right for each in outcomes)
        self._console.print(Text(verdict(outcomes, seconds=seconds), "bold green" if is_right else "bold red"))

    def addresses(self, outcomes: Sequence[Outcome]) -> None:
        """Print where everything is running."""
        table = _grid("Left running", "Address")
        stages = [each.stage for each in outcomes if each.stage]
        for each in stages:
            table.add_row(each.example.framework, each.app_url)
        for each in stages[:1]:
            table.add_row("what arrived", each.xr2_url, style="bold")
        self._console.print()
        self._console.print(table)
        self._console.print("\nCtrl-C ends them.", style="dim")

    def _state(self) -> str:
        return f"Two visitors at once walk through {', '.join(self._waiting_for)} …"

    def _table(self, outcome: Outcome) -> Table:
        table = _grid(*HEADINGS)
        table.columns[-1].justify = "right"
        for row in rows(outcome, is_narrow=self._console.width < WIDE):
            mark, _, visitor = row.cells[0].partition(" ")
            first = Text.assemble((mark, "green" if row.is_right else "bold red"), f" {visitor}")
            table.add_row(first, *map(Text, row.cells[1:]))
        return table

    def _print_hanging(self, mark: str, text: str, style: str) -> None:
        grid = Table.grid()
        grid.add_row(f"  {mark}", Text(text))
        self._console.print(grid, style=style)


def _grid(*headings: str) -> Table:
    """Return a table without lines, as wide as what is in it."""
    table = Table(*headings, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in table.columns:
        column.no_wrap = True
    return table
