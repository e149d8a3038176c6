"""The tables of ``OUTBOX = "database"``: events that wait, and dead letters.

Both are written without signals, by ``rows``. Times are seconds since the epoch; all but ``made_at``, the sender's
own, by the clock of the database.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.db import models, transaction

from ..values import EVENT_NAME_LENGTH, TRACE_ID_LENGTH
from .clock import DatabaseClock


class Kept(models.Model):
    """What is known of an event wherever it is kept."""

    installation: models.CharField[str, str] = models.CharField(max_length=12)
    """A short hash of the server and the key it was made for: it is never sent with another."""
    trace_id: models.CharField[str, str] = models.CharField(max_length=TRACE_ID_LENGTH)
    event_name: models.CharField[str, str] = models.CharField(max_length=EVENT_NAME_LENGTH)
    body: models.BinaryField[bytes, bytes] = models.BinaryField()
    made_at: models.FloatField[float, float] = models.FloatField()
    attempts: models.IntegerField[int, int] = models.IntegerField(default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.event_name} ({self.trace_id})"

    @property
    def readable_body(self) -> str:
        """The body as people read JSON."""
        text = bytes(self.body).decode(errors="replace")
        try:
            return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except ValueError:
            return text


class Event(Kept):
    """An event that waits. One that a courier has taken is due again when its lease ends."""

    due_at: models.FloatField[Any, float] = models.FloatField()
    token: models.CharField[str, str] = models.CharField(max_length=16, blank=True)
    """Who has taken it last; empty where nobody has, or it was put back."""

    class Meta:
        verbose_name = "waiting event"
        # No unique key: its check would wait for the end of another visitor's transaction.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["installation", "due_at", "id"], name="xr2_web_event_due"),
            models.Index(fields=["trace_id"], name="xr2_web_event_trace"),
        ]


class DeadLetters(models.QuerySet["DeadLetter"]):
    """Dead letters, and what can be done about them."""

    def requeue(self) -> int:
        """Have them tried again as new events; return how many there were."""
        return sum(_requeue(letter, self.db) for letter in self)


class DeadLetter(Kept):
    """An event that xR2 has refused, and why."""

    reason: models.TextField[str, str] = models.TextField()
    died_at: models.FloatField[Any, float] = models.FloatField()

    objects: ClassVar[DeadLetters] = DeadLetters.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = "dead letter"


def _requeue(letter: DeadLetter, alias: str) -> int:
    with transaction.atomic(using=alias):
        # Of two who do this at once only one finds it.
        found = DeadLetter.objects.using(alias).filter(pk=letter.pk)._raw_delete(alias)
        kept = {field.name: getattr(letter, field.name) for field in Kept._meta.fields if field.name != "attempts"}
        Event.objects.using(alias).bulk_create([Event(**kept, due_at=DatabaseClock())] * found)
    return found
