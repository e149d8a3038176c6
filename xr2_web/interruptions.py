"""Exceptions that a signal's handler raises in the middle of our code: they are for whoever set the handler."""

from __future__ import annotations

import signal
import traceback


def let_through(exc: Exception) -> None:
    """Raise an exception again that a handler of a signal has raised, as the time limits of RQ and Celery do."""
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    if any(frame.f_code in handlers for frame, _ in traceback.walk_tb(exc.__traceback__)):
        raise exc
