"""Kombu's broker in a folder, without its race: a worker that is quick moves a message away before it is written."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Messages appear as a whole, and in the order in which they were sent."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        name = f"{time.monotonic_ns():020}_{uuid.uuid4()}.{queue}"
        half = Path(self.data_folder_out, f"{name}.half")
        half.write_text(dumps(payload))
        half.rename(half.with_name(f"{name}.msg"))


class Transport(filesystem.Transport):
    """The transport ``whole_files:Transport``."""

    Channel = Channel
