"""Reading one text file that somebody else writes, within bounds."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import ConfigurationError

MAX_BYTES = 1_000_000


def read(path: Path) -> str:
    """Return the text of a regular file of at most ``MAX_BYTES`` in UTF-8, with ``\\n`` as line ends.

    Raises ``ConfigurationError`` where that cannot be, and waits for nothing: a pipe is refused.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigurationError(["it is no regular file"])
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigurationError([f"it is larger than {MAX_BYTES:,} bytes"])
        text = data.decode("utf-8-sig")
    except OSError as exc:
        raise ConfigurationError([f"it cannot be read: {exc.strerror}"]) from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError([f"it is not UTF-8: {exc.reason} at byte {exc.start}"]) from exc
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _open_without_waiting(path: str, flags: int) -> int:
    # Opening a pipe would wait for its writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
