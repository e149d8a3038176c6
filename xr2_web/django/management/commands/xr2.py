"""``manage.py xr2 outbox …``: the commands of ``xr2-web``, by the project's settings."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ....operations.commands import run
from ....runtime import Runtime
from ...installation import configured


class Command(BaseCommand):
    """Hands its arguments to the tree of commands, which has its own help and its own exit codes."""

    help = "Look after the events that wait to be sent to xR2: manage.py xr2 outbox --help"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whatever comes."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER, help="such as: outbox status")

    def handle(self, *args: Any, arguments: list[str], **options: Any) -> None:
        """Run the command, and end with its exit code where that is not 0."""
        if code := run(arguments, _runtime, name="manage.py xr2"):
            sys.exit(code)


def _runtime() -> Runtime:
    return configured().runtime
