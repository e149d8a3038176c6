"""The command ``xr2-web``. What a subcommand needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ._version import __version__
from .errors import ConfigurationError
from .operations.commands import outbox


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xr2-web")
def main() -> None:
    """Prompt conversion tracking for Python web apps."""


main.add_command(outbox)


@main.command(short_help="Run a local xR2 to develop against.")
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
@click.option(
    "--chaos",
    metavar="SPEC",
    help="What breaks and how often, for example 429:0.2,slow:0.1:2s,reset:0.05,silent:0.05,quota:0.1,revoked:0.1.",
)
@click.option(
    "--daily-quota", metavar="N", type=click.IntRange(min=1), help="Prompt fetches that a key has each day, then 429."
)
@click.option(
    "--ip-limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Requests that an address has each minute; beyond, it is refused for 300 s.",
)
def dev(
    host: str,
    port: int,
    prompts: Path | None,
    ephemeral: bool,
    chaos: str | None,
    daily_quota: int | None,
    ip_limit: int | None,
) -> None:
    """Run a local xR2 to develop against, with a page that shows what arrives."""
    with _explained(extra="dev"):
        from .devserver import command

        command.serve(
            host=host,
            port=port,
            prompts=prompts,
            ephemeral=ephemeral,
            faults=chaos,
            daily_quota=daily_quota,
            ip_limit=ip_limit,
        )


@main.group()
def prompts() -> None:
    """Prompts as files, for the local xR2."""


@prompts.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--to",
    metavar="DIR",
    default="prompts",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to; made where it is missing.",
)
@click.option("--force", is_flag=True, help="Replace files that are there already.")
def import_prompts(files: tuple[Path, ...], to: Path, force: bool) -> None:
    """Make prompt files of Prompty's .prompty, dotprompt's .prompt and of YAML."""
    with _explained(extra="dev"):
        from .devserver import import_command

        code = import_command.run(files, to=to, force=force)
    raise SystemExit(code)


@main.command(short_help="Run the example apps with two visitors each.")
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
