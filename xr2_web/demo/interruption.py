"""Signals that end the demo, as an exception in its main thread, so that every ``finally`` is gone through."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(SystemExit):
    """A signal ended the demo; the exit code is the shell's for it."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` at the first of ``SIGNALS``; later ones are ignored, for the cleaning up is soon done.

    One that was ignored from the start, as nohup does, stays ignored.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(128 + number)
