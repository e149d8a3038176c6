"""A streamed body that is held in its middle until the test lets it go on."""

from __future__ import annotations

import os
from pathlib import Path

CHUNK = 64 * 1024
"""So large that a client who is gone is noticed."""


def may_go_on() -> bool:
    return Path(os.environ["PROBE_GO_ON"]).exists()


def line(words: object) -> str:
    return f"{words}".ljust(CHUNK - 1) + "\n"
