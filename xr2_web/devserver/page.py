"""The templates of the pages, and how they write times, amounts and rates. Everything is escaped."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .._version import __version__
from .duration import day_and_time


def render(template: str, **values: Any) -> str:
    """Return a template of ``templates/`` with its values filled in."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals["version"] = __version__
    environment.filters.update(
        clock_time=_clock_time,
        day_and_time=day_and_time,
        iso=_iso,
        amount=_amount,
        money=_money,
        percent=_percent,
        json=_json,
    )
    return environment


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat()


def _clock_time(moment: float) -> str:
    """Show seconds since the epoch by the clock of this machine, with the day where it is not today."""
    shown = datetime.fromtimestamp(moment)
    return shown.strftime("%H:%M:%S" if shown.date() == datetime.now().date() else "%d %b %H:%M:%S")


def _amount(event: Any) -> str:
    """Show value and currency, either of which may be missing."""
    if event.value is None:
        return event.currency or ""
    return _money(event.value, event.currency)


def _money(value: float, currency: str | None) -> str:
    rounded = round(value, 2)
    is_whole_cents = abs(value - rounded) < 1e-9 * max(1.0, abs(value))
    number = f"{rounded:,.2f}" if is_whole_cents and rounded % 1 else f"{value:,.15g}"
    return f"{number} {currency or ''}".rstrip()


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
