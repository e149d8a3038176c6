"""A program of its own: leads the process group of the demo, and ends it when the demo was killed and could not."""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE_SECONDS = 3


def main() -> None:
    """Wait for the end of standard input, whose other end only the demo holds, then end the group."""
    # A terminal that closes and the ending of the group are for the others: this one has to see it through.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
