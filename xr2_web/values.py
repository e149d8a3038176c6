"""What may be sent to xR2, checked where it is passed in. No I/O happens here.

The widths are those of the server's columns: a longer value would make it fail. JSON has no NaN, no bytes and
no sets, and a serialiser that writes null or base64 in their place would corrupt the event silently.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum

from .errors import InvalidValue

TRACE_ID_LENGTH = 100
SESSION_ID_LENGTH = 100
USER_ID_LENGTH = 255
EVENT_NAME_LENGTH = 100
TRACE_LIFE = 30 * 24 * 60 * 60
"""Seconds for which the server keeps a trace; an event for an older one can no longer be attributed."""
EVENT_BYTES = 64 * 1024
"""The largest event that is sent, as JSON."""

_DEPTH = 32
_INTEGER_LIMIT = 2**63
_LARGEST_ID = 10**USER_ID_LENGTH


def text(value: object, path: str, *, limit: int) -> str:
    """Return ``value`` if it is text of 1 to ``limit`` characters that UTF-8 and a database can hold."""
    if type(value) is not str:
        if not isinstance(value, str):
            raise InvalidValue(f"must be text, not {type(value).__name__}", path=path)
        value = str.__str__(value)
    if not value or len(value) > limit:
        raise InvalidValue(f"must have 1 to {limit} characters, has {len(value)}", path=path)
    return value if value.isascii() and "\0" not in value else _storable(value, path)


def event_name(value: object) -> str:
    """Return ``value`` if it can name an event: 1 to 100 characters."""
    return text(value, "event_name", limit=EVENT_NAME_LENGTH)


def user_id(value: object) -> str:
    """Return a user id as text; whole numbers and UUIDs, the usual primary keys, are taken as they print."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_ID
    if is_number or _is_uuid(value):
        value = str(value)
    return text(value, "user_id", limit=USER_ID_LENGTH)


def number(value: object, path: str) -> float | int | Decimal:
    """Return ``value`` if it is a finite number; numbers in text are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise InvalidValue(f"must be a number, not {type(value).__name__}", path=path)
    if isinstance(value, int):
        if abs(value) >= _INTEGER_LIMIT:
            raise InvalidValue("is beyond 64 bits", path=path)
        return int(value)
    if (isinstance(value, Decimal) and value.is_snan()) or not math.isfinite(value):
        raise InvalidValue(f"{value} is not a number that JSON can hold", path=path)
    # The exact type: the serialiser knows no subclass, such as NumPy's float64.
    return float(value) if isinstance(value, float) else Decimal(value)


def mapping(value: object, path: str) -> dict[str, object]:
    """Return a copy of ``value``, a mapping of what JSON can hold; dates, UUIDs and enums go as their text."""
    if not isinstance(value, Mapping):
        raise InvalidValue(f"must be a mapping, not {type(value).__name__}", path=path)
    return _plain_mapping(value, path, _DEPTH)


def _plain(value: object, path: str, depth: int) -> object:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, Enum):
        return _plain(value.value, path, depth)
    if isinstance(value, str):
        return _storable(str.__str__(value), path)
    if isinstance(value, (int, float, Decimal)):
        return number(value, path)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if _is_uuid(value):
        return str(value)
    if depth == 0:
        raise InvalidValue("is nested too deeply, or holds itself", path=path)
    if isinstance(value, Mapping):
        return _plain_mapping(value, path, depth)
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{index}]", depth - 1) for index, item in enumerate(value)]
    raise InvalidValue(f"{type(value).__name__} is nothing that JSON can hold", path=path)


def _plain_mapping(value: Mapping[object, object], path: str, depth: int) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidValue(f"has a key that is not text but {type(key).__name__}", path=path)
        name = _storable(str.__str__(key), path)
        plain[name] = _plain(item, path + _step(name), depth - 1)
    return plain


def _is_uuid(value: object) -> bool:
    # Where nobody loaded the module there are none: loading it for this alone would cost every start.
    uuid = sys.modules.get("uuid")
    return uuid is not None and isinstance(value, uuid.UUID)


def _step(name: str) -> str:
    # A path ends up in logs, so a key that came from outside must not bring lines or pages of its own.
    return f".{name}" if name.isidentifier() and len(name) <= 64 else f"[{name[:64]!r}]"


def _storable(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValue("has a lone surrogate, which UTF-8 cannot hold", path=path) from None
    if "\0" in value:
        raise InvalidValue("has a NUL character", path=path)
    return value
