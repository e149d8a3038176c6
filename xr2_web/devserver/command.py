"""The command ``xr2-web dev``: put the parts together, and say where they are."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import click

from ..errors import ConfigurationError
from . import serving
from .app import create_app
from .chaos import Chaos, parse
from .library import SAMPLE, Library
from .limits import Limits
from .store import Store


def serve(
    *,
    host: str,
    port: int,
    prompts: Path | None,
    ephemeral: bool,
    faults: str | None = None,
    daily_quota: int | None = None,
    ip_limit: int | None = None,
) -> NoReturn:
    """Serve until a signal ends it; ``faults`` is what breaks, in the form of ``chaos.parse``.

    Raises ``ConfigurationError`` where ``faults`` is wrong, or where the port or the state cannot be had.

    Only the two lines of environment go to stdout, as soon as the socket listens.
    """
    chaos = Chaos(parse(faults)) if faults is not None else Chaos()
    library = Library(prompts or SAMPLE, report=_warn)
    with serving.listen(host, port) as listener, closing(_open_store(library.folder, ephemeral)) as store:
        hosts = serving.allowed_hosts(listener)
        limits = Limits(daily_quota, ip_limit)

        def announce() -> None:
            url = serving.base_url(listener)
            slugs = ", ".join(library.catalog().prompts) or "no prompts"
            click.echo(f"The local xR2 serves {slugs} from {prompts or 'its sample'}. For your app:", err=True)
            click.echo(f"XR2_BASE_URL={url}\nXR2_API_KEY=xr2_dev_local")
            click.echo(f"What arrives is shown at {url}/ - Ctrl-C ends this.", err=True)
            if faults is not None:
                _warn(f"It breaks on purpose: {faults}")
            if told := str(limits):
                _warn(f"It limits {told}")
            if hosts is None:
                _warn("Whoever reaches this address can read that page and steer this server.")

        app = create_app(library, store=store, hosts=hosts, chaos=chaos, limits=limits)
        serving.run(app, listener, announce=announce)


def _open_store(folder: Path, ephemeral: bool) -> Store:
    if ephemeral:
        return Store()
    where = ""
    try:
        path = _state_file(folder)
        where = f" in {path}"
        return Store(path)
    except (OSError, sqlite3.Error) as exc:
        raise ConfigurationError([f"the state cannot be kept{where}: {exc}; --ephemeral keeps none"]) from exc


def _state_file(prompts: Path) -> Path:
    root = os.environ.get("XDG_STATE_HOME")
    folder = (Path(root) if root else Path.home() / ".local" / "state") / "xr2-web"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder / f"local-{hashlib.sha1(os.fsencode(prompts.resolve())).hexdigest()[:8]}.sqlite3"


def _warn(message: str) -> None:
    click.secho(message, fg="yellow", err=True)
