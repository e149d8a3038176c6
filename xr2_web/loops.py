"""Whether an asyncio event loop runs in this thread: there nothing may block."""

from __future__ import annotations

import asyncio


def is_on_a_loop() -> bool:
    """Say whether the calling code runs on an asyncio event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
