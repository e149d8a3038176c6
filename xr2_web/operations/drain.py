"""``drain``: take over what processes that are no more have left, and deliver it."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event

import click

from ..courier import SEND_TIMEOUT
from ..outbox import Paused
from ..outbox.store import Survey
from ..process import Process
from ..runtime import Runtime
from . import seen, words
from .outcome import Outcome
from .progress import Watch, watched

TICK = 0.1
LOOKED_EVERY = 2.0
"""Seconds between looks for what has been left meanwhile."""

ADOPTION_SLICE = 0.5
LONGEST_WAIT = 60.0
"""Seconds for which the request budget may hold everything back, and a row of a table belong to who is no more."""

ENDINGS = ("delivered", "refused", "expired")
"""The outcomes after which an event waits no more."""


def drain(
    runtime: Runtime,
    *,
    forever: bool,
    others: bool,
    patience: float | None,
    is_quiet: bool,
    obeys_signals: bool = True,
) -> Outcome:
    """Deliver until nothing is left, or until nothing has left for ``patience`` seconds.

    ``forever`` goes on until SIGTERM or SIGINT, which end it in any case, within SHUTDOWN_TIMEOUT, where it
    ``obeys_signals`` and not somebody around it. ``others`` takes
    over what was to leave for another server or under another key, too, and sends it by the present settings.
    """
    with seen.stores(runtime):
        pass  # else there is nothing to drain, and it says why
    with _stopping(obeys_signals) as stop, watched("Delivering", is_quiet=is_quiet) as watch:
        process = Process(runtime.settings, count=runtime.count, chance=runtime.chance)
        try:
            work = _Work(runtime, process, others=others, watch=watch)
            work.go_on(stop, math.inf if forever else _patience(runtime, patience))
        finally:
            process.close(runtime.settings.shutdown_timeout)
    return _outcome(runtime, work.paused, others=others, forever=forever)


class _Work:
    """The loop of the command's own thread; the courier's threads deliver."""

    def __init__(self, runtime: Runtime, process: Process, *, others: bool, watch: Watch) -> None:
        self.paused: Paused | None = None
        """The last pause that was seen."""
        self._runtime = runtime
        self._process = process
        self._others = others
        self._watch = watch
        self._clock = runtime.chance.monotonic
        self._look_at = -math.inf

    def go_on(self, stop: Event, patience: float) -> None:
        """Go on until nothing is left, nothing leaves any more, or ``stop`` is set."""
        ended, since = -1, self._clock()
        while not stop.is_set():
            is_all_taken = self._look()
            pending = self._process.outbox.counts().pending
            if pending:
                self._process.courier.wake()
            elif is_all_taken and patience < math.inf:
                return
            if (now_ended := self._ended()) != ended:
                ended, since = now_ended, self._clock()
            paused = self._process.courier.paused()
            self.paused = paused or self.paused
            self._watch(ended, ended + pending, _words(paused))
            if pending and self._is_in_vain(paused, patience - (self._clock() - since)):
                return
            stop.wait(TICK if is_all_taken else 0)

    def _look(self) -> bool:
        """Take over what is left, a part at a time; True where that was all."""
        if self._clock() < self._look_at:
            return True
        is_all = self._process.outbox.adopt(self._clock() + ADOPTION_SLICE, others=self._others)
        # Where this outbox is full, the rest has to wait until some has left.
        is_full = self._process.outbox.counts().pending >= self._runtime.settings.outbox_max_events
        self._look_at = self._clock() + (LOOKED_EVERY if is_all else TICK if is_full else 0)
        return is_all

    def _ended(self) -> int:
        counts = self._runtime.counts
        return sum(counts.get(each, 0) for each in ENDINGS)

    def _is_in_vain(self, paused: Paused | None, patience: float) -> bool:
        return patience <= 0 or (paused is not None and paused.until - self._runtime.chance.wall() > patience)


def _patience(runtime: Runtime, given: float | None) -> float:
    if given is not None:
        return given
    chosen = runtime.settings
    return SEND_TIMEOUT + 5 + (LONGEST_WAIT if chosen.rate_limit or chosen.outbox == "database" else 0)


@contextmanager
def _stopping(obeys_signals: bool) -> Iterator[Event]:
    """Yield what SIGTERM and SIGINT set, for as long as this lasts."""
    stop = Event()
    if not obeys_signals or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)


def _outcome(runtime: Runtime, paused: Paused | None, *, others: bool, forever: bool) -> Outcome:
    left, untouched = _left(seen.surveys(runtime), others=others)
    counts = {name: runtime.counts.get(name, 0) for name in ENDINGS}
    document = {
        **counts,
        "left": left,
        "left_alone": untouched,
        "paused": paused and {"until": words.timestamp(paused.until), "why": paused.why},
    }

    def tell() -> None:
        click.echo(", ".join(f"{count:,} {name}" for name, count in {**counts, "left": left}.items()))
        if left and paused:
            click.echo(f"The last pause, until {words.moment(paused.until)}: {paused.why}")
        for name in untouched:
            click.echo(f"Left alone: {name}")

    return Outcome(document, tell, forever or not (left or untouched))


def _left(found: Sequence[Survey], *, others: bool) -> tuple[int, list[str]]:
    """Return how many events nobody delivers now, and the files that could not be taken over."""
    places = [place for survey in found for place in survey.places if place.is_ours or others]
    left = sum(place.pending for place in places if not place.is_alive)
    alone = [each for survey in found for each in survey.left_alone if each.is_ours or others]
    return left, [f"{each.name} {each.why}" for each in alone if not each.is_set_aside]


def _words(paused: Paused | None) -> str:
    return paused.why if paused else ""
