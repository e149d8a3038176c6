"""The adapter for Django: middleware, checks, and the lifespan wrapper for ASGI."""

from __future__ import annotations

from .asgi import asgi
from .middleware import Xr2Middleware

__all__ = ["Xr2Middleware", "asgi"]
