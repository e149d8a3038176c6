"""Telling of a defect of ours that nobody else would notice: the request, the task or the commit goes on."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger("xr2_web")


def tell_failed(what: str, exc: Exception) -> None:
    """Log ``what`` failed, and where, without the message of the exception: it may hold anything."""
    places = "".join(traceback.format_tb(exc.__traceback__))
    logger.error("xr2_web.%s: %s\n%s", what, type(exc).__name__, places)
