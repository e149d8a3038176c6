"""Event definitions, as the dashboard keeps them and ``events.toml`` does here. No I/O happens here.

For example::

    [purchase_completed]
    description = "An order was paid."
    required = ["order_id"]         # metadata fields
    optional = ["plan"]

    [purchase_completed.types]      # of any of them: "string", "number" or "boolean"
    order_id = "string"
    total = "number"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import msgspec

from ..errors import ConfigurationError

_TYPE_NAMES = {bool: "boolean", str: "string", int: "number", float: "number", list: "array", dict: "object"}
"""In this order: a ``bool`` is an ``int``."""

FIELD_TYPES = ("string", "number", "boolean")


class EventDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What xR2 knows of an event: the metadata fields that it must and may have, and their types.

    A field that is named in ``types`` alone is optional; one that is not named there may hold anything.
    """

    description: str = ""
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    types: Mapping[str, str] = {}

    @property
    def others(self) -> list[str]:
        """The fields that it may have."""
        return list(dict.fromkeys([*self.optional, *(each for each in self.types if each not in self.required)]))


def type_of(value: object) -> str:
    """Name the type of a JSON value."""
    for kind, name in _TYPE_NAMES.items():
        if isinstance(value, kind):
            return name
    return "null"


def parse(text: str) -> Mapping[str, EventDefinition]:
    """Return the definitions by event name; raise ``ConfigurationError`` where they cannot be read, or there is none.

    An editor that empties a file before it writes it would have every event refused meanwhile.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError([str(exc)]) from exc
    if not tables:
        raise ConfigurationError(["it defines no event"])
    return {name: _definition(name, table) for name, table in tables.items()}


def _definition(name: str, table: object) -> EventDefinition:
    try:
        definition = msgspec.convert(table, EventDefinition)
    except msgspec.ValidationError as exc:
        raise ConfigurationError([f"{name}: {exc}"]) from exc
    for field, kind in definition.types.items():
        if kind not in FIELD_TYPES:
            raise ConfigurationError([f"{name}: the type of {field} is {kind!r}; there are {', '.join(FIELD_TYPES)}"])
    return definition
