"""Makes events at a steady rate and notes each that was accepted, until it is killed.

Its one argument is JSON: ``settings`` for ``configure``, the ``ledger`` to append to, the ``rate`` a second, a
``refused_name`` for some events, and how many of them to make at ``most``, after which it waits for its end.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import sys
import time
from typing import Any

import xr2_web

REFUSED_OF = 50
"""One event in so many has the name that xR2 refuses."""


def main(settings: dict[str, Any], ledger: str, rate: float, refused_name: str, most: int | None) -> None:
    """Make events. A line of the ledger is one write after the receipt: what stands there was accepted."""
    xr2_web.configure(**settings)
    lines = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    life = secrets.token_hex(6)
    began = time.monotonic()
    for number in itertools.count() if most is None else range(most):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        trace_id = f"evt_{life}_{number}"
        event_name = refused_name if number % REFUSED_OF == REFUSED_OF - 1 else "sign_up"
        with xr2_web.scope(trace_id=trace_id, user_id=number):
            receipt = xr2_web.track_event(event_name, value=number, metadata={"life": life})
        if receipt.accepted:
            os.write(lines, f"{trace_id}\t{event_name}\n".encode())
    signal.pause()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
