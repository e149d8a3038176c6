"""The HTTP library: httpx2 where it is installed, else httpx, and the engine beneath it."""

from __future__ import annotations

try:
    import httpcore2 as httpcore
    import httpx2 as httpx
except ImportError:
    import httpcore  # type: ignore[no-redef]
    import httpx  # type: ignore[no-redef]

__all__ = ["httpcore", "httpx"]
