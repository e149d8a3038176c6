"""Find processes by a mark in their environment, which whoever they start inherits. Linux only."""

from __future__ import annotations

import time
from pathlib import Path


def with_mark(mark: str) -> list[str]:
    """Return the command lines of those that carry the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def soon_none(mark: str, seconds: float = 15) -> bool:
    """Wait until no process carries the mark."""
    deadline = time.monotonic() + seconds
    while with_mark(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
