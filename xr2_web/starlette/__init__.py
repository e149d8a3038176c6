"""The adapter for Starlette, FastAPI, Litestar, Quart and any other ASGI framework: one pure ASGI middleware."""

from __future__ import annotations

from .middleware import Xr2Middleware

__all__ = ["Xr2Middleware"]
