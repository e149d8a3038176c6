"""Event definitions, as the dashboard keeps them and ``events.toml`` does here. No I/O happens here.

For example::

    [purchase_completed]
    description = "An order was paid."
    required = ["order_id"]         # metadata fields
    optional = ["plan"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import msgspec

from ..errors import ConfigurationError


class EventDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What xR2 knows of an event: the metadata fields that it must and may have."""

    description: str = ""
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


def parse(text: str) -> Mapping[str, EventDefinition]:
    """Return the definitions by event name; raise ``ConfigurationError`` where they cannot be read."""
    try:
        return msgspec.convert(tomllib.loads(text), dict[str, EventDefinition])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        raise ConfigurationError([str(exc)]) from exc
