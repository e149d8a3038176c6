"""Logins, told by Django's own signal."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in

from ..identity import note_login
from ..scope import bound


def watch_logins() -> None:
    """Have each login decide whose the traces of its visitor are; a second time does nothing."""
    user_logged_in.connect(_note)


def _note(**_: Any) -> None:
    note_login(bound())
