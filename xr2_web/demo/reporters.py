"""The report as plain text and as JSON, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import click
import msgspec

from ..operations.tables import aligned
from .report import HEADINGS, document, heading, problems, rows, verdict
from .stage import Outcome


class TextReport:
    """Plain lines, for a file, a pipe, and where rich is not installed."""

    def waiting(self, frameworks: Sequence[str]) -> AbstractContextManager[None]:
        """Say once what is being done."""
        click.echo(f"Two visitors at once walk through {', '.join(frameworks)} …\n")
        return nullcontext()

    def outcome(self, outcome: Outcome) -> None:
        """Print a table, and what is wrong with it."""
        click.echo(", ".join(heading(outcome)))
        for line in aligned([HEADINGS, *(each.cells for each in rows(outcome))] if outcome.findings else []):
            click.echo(f"  {line}")
        for problem in problems(outcome):
            click.echo(f"  ✗ {problem}")
        for line in outcome.log:
            click.echo(f"  | {line}")
        click.echo()

    def summary(self, outcomes: Sequence[Outcome], *, seconds: float) -> None:
        """Print the verdict."""
        click.echo(verdict(outcomes, seconds=seconds))

    def addresses(self, outcomes: Sequence[Outcome]) -> None:
        """Print where everything is running."""
        click.echo("\nLeft running until Ctrl-C:")
        stages = [each.stage for each in outcomes if each.stage]
        table = [(each.example.framework, each.app_url) for each in stages]
        what_arrived = [("what arrived", each.xr2_url) for each in stages[:1]]
        for line in aligned([*table, *what_arrived]):
            click.echo(f"  {line}")


class JsonReport:
    """One document, and nothing else."""

    def waiting(self, frameworks: Sequence[str]) -> AbstractContextManager[None]:
        """Say nothing."""
        return nullcontext()

    def outcome(self, outcome: Outcome) -> None:
        """Say nothing yet."""

    def summary(self, outcomes: Sequence[Outcome], *, seconds: float) -> None:
        """Print the document."""
        encoded = msgspec.json.encode(document(outcomes, seconds=seconds))
        click.echo(msgspec.json.format(encoded, indent=2))

    def addresses(self, outcomes: Sequence[Outcome]) -> None:
        """Say nothing: they are in the document."""
