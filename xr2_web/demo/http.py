"""The HTTP library, as the visitors' browser; the demo stands above the library's own transport and does without it."""

from __future__ import annotations

try:
    import httpx2 as httpx
except ImportError:
    import httpx  # type: ignore[no-redef]

__all__ = ["httpx"]
