"""The tables as commands see them, over each kind of database."""

from __future__ import annotations

from ..operations.store_contract import *  # noqa: F403
