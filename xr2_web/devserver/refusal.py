"""A request that is refused, in the shape that xR2 answers with."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """The ``status_code`` and the ``detail`` of an answer: a text, an object or a list of validation errors."""

    def __init__(self, status_code: int, detail: Any) -> None:
        self.status_code = status_code
        self.detail = detail
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The detail in one line."""
        if isinstance(self.detail, dict):
            return str(self.detail["message"])
        if isinstance(self.detail, list):
            return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in self.detail)
        return str(self.detail)
