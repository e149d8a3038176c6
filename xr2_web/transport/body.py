"""The body of an answer, collected up to a limit."""

from __future__ import annotations

from collections.abc import Iterable

from .. import wire


class Body:
    """Collect a body up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0

    def takes(self, chunk: bytes) -> bool:
        """Add a chunk; False where it is too much, and no more should be read."""
        self._size += len(chunk)
        self._chunks.append(chunk)
        return self._size <= self._limit

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> wire.Answer:
        """Return the answer that this is the body of."""
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        return wire.Answer(status, named, b"".join(self._chunks) if self._size <= self._limit else None)
