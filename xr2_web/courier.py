"""Empties the outbox from threads of its own, and looks after it.

``run_once`` is the whole of it; the threads only call it. They are plain daemon threads over blocking sockets:
at interpreter exit no thread can be started any more, and neither executors nor an event loop work.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from typing import Protocol

from .abreast import STUCK, Pace
from .crew import Crew, Sleepers
from .failures import tell_failed
from .forks import is_before_fork
from .models import Flushed
from .outbox import Claim, Outbox, Paused
from .pacing import Chance

SEND_TIMEOUT = 10.0
NAP = 0.02
"""Seconds that a thread without work looks away before it asks to be woken: waking it costs a request more than
writing its event down, and a busy site would do it for each."""

TENDED_AFTER = 1.0
"""Seconds after work within which the outbox is looked after, however long it wanted to be left alone before."""

COUNTED_WITHIN = 0.5
"""Seconds that who stops waits at the most until it is known how many events are left."""

LOOKED_EVERY = 0.1
"""Seconds after which who waits for the last event looks again."""


class Work(Protocol):
    """What the threads do: take an event, deliver it."""

    delivered: int
    refused: int

    def take(self, until: float) -> Claim | float | None:
        """Claim an event, or return the seconds after which to come back, None when nothing waits."""

    def deliver(self, claim: Claim, until: float) -> None:
        """Deliver a claimed event, by ``until`` if possible."""

    def give_back(self, claim: Claim) -> None:
        """Leave a claimed event to whoever comes next."""

    def paused(self) -> Paused | None:
        """Say until when nothing is sent, and why."""

    def close(self) -> None:
        """Release what is held."""


class Courier:
    """One for each process; started by the first event, bounded at exit.

    While the server answers at once a single thread delivers, and another one watches that it goes on. Threads work
    side by side where it is the waiting for answers that takes the time, or where one does not come.
    """

    def __init__(self, outbox: Outbox, work: Work, *, concurrency: int, chance: Chance) -> None:
        self._pid = os.getpid()
        self._outbox = outbox
        self._work = work
        self._concurrency = concurrency
        self._chance = chance
        self._crew = Crew(self._run)
        self._awake = self._crew.awake
        self._is_watched = False
        self._finished = 0
        self._pace = Pace()
        self._wakes = self._flushing = 0
        self._stop_at: float | None = None
        self._tend_at = -math.inf
        self._places = deque([None] * concurrency)
        """A place for each event that may be under way."""
        self._tending = threading.Lock()
        self._settled = Sleepers()
        self._counted: int | None = None
        self._is_counted = threading.Event()

    def run_once(self) -> float | None:
        """Deliver one event that is due.

        Returns the seconds after which to come back: 0 when there may be more to do, None when nothing waits.
        """
        self._tend()
        try:
            self._places.pop()
        except IndexError:  # this is the thread that looks after the outbox while all others wait for answers
            return None
        try:
            return self._work_once()
        finally:
            self._places.append(None)

    def _work_once(self) -> float | None:
        taken = self._work.take(self._send_until())
        if taken is not None:
            # What becomes of it is to be noted, and what it waits for.
            self._tend_at = min(self._tend_at, self._chance.monotonic() + TENDED_AFTER)
        if not isinstance(taken, Claim):
            return taken
        try:
            is_alone = self._is_alone()
            self._call_for_help(is_alone)
        except BaseException:
            self._work.give_back(taken)
            raise
        if self._is_copy():
            return None
        began = self._chance.monotonic()
        self._work.deliver(taken, self._send_until())
        self._finished += 1
        now = self._chance.monotonic()
        was_alone = is_alone and self._is_alone()
        self._pace.took(now - began, under_way=self._under_way(), was_alone=was_alone, now=now)
        if self._flushing and not self._outbox.counts().pending:
            self._settled.call_all()
        return 0.0

    def wake(self) -> None:
        """Say that an event was put; costs little when the threads are awake anyway."""
        self._wakes += 1
        if self._awake and self._pace.is_quick():
            return  # who is awake looks again before it rests
        if not self._crew.idle.call_one() and not self._crew:
            self._start_thread()

    def paused(self) -> Paused | None:
        """Say until when nothing is sent, and why."""
        return self._work.paused()

    def flush(self, timeout: float) -> Flushed:
        """Wait up to ``timeout`` seconds until nothing waits in the outbox, and say what became of it."""
        delivered, refused = self._work.delivered, self._work.refused
        end = self._chance.monotonic() + timeout
        self._flushing += 1
        try:
            if not self._crew:
                self._start_thread()
            self._crew.call_all()
            # Some leave without a word: what expires, and what a command forgets.
            while (left := end - self._chance.monotonic()) > 0 and self._settled.rest(
                min(left, LOOKED_EVERY), unless=self._is_settled
            ):
                pass
        finally:
            self._flushing -= 1
        left_over = self._outbox.counts().pending
        return Flushed(self._work.delivered - delivered, self._work.refused - refused, left_over)

    def stop(self, timeout: float) -> int:
        """Deliver what can be delivered in ``timeout`` seconds, stop, and return how many events are left.

        An outbox may hang. So the threads ask it; where they hear nothing in time, it is what was put here, less what
        has ended.
        """
        threads = self._crew.dismiss()
        self._stop_at = self._chance.monotonic() + timeout
        self._crew.call_all()
        for thread in threads:
            thread.join(max(0.0, self._stop_at - self._chance.monotonic()))
        if threads:
            self._is_counted.wait(COUNTED_WITHIN)
        elif self._wakes:  # no thread could be started
            self._deliver_here()
        # Under a thread that is still sending it would leave a socket open; then it is closed when it is collected.
        if not any(thread.is_alive() for thread in threads):
            self._work.close()
        known = self._wakes if self._counted is None else self._counted
        return max(0, known - self._ended())

    def _deliver_here(self) -> None:
        try:
            while self._may_go_on() and self.run_once() == 0.0:
                pass
        except Exception as exc:  # noqa: BLE001
            tell_failed("courier_failed", exc)
        self._count()

    def _ended(self) -> int:
        return self._work.delivered + self._work.refused

    def _count(self) -> None:
        """Note how many events are left; those that end from now on are taken off."""
        try:
            self._counted = self._outbox.counts().pending + self._ended()
        except Exception as exc:  # noqa: BLE001
            tell_failed("courier_failed", exc)
        self._is_counted.set()

    def _may_go_on(self) -> bool:
        return not self._is_copy() and (self._stop_at is None or self._chance.monotonic() < self._stop_at)

    def _is_copy(self) -> bool:
        """Tell whether this is a forked child, where gevent's threads live on; the events are its parent's to send."""
        return self._pid != os.getpid()

    def _send_until(self) -> float:
        until = self._chance.monotonic() + SEND_TIMEOUT
        return until if self._stop_at is None else min(until, self._stop_at)

    def _tend(self) -> None:
        if self._chance.monotonic() < self._tend_at or self._stop_at is not None or not self._tending.acquire(False):
            return
        try:
            # If it fails, which may not keep events from being sent.
            self._tend_at = self._chance.monotonic() + TENDED_AFTER
            wait = self._outbox.tend(self._work.paused())
            self._tend_at = math.inf if wait is None else self._chance.monotonic() + wait
        finally:
            self._tending.release()

    def _start_thread(self) -> None:
        if not is_before_fork():
            # One more than may send: whatever the server does, the outbox is looked after.
            self._crew.grow(self._concurrency + 1)

    def _run(self) -> None:
        self._work_on()
        self._count()

    def _work_on(self) -> None:
        has_worked = False
        while self._may_go_on():
            wakes = self._wakes
            try:
                if self._stood_by():
                    continue
                wait = self.run_once()
            except Exception as exc:  # noqa: BLE001
                tell_failed("courier_failed", exc)
                wait = 1.0
            if wait == 0.0:
                has_worked = True
            elif self._stop_at is not None:
                return
            elif has_worked:
                has_worked = False
                self._crew.aside.rest(NAP, unless=self._is_called_off)
            else:
                self._rest(wait, wakes)
        if self._is_copy():
            # It must not end: the interpreter has forgotten it at the fork, and fails to delete it.
            threading.Event().wait()

    def _is_called_off(self) -> bool:
        return self._stop_at is not None or self._flushing > 0

    def _rest(self, wait: float | None, wakes: int) -> None:
        until_tending = max(0.0, self._tend_at - self._chance.monotonic())
        if until_tending < math.inf:
            wait = until_tending if wait is None else min(wait, until_tending)
        # Counted as idle first and looked again then: an event put in between is not overlooked. Nor is a stop.
        self._crew.sleep(
            self._crew.idle if self._places else self._crew.aside,
            wait,
            unless=lambda: self._stop_at is not None or self._wakes != wakes,
        )

    def _stood_by(self) -> bool:
        """Rest while another thread keeps up, one of us with an eye on it; False where this one is needed."""
        if self._stop_at is not None or not self._pace.is_quick() or not self._crew.is_spared():
            return False
        is_watch, self._is_watched = not self._is_watched, True
        finished = self._finished
        try:
            self._crew.sleep(self._crew.idle, STUCK if is_watch else None, unless=lambda: self._stop_at is not None)
        finally:
            self._is_watched = self._is_watched and not is_watch
        if is_watch:
            if self._finished == finished and self._outbox.next_due() == 0.0:
                self._pace.got_stuck()
            self._tend()
        return True

    def _is_settled(self) -> bool:
        return not self._outbox.counts().pending

    def _under_way(self) -> int:
        return self._concurrency - len(self._places)

    def _is_alone(self) -> bool:
        return self._under_way() == 1

    def _call_for_help(self, is_alone: bool) -> None:
        """Have a thread at hand for the next event, where there are threads at all: this one waits for an answer."""
        if not self._crew:
            return
        if not self._crew.idle:
            self._start_thread()
        elif not self._is_watched if is_alone and self._pace.is_quick() else self._outbox.next_due() == 0.0:
            self._crew.idle.call_one()
