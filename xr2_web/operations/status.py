"""``status``: what waits, what is dead, and why nothing is sent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..outbox import Paused
from ..outbox.store import Place, Survey
from ..runtime import Runtime
from . import seen, tables, words
from .outcome import Outcome


def status(runtime: Runtime) -> Outcome:
    """Look at the outbox, and change nothing."""
    found = seen.surveys(runtime)
    return Outcome(_document(found, time.time()), lambda: _tell(found, time.time()))


def oldest(places: Sequence[Place]) -> float | None:
    """Return when the first event in all these places was made."""
    return min((each.oldest for each in places if each.oldest is not None), default=None)


def reasons(places: Sequence[Place]) -> list[tuple[str, int]]:
    """Return how many dead letters there are for each reason, the most frequent first."""
    total: Counter[str] = Counter()
    for each in places:
        total.update(each.reasons)
    return total.most_common()


def _paused(places: Sequence[Place]) -> Paused | None:
    return max((each.paused for each in places if each.paused), default=None)


def _document(found: Sequence[Survey], now: float) -> Mapping[str, Any]:
    ours = seen.places(found, is_ours=True)
    return {
        **_sums(ours, now),
        "reasons": dict(reasons(ours)),
        "places": [_place(each, now) for each in ours],
        "others": [_place(each, now) for each in seen.places(found, is_ours=False)],
        "stores": [
            {"name": each.name, "bytes": each.bytes, "left_alone": [alone._asdict() for alone in each.left_alone]}
            for each in found
        ],
    }


def _sums(places: Sequence[Place], now: float) -> dict[str, Any]:
    first, paused = oldest(places), _paused(places)
    return {
        "pending": sum(each.pending for each in places),
        "dead": sum(each.dead for each in places),
        "oldest": words.timestamp(first),
        "oldest_seconds": None if first is None else round(max(0.0, now - first), 3),
        "paused": paused and {"until": words.timestamp(paused.until), "why": paused.why},
    }


def _place(place: Place, now: float) -> dict[str, Any]:
    facts = {"name": place.name, "pid": place.pid, "host": place.host, "base_url": place.base_url}
    return {**facts, "is_alive": place.is_alive, **_sums([place], now)}


def _tell(found: Sequence[Survey], now: float) -> None:
    ours, others = seen.places(found, is_ours=True), seen.places(found, is_ours=False)
    _tell_sums(ours, now)
    if ours:
        click.echo()
        tables.show(("Where", "Pending", "Dead", "Oldest", "Paused"), _rows(ours, now))
    if causes := reasons(ours):
        click.echo()
        tables.show(("Dead", "Reason"), [(f"{count:,}", reason) for reason, count in causes])
    if others:
        click.echo("\nOf other installations (another server, or another key):")
        tables.show(("Where", "Pending", "Dead", "Oldest", "Paused"), _rows_of_others(others, now))
    for survey in found:
        room = "" if survey.bytes is None else f": {words.size(survey.bytes)}"
        click.echo(f"\n{survey.name}{room}")
        for alone in survey.left_alone:
            click.echo(f"  left alone: {alone.name} {alone.why}")


def _tell_sums(ours: Sequence[Place], now: float) -> None:
    sums = _sums(ours, now)
    since = f", the oldest for {words.age(sums['oldest_seconds'])}" if sums["oldest"] else ""
    click.echo(f"{sums['pending']:,} pending{since}; {words.many(sums['dead'], 'dead letter')}")
    if paused := _paused(ours):
        click.echo(f"Paused until {words.moment(paused.until)}: {paused.why}")


def _rows(places: Sequence[Place], now: float) -> list[tuple[str, ...]]:
    """Return a row for each living process or table, and one for all that the dead have left."""
    ended = [each for each in places if each.is_alive is False]
    rows = [_row(_who(each), [each], now) for each in places if each.is_alive is not False]
    return [*rows, _row(f"of processes that have ended ({len(ended):,})", ended, now)] if ended else rows


def _rows_of_others(places: Sequence[Place], now: float) -> list[tuple[str, ...]]:
    by_server: dict[str, list[Place]] = {}
    for each in places:
        by_server.setdefault(each.base_url or "of an unknown server", []).append(each)
    return [(f"{server}: {who}", *cells) for server, some in by_server.items() for who, *cells in _rows(some, now)]


def _row(who: str, places: Sequence[Place], now: float) -> tuple[str, ...]:
    sums = _sums(places, now)
    paused = _paused(places)
    until = f"until {words.moment(paused.until)}" if paused else ""
    return who, f"{sums['pending']:,}", f"{sums['dead']:,}", words.age(sums["oldest_seconds"]), until


def _who(place: Place) -> str:
    if place.is_alive is None:
        return place.name
    return f"process {place.pid} on {place.host}{'' if place.is_alive else ' (ended)'}"
