"""Certificates of servers, good and bad."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import trustme


def certified(
    authority: trustme.CA, host: str = "127.0.0.1", *, lasts: timedelta = timedelta(days=1)
) -> ssl.SSLContext:
    """Return what a server needs for a certificate of ``authority`` that ends after ``lasts``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = datetime.now(UTC) + lasts
    authority.issue_cert(host, not_before=end - timedelta(days=2), not_after=end).configure_cert(context)
    return context
