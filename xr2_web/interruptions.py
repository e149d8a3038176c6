"""Exceptions that a signal's handler raises in the middle of our code: they are for whoever set the handler."""

from __future__ import annotations

import signal
import traceback


def is_interruption(exc: Exception) -> bool:
    """Tell whether a handler of a signal has raised it, as the time limits of RQ and Celery do."""
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(exc.__traceback__))
