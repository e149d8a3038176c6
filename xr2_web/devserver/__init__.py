"""A local xR2: its three endpoints with their real semantics, on files and SQLite, for development and tests.

``create_app`` makes the ASGI application from a ``Library`` (the prompts) and a ``Store`` (what happened).
"""

from __future__ import annotations

from .app import create_app
from .library import Library
from .store import Store

__all__ = ["Library", "Store", "create_app"]
