"""One request out, one answer back, by a deadline that holds; the only place that knows the HTTP library.

httpx2 is used where it is installed, else httpx, both through their engine (httpcore), whose network interface
is public: their own timeouts are per read, so a server that drips a byte now and then can hold a caller for
minutes. Here the sync side cuts every read to what is left of the deadline, and the async side is cancelled.
"""

from __future__ import annotations

from .address import Address
from .sending import AsyncTransport, SyncTransport

__all__ = ["Address", "AsyncTransport", "SyncTransport"]
