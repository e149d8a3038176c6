"""What keeps an example from being walked through to its end."""

from __future__ import annotations

from collections.abc import Sequence


class Failure(Exception):
    """Why the walk ended early, in words, and the last lines that the process at fault wrote."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        self.message = message
        self.log = tuple(log)
        super().__init__(message)
