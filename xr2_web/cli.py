"""The command ``xr2-web``. What a subcommand needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ._version import __version__
from .errors import ConfigurationError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xr2-web")
def main() -> None:
    """Prompt conversion tracking for Python web apps."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--prompts",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with *.prompt files and events.toml; a sample where it is left out.",
)
@click.option("--ephemeral", is_flag=True, help="Keep nothing between runs.")
def dev(host: str, port: int, prompts: Path | None, ephemeral: bool) -> None:
    """Run a local xR2 to develop against, with a page that shows what arrives."""
    with _explained(extra="dev"):
        from .devserver import command

        command.serve(host=host, port=port, prompts=prompts, ephemeral=ephemeral)


@main.command()
@click.option(
    "--framework",
    type=click.Choice(["django", "flask", "starlette", "fastapi", "all"]),
    default="all",
    show_default=True,
    help="Which example to run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
def demo(framework: str, as_json: bool, keep: bool) -> None:
    """Run the example apps, lead two visitors through each, and show what arrives at xR2."""
    with _explained(extra="demo"):
        from .demo import command

        code = command.run(framework, as_json=as_json, keep=keep)
    raise SystemExit(code)


@contextmanager
def _explained(*, extra: str) -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 1; ``extra`` brings what may be missing."""
    try:
        yield
    except ConfigurationError as exc:
        raise click.ClickException(str(exc)) from exc
    except ModuleNotFoundError as exc:
        if exc.name and exc.name.startswith("xr2_web"):
            raise
        raise click.ClickException(f"{exc.name} is missing: pip install 'xr2-web[{extra}]'") from exc
