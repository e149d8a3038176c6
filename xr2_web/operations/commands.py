"""The tree of commands, which is the same wherever it is mounted. What a command needs is imported when it runs."""

from __future__ import annotations

import errno
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from ..errors import Xr2Error
from .outcome import Outcome, echo_json

if TYPE_CHECKING:
    from ..runtime import Runtime

FindRuntime: TypeAlias = Callable[[], "Runtime"]

_FINDER = "xr2_web.find_runtime"


def mounted(find_runtime: FindRuntime) -> click.Group:
    """Return the group ``xr2`` of a framework's own command line, which works with that framework's settings."""

    @click.group("xr2", context_settings={"help_option_names": ["-h", "--help"]})
    @click.pass_context
    def xr2(context: click.Context) -> None:
        """Prompt conversion tracking: what waits to be sent to xR2, and what could not be."""
        context.meta[_FINDER] = find_runtime

    xr2.add_command(outbox)
    return xr2


def run(arguments: Sequence[str], find_runtime: FindRuntime, *, name: str) -> int:
    """Run a command for a framework that has no click, and return the exit code."""
    try:
        code = mounted(find_runtime).main(list(arguments), prog_name=name, standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except click.Abort:
        return 1
    except SystemExit as exc:
        return int(exc.code or 0)
    return code if isinstance(code, int) else 0


@click.group(short_help="Look after the events that wait to be sent.")
@click.option(
    "--app",
    metavar="MODULE",
    help="Import this module of the application first: its settings count then, and what it says of OUTBOX.",
)
@click.pass_context
def outbox(context: click.Context, app: str | None) -> None:
    """Look after the events that wait to be sent to xR2, while the application runs."""
    if app is not None:
        from ..default import default

        _import(app.partition(":")[0])
        context.meta[_FINDER] = default


def _command(group: click.Group, name: str) -> Callable[[Callable[..., Outcome | None]], click.Command]:
    """Return a decorator that makes a command: its function is called with the runtime, and returns what to tell."""

    def decorate(function: Callable[..., Outcome | None]) -> click.Command:
        @functools.wraps(function)
        def command(*, as_json: bool, **options: Any) -> None:
            try:
                outcome = function(_runtime(), as_json=as_json, **options)
            except Exception as exc:
                if not _is_explained(exc):
                    raise
                _fail(str(exc), as_json=as_json)
            if outcome is not None:
                _tell(outcome, as_json=as_json)

        flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
        return group.command(name)(flag(command))

    return decorate


def _runtime() -> Runtime:
    find: FindRuntime = click.get_current_context().meta.get(_FINDER, _from_environment)
    return find()


def _from_environment() -> Runtime:
    from ..runtime import Runtime
    from ..settings import environment, load

    return Runtime(load(environment()))


def _import(module: str) -> None:
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except Exception as exc:
        raise click.BadParameter(
            f"{module} cannot be imported: {type(exc).__name__}: {exc}", param_hint="--app"
        ) from exc


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        echo_json(outcome.document)
    else:
        outcome.tell()
    if not outcome.is_right:
        raise SystemExit(1)


def _is_explained(exc: Exception) -> bool:
    """Tell whether a message is for the user: a mistake in the settings, a disk that fails. No defect, no lost pipe."""
    import sqlite3

    from ..outbox import Declined
    from ..outbox.store import Busy, Failed

    return isinstance(exc, Xr2Error | Busy | Declined | Failed | sqlite3.Error) or (
        isinstance(exc, OSError) and exc.errno != errno.EPIPE
    )


def _fail(message: str, *, as_json: bool) -> None:
    if not as_json:
        raise click.ClickException(message)
    echo_json({"error": message})
    raise SystemExit(1)


_others = click.option(
    "--others", is_flag=True, help="Also what belongs to other installations: another server, or another key."
)


@_command(outbox, "status")
def _status(runtime: Runtime, *, as_json: bool) -> Outcome:
    """Show what waits, what is dead, and why nothing is sent."""
    from .status import status

    return status(runtime)


@_command(outbox, "drain")
@click.option("--forever", is_flag=True, help="Go on until SIGTERM or Ctrl-C.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Also what was to leave under another key or for another server: it is sent by the present settings.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End when nothing has left for so long.  [default: 15, or 75 with a RATE_LIMIT or a table]",
)
def _drain(runtime: Runtime, *, as_json: bool, forever: bool, adopt: bool, patience: float | None) -> Outcome:
    """Deliver what processes that are no more have left.

    Nothing is taken from living processes. The exit code is 1 if something is left.
    """
    from .drain import drain

    return drain(runtime, forever=forever, others=adopt, patience=patience, is_quiet=as_json)


@outbox.group()
def dead() -> None:
    """Dead letters: events that xR2 has refused, with its reasons."""


_named = click.option("--event", "event_name", metavar="NAME", help="Those of this event name.")
_because = click.option("--reason", metavar="TEXT", help="Those whose reason has this text in it.")
_of_traces = click.argument("trace_ids", metavar="[TRACE_ID]...", nargs=-1)
_all = click.option("--all", "is_all", is_flag=True, help="All of them.")


@_command(dead, "list")
@_of_traces
@_named
@_because
@click.option("--most", default=50, show_default=True, type=click.IntRange(min=1), help="How many lines to print.")
@_others
def _list(
    runtime: Runtime,
    *,
    as_json: bool,
    trace_ids: Sequence[str],
    event_name: str | None,
    reason: str | None,
    most: int,
    others: bool,
) -> Outcome:
    """List dead letters, the latest first."""
    from .letters import Selection, list_dead

    return list_dead(runtime, Selection(trace_ids, event_name, reason), most=most, others=others)


@_command(dead, "show")
@click.argument("trace_ids", metavar="TRACE_ID...", nargs=-1, required=True)
@_named
@_others
def _show(
    runtime: Runtime, *, as_json: bool, trace_ids: Sequence[str], event_name: str | None, others: bool
) -> Outcome:
    """Show dead letters whole, with what was to be sent."""
    from .letters import Selection, show_dead

    return show_dead(runtime, Selection(trace_ids, event_name), others=others)


@_command(dead, "retry")
@_of_traces
@_named
@_because
@_all
@_others
def _retry(runtime: Runtime, *, as_json: bool, others: bool, **selectors: Any) -> Outcome:
    """Have dead letters sent once more."""
    from .letters import Selection, retry_dead

    return retry_dead(runtime, Selection(**_required(**selectors)), others=others)


@_command(dead, "drop")
@_of_traces
@_named
@_because
@_all
@_others
def _drop(runtime: Runtime, *, as_json: bool, others: bool, **selectors: Any) -> Outcome:
    """Remove dead letters for good."""
    from .letters import Selection, drop_dead

    return drop_dead(runtime, Selection(**_required(**selectors)), others=others)


@_command(outbox, "forget")
@click.option("--user", "users", metavar="ID", multiple=True, required=True, help="Whose events; may be repeated.")
@_others
def _forget(runtime: Runtime, *, as_json: bool, users: Sequence[str], others: bool) -> Outcome:
    """Remove all that waits, and all dead letters, of users.

    What is under way at that moment still arrives; what has arrived is to be removed at xR2. An id that was hashed,
    since it has an @ in it, is found with the signing key of the application: with xr2-web that is XR2_SECRET_KEY.
    """
    from .letters import forget

    if _FINDER not in click.get_current_context().meta and "XR2_SECRET_KEY" not in os.environ:
        personal = [user for user in users if "@" in user]
        if personal:
            click.secho(_NO_SECRET, fg="yellow", err=True)
    return forget(runtime, users, others=others, is_quiet=as_json)


@_command(outbox, "export")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file; else standard output.")
@_others
def _export(runtime: Runtime, *, as_json: bool, output: Path | None, others: bool) -> Outcome | None:
    """Write all that waits and all that is dead, as a line of JSON each, or with --json as one document."""
    from .letters import export

    return export(runtime, output=output, is_document=as_json, others=others, is_quiet=as_json)


def _required(*, is_all: bool, trace_ids: Sequence[str], event_name: str | None, reason: str | None) -> dict[str, Any]:
    """Return what dead letters are selected by; not to say it is a mistake, and saying --all beside it another."""
    selectors = {"trace_ids": trace_ids, "event_name": event_name, "reason": reason}
    if is_all is any(selectors.values()):
        raise click.UsageError("say which: trace ids, --event, --reason, or else --all")
    return selectors


_NO_SECRET = (
    "XR2_SECRET_KEY is not set: ids with an @ are looked for by the hash that the API key gives. Where the application "
    "has a secret key, use manage.py xr2 or flask xr2."
)
