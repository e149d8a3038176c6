"""Two outboxes as one: what the first cannot take is kept by the second, and handed back when the first is well."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..interruptions import let_through
from . import Claim, Counts, Declined, Entry, Outbox, Paused, Put

if TYPE_CHECKING:
    from ..scope import Scope
    from .store import Store

logger = logging.getLogger("xr2_web")

LOOK_AGAIN = 1.0
"""Seconds for which an outbox that has failed is left in peace: a request should not wait for the same failure."""

HANDED_BACK = 100
"""Events that are handed back at a time; the courier has other things to do."""

CLOSED_WITHIN = 0.5
"""Seconds for which what would end with the process is handed back at its end."""


class Backed(Outbox):
    """``primary``, and ``spare`` for what it fails to take. Events leave from both.

    ``what`` names the primary, and ``instead`` what is done meanwhile, in the one warning that is given when it fails
    after it has worked.
    """

    def __init__(
        self,
        primary: Outbox,
        spare: Outbox,
        *,
        what: str,
        instead: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._spare = spare
        self._what = what
        self._instead = instead
        self._clock = clock
        self._is_well = True
        self._look_at = 0.0

    def put(self, entry: Entry) -> Put:
        """Take an event into the primary, else into the spare."""
        if self._is_usable():
            try:
                return self._primary.put(entry)
            except Declined:
                pass
            except Exception as exc:  # noqa: BLE001
                let_through(exc)
                self._failed(exc)
        return self._spare.put(entry)

    def enlist(self, entry: Entry, scope: Scope | None, at_commit: Callable[[], None]) -> bool:
        """Write an event into the transaction of the primary's own database."""
        return self._is_usable() and self._primary.enlist(entry, scope, at_commit)

    def has_heritage(self) -> bool:
        """Tell whether events may wait in either that this process has not made."""
        return self._spare.has_heritage() or self._primary.has_heritage()

    def claim(self) -> Claim | None:
        """Take the next event, from the spare first: what is there has waited for longer."""
        for outbox in self._both():
            try:
                claim = outbox.claim()
            except Exception as exc:
                if outbox is self._spare:
                    raise
                self._failed(exc)
            else:
                if claim is not None:
                    return claim._replace(ticket=(outbox, claim))
        return None

    def done(self, claim: Claim) -> None:
        """Forget an event."""
        outbox, inner = claim.ticket
        outbox.done(inner)

    def retry(self, claim: Claim, delay: float) -> None:
        """Put an event back."""
        outbox, inner = claim.ticket
        outbox.retry(inner, delay)

    def release(self, claim: Claim) -> None:
        """Put an event back that was not tried."""
        outbox, inner = claim.ticket
        outbox.release(inner)

    def bury(self, claim: Claim, reason: str) -> None:
        """Keep an event as a dead letter, where it is."""
        outbox, inner = claim.ticket
        outbox.bury(inner, reason)

    def keep_dead(self, entry: Entry, attempts: int, reason: str) -> None:
        """Keep a dead letter of an event that was delivered from elsewhere."""
        try:
            self._primary.keep_dead(entry, attempts, reason)
        except Exception as exc:  # noqa: BLE001
            self._failed(exc)
            self._spare.keep_dead(entry, attempts, reason)

    def next_due(self) -> float | None:
        """Return the seconds until an event is due in either."""
        dues = []
        for outbox in self._both():
            try:
                dues.append(outbox.next_due())
            except Exception as exc:
                if outbox is self._spare:
                    raise
                self._failed(exc)
        return min((due for due in dues if due is not None), default=None)

    def tend(self, paused: Paused | None) -> float | None:
        """Keep both houses, and hand back what the spare has taken meanwhile."""
        waits = [self._spare.tend(paused)]
        if self._is_usable():
            try:
                waits.append(self._primary.tend(paused))
                self._hand_back()
            except Exception as exc:  # noqa: BLE001
                self._failed(exc)
        waits.append(None if self._is_well else LOOK_AGAIN)
        return min((wait for wait in waits if wait is not None), default=None)

    def counts(self) -> Counts:
        """Count what is in both; of a primary that fails nothing is known."""
        here = self._spare.counts()
        try:
            there = self._primary.counts()
        except Exception as exc:  # noqa: BLE001
            self._failed(exc)
            return here
        return Counts(here.pending + there.pending, here.dead + there.dead)

    def at_risk(self) -> Counts:
        """Count what would end with this process, in both."""
        counts = [each.at_risk() for each in (self._primary, self._spare)]
        return Counts(sum(each.pending for each in counts), sum(each.dead for each in counts))

    def oldest(self) -> float | None:
        """Return when the oldest event of both was made."""
        oldest = [each.oldest() for each in self._both()]
        return min((each for each in oldest if each is not None), default=None)

    def adopt(self, until: float, *, others: bool) -> bool:
        """Take over what dead processes left, in both."""
        are_done = [each.adopt(until, others=others) for each in self._both()]
        return all(are_done)

    def stores(self, *, others: bool) -> Sequence[Store]:
        """Return the stores of both."""
        return [*self._primary.stores(others=others), *self._spare.stores(others=others)]

    def close(self) -> None:
        """Release both, and save what is in neither but in memory, if the primary is well by now."""
        try:
            self._spare.close()
            self._save()
        finally:
            self._primary.close()

    @property
    def is_well(self) -> bool:
        """Whether the primary did what it was asked when it was asked last."""
        return self._is_well

    def _both(self) -> tuple[Outbox, ...]:
        return (self._spare, self._primary) if self._is_usable() else (self._spare,)

    def _is_usable(self) -> bool:
        return self._is_well or self._clock() >= self._look_at

    def _hand_back(self) -> None:
        for _ in range(HANDED_BACK):
            if not self._hand_back_one():
                break
        if not self._is_well:
            self._primary.counts()  # with nothing to hand back it has shown nothing yet
            self._is_well = True
            logger.warning("xr2_web.outbox_well: %s takes events again", self._what)

    def _hand_back_one(self) -> bool:
        return self._hand_back_dead() or self._hand_back_event()

    def _hand_back_event(self) -> bool:
        claim = self._spare.give()
        if claim is None:
            return False
        try:
            is_back = self._primary.put(claim.entry) is not Put.FULL
        except Declined:
            is_back = False
        except Exception:
            self._spare.release(claim)
            raise
        if is_back:
            self._spare.done(claim)
        else:
            self._spare.release(claim)
        return is_back

    def _hand_back_dead(self) -> bool:
        letter = self._spare.give_dead()
        if letter is None:
            return False
        try:
            self._primary.keep_dead(letter.entry, letter.attempts, letter.reason)
        except Exception:
            self._spare.keep_dead(letter.entry, letter.attempts, letter.reason)
            raise
        return True

    def _save(self) -> None:
        end = self._clock() + CLOSED_WITHIN
        try:
            while any(self._spare.at_risk()) and self._clock() < end and self._hand_back_one():
                pass
        except Exception as exc:  # noqa: BLE001
            self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        self._look_at = self._clock() + LOOK_AGAIN
        if self._is_well:
            self._is_well = False
            logger.warning("xr2_web.outbox_failed: %s: %s; %s", self._what, _words(exc), self._instead)


def _words(exc: Exception) -> str:
    # The messages of other databases may quote what was to be written.
    return str(exc) if isinstance(exc, OSError | sqlite3.Error) else type(exc).__name__
