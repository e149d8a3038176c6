"""Whether a statement is under way in this thread.

A finalizer may run in the middle of one and track an event. To send another over the same connection would wait for
ever (psycopg), or garble the conversation (PyMySQL).
"""

from __future__ import annotations

import os
import sys
from types import FrameType

from django.db import backends

_BACKENDS = os.path.dirname(backends.__file__ or "") + os.sep
_UNDER_WAY = frozenset({"execute", "executemany", "callproc", "_commit", "_rollback"})


def is_in_a_query() -> bool:
    """Say whether a frame of the calling code belongs to a statement of Django's backends."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in _UNDER_WAY and frame.f_code.co_filename.startswith(_BACKENDS):
            return True
        frame = frame.f_back
    return False
