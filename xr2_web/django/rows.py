"""The statements on the tables of events, through the ORM; over which connection, the caller sees to."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Any

from django.db import DataError, connections, transaction
from django.db.models import Expression, F, QuerySet

from ..outbox import Claim, Entry
from ..table.rows import Ticket
from .clock import DatabaseClock
from .models import DeadLetter, Event


class Rows:
    """The events of one installation in one database (``table.rows.Rows``)."""

    def __init__(self, installation: str, alias: str, *, clock: Callable[[], Expression | Any] = DatabaseClock) -> None:
        self.installation = installation
        self._alias = alias
        self._clock = clock

    def add(self, entry: Entry, gone: Collection[int] = ()) -> bool:
        """Write an event; False where one of its key waits that is not among the ``gone``."""
        if self._is_known(entry, gone):
            return False
        row = Event(installation=self.installation, due_at=self._clock(), **entry._asdict())
        self._events(Event).bulk_create([row])
        return True

    def exchange(self, gone: Mapping[int, str], most: int, lease: float) -> list[Claim]:
        """Forget the ``gone``, and take up to ``most`` events that are due for ``lease`` seconds."""
        # Without locks the update itself decides who gets a row, and a transaction around it would only hold it up.
        with transaction.atomic(using=self._alias) if self._skips_locked() else nullcontext():
            self.delete(gone)
            return self._take(most, lease)

    def first_due(self) -> float | None:
        """Return the seconds until an event is due or a lease ends, none where the table is empty."""
        wait = F("due_at") - self._clock()
        return self._events(Event).order_by("due_at").annotate(wait=wait).values_list("wait", flat=True).first()

    def hasten(self, further: float) -> None:
        """Have what is due in more than ``further`` seconds be due now."""
        late = self._events(Event).filter(due_at__gt=self._clock() + further)
        if late.exists():  # looked first: an update locks in MariaDB where visitors write, though it finds nothing
            late.update(due_at=self._clock())

    def delete(self, gone: Mapping[int, str]) -> None:
        """Forget events, given as the token by which each id was taken."""
        for token in set(gone.values()):
            ids = [row_id for row_id, each in gone.items() if each == token]
            self._events(Event).filter(id__in=ids, token=token)._raw_delete(self._alias)

    def put_back(self, tickets: Collection[Ticket]) -> None:
        """Let go of events that were taken in one go, as if they had not been."""
        token = {each.token for each in tickets}
        ids = [each.id for each in tickets]
        self._events(Event).filter(id__in=ids, token__in=token).update(token="", due_at=self._clock())

    def retry(self, claim: Claim, delay: float) -> None:
        """Let go of an event, to be tried again after ``delay`` seconds."""
        due_at = self._clock() + delay
        self._of(claim).update(token="", due_at=due_at, attempts=claim.attempts + 1)

    def bury(self, claim: Claim, reason: str) -> None:
        """Make a dead letter of an event."""
        with transaction.atomic(using=self._alias):
            if self._of(claim)._raw_delete(self._alias):
                self.keep_dead(claim.entry, claim.attempts + 1, reason)

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Write a dead letter."""
        kept = {**entry._asdict(), "installation": self.installation, "attempts": attempts}
        letters = self._events(DeadLetter)
        try:
            with transaction.atomic(using=self._alias):
                letters.bulk_create([DeadLetter(**kept, reason=reason, died_at=self._clock())])
        except (DataError, ValueError):  # NUL in PostgreSQL, four bytes in MariaDB's utf8mb3
            letters.bulk_create([DeadLetter(**kept, reason=ascii(reason), died_at=self._clock())])

    def prune_dead(self, age: float, most: int) -> None:
        """Forget dead letters that died ``age`` seconds ago, and the oldest above ``most``."""
        letters = self._events(DeadLetter)
        letters.filter(died_at__lt=self._clock() - age)._raw_delete(self._alias)
        above = letters.order_by("-id").values_list("id", flat=True)[most : most + 1].first()
        if above is not None:
            letters.filter(id__lte=above)._raw_delete(self._alias)

    def count(self, *, without: Collection[int] = (), most: int | None = None) -> int:
        """Count the events, no further than ``most``."""
        events = self._events(Event)
        if without:
            events = events.exclude(id__in=list(without))
        return events[:most].count()

    def commit(self) -> None:
        """Do nothing: each statement, and each block, has committed."""

    def count_dead(self) -> int:
        """Count the dead letters."""
        return self._events(DeadLetter).count()

    def oldest(self, *, without: Collection[int] = ()) -> float | None:
        """Return when the first event in the order of arrival was made."""
        events = self._events(Event).exclude(id__in=list(without)).order_by("id")
        return events.values_list("made_at", flat=True).first()

    def _is_known(self, entry: Entry, gone: Collection[int]) -> bool:
        key = {"trace_id": entry.trace_id, "event_name": entry.event_name}
        found = self._events(Event).filter(**key).values_list("id", "trace_id", "event_name")
        # Compared once more: MariaDB takes "Sign_Up" for "sign_up" by default, and would have us lose one of them.
        return any(row[1:] == entry[:2] and row[0] not in gone for row in found)

    def _events(self, model: Any) -> QuerySet[Any]:
        events: QuerySet[Any] = model.objects.using(self._alias).filter(installation=self.installation)
        return events

    def _of(self, claim: Claim) -> QuerySet[Any]:
        ticket: Ticket = claim.ticket
        return self._events(Event).filter(id=ticket.id, token=ticket.token)

    def _take(self, most: int, lease: float) -> list[Claim]:
        token, now = secrets.token_hex(8), self._clock()
        due = self._events(Event).filter(due_at__lte=now)
        free = due.select_for_update(skip_locked=True) if self._skips_locked() else due
        found = {row[0]: row for row in free.order_by("due_at", "id").values_list(*_CLAIMED)[:most]}
        if not found:
            return []
        taken = due.filter(id__in=list(found)).update(token=token, due_at=now + lease)
        ids: Collection[int] = found
        if taken < len(found):
            ids = set(self._events(Event).filter(id__in=list(found), token=token).values_list("id", flat=True))
        return [_claim(row, token) for row in found.values() if row[0] in ids]

    def _skips_locked(self) -> bool:
        return bool(connections[self._alias].features.has_select_for_update_skip_locked)


_CLAIMED = ("id", "trace_id", "event_name", "body", "made_at", "attempts", "token")


def _claim(row: tuple[Any, ...], token: str) -> Claim:
    row_id, trace_id, event_name, body, made_at, attempts, former = row
    # Whoever had it before may have sent it without noting so: no longer a first attempt.
    return Claim(Entry(trace_id, event_name, bytes(body), made_at), attempts + bool(former), Ticket(row_id, token))
