"""The tables of events as commands see them, over the connection that their outbox uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from django.db.models import Count, Min, QuerySet

from ..outbox import Entry
from ..outbox.rows import Dead, Row
from ..table.store import Letter, Sums, Tables
from .models import DeadLetter, Event

_KEPT = ("id", "trace_id", "event_name", "body", "made_at", "attempts")


class ModelTables(Tables):
    """Both models in one database; ``connected`` has the ORM use a connection for a block."""

    def __init__(self, alias: str, connected: Callable[[], AbstractContextManager[Any]]) -> None:
        self.name = f"the tables of events in the database {alias!r}"
        self._alias = alias
        self._connected = connected

    def sums(self) -> Mapping[str, Sums]:
        """Count what there is, by installation."""
        with self._connected():
            events = self._of(Event).values_list("installation").annotate(Count("id"), Min("made_at")).order_by()
            found = {owner: Sums(count, oldest, {}) for owner, count, oldest in events}
            letters = self._of(DeadLetter).values_list("installation", "reason").annotate(Count("id")).order_by()
            for owner, reason, count in letters:
                sums = found.get(owner, Sums())
                found[owner] = sums._replace(reasons={**sums.reasons, reason: count})
        return found

    def events(self, owner: str, after: int, limit: int) -> list[Row]:
        """Return events behind the one with the id ``after``."""
        with self._connected():
            rows = self._behind(Event, owner, after).values_list(*_KEPT)[:limit]
            return [Row(row[0], _entry(row), row[5]) for row in rows]

    def letters(self, owner: str, after: int, limit: int) -> list[Letter]:
        """Return dead letters behind the one with the id ``after``."""
        with self._connected():
            rows = self._behind(DeadLetter, owner, after).values_list(*_KEPT, "reason", "died_at")[:limit]
            return [Letter(row[0], Dead(_entry(row), *row[5:])) for row in rows]

    def forget(self, ids: Sequence[int]) -> int:
        """Remove events."""
        return self._delete(Event, ids)

    def drop(self, ids: Sequence[int]) -> int:
        """Remove dead letters."""
        return self._delete(DeadLetter, ids)

    def requeue(self, ids: Sequence[int]) -> int:
        """Make events of dead letters again."""
        with self._connected():
            return DeadLetter.objects.using(self._alias).filter(id__in=ids).requeue()

    def _delete(self, model: Any, ids: Sequence[int]) -> int:
        with self._connected():
            deleted: int = self._of(model).filter(id__in=ids)._raw_delete(self._alias)
        return deleted

    def _behind(self, model: Any, owner: str, after: int) -> QuerySet[Any]:
        rows = self._of(model).filter(id__gt=after).order_by("id")
        return rows.filter(installation=owner) if owner else rows

    def _of(self, model: Any) -> QuerySet[Any]:
        rows: QuerySet[Any] = model.objects.using(self._alias)
        return rows


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(row[1], row[2], bytes(row[3]), row[4])
