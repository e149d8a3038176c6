"""The compliance suite of all outboxes, over a table of each kind of database."""

from __future__ import annotations

from ..table.compliance import *  # noqa: F403
