"""The page: what is served and what happened, rendered on the server and escaped."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .._version import __version__
from .journal import Journal
from .library import Catalog

TRACES_SHOWN = 200


def render(catalog: Catalog, told: Journal, *, base_url: str) -> str:
    """Return the page as HTML, with the newest traces first."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            base_url=base_url,
            catalog=catalog,
            traces=told["traces"][: -TRACES_SHOWN - 1 : -1],
            refused=told["refused"][: -TRACES_SHOWN - 1 : -1],
            trace_count=len(told["traces"]),
            version=__version__,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["clock_time"] = _clock_time
    environment.filters["amount"] = _amount
    environment.filters["json"] = _json
    return environment


def _clock_time(text: str) -> str:
    """Show an ISO 8601 time by the clock of this machine."""
    return datetime.fromisoformat(text).astimezone().strftime("%d %b %H:%M:%S")


def _amount(event: dict[str, Any]) -> str:
    """Show value and currency, either of which may be missing."""
    value = event["value"]
    if value is None:
        return event["currency"] or ""
    number = f"{value:,.2f}" if value == round(value, 2) and value % 1 else f"{value:,.15g}"
    return f"{number} {event['currency'] or ''}".rstrip()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
