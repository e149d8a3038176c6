"""What a command has to tell, for people and as one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import click


class Outcome(NamedTuple):
    """The result of a command: its document, what prints it for people, and whether all is as it should be."""

    document: Mapping[str, object]
    tell: Callable[[], None]
    is_right: bool = True


def echo_json(document: object) -> None:
    """Print a document, and nothing else."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def tell_undone(undone: tuple[str, ...]) -> None:
    """Say what was not done, and by whom."""
    for each in undone:
        click.secho(f"Not done: {each}", fg="red", err=True)
