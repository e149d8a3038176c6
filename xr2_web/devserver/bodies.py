"""The bodies of the two POST requests, and their validation as FastAPI does it: every problem at once, as a 422."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from .prompts import STATUSES
from .refusal import Refusal

Column100 = Annotated[str, msgspec.Meta(max_length=100)]
Column255 = Annotated[str, msgspec.Meta(max_length=255)]

Status = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATUSES)})]
"""Anything else is refused as well, but with 400: see ``rules.choose``."""

Body = TypeVar("Body", bound=msgspec.Struct)


class PromptRequest(msgspec.Struct, frozen=True):
    """What ``get-prompt`` takes."""

    slug: str
    source_name: str
    version_number: int | None = None
    status: Status | None = None


class EventRequest(msgspec.Struct, frozen=True):
    """What ``events`` takes; the widths are those of the server's columns."""

    trace_id: Column100
    event_name: Column100
    source_name: str
    user_id: Column255 | None = None
    session_id: Column100 | None = None
    value: float | None = None
    currency: str | None = None
    metadata: dict[str, Any] = {}


def decode(body: bytes) -> dict[str, Any]:
    """Read a JSON object; raise the ``Refusal`` for anything else."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Refusal(422, [problem("json_invalid", ["body"], f"JSON decode error: {exc}")]) from exc
    if not isinstance(data, dict):
        raise Refusal(422, [problem("dict_type", ["body"], "Input should be an object")])
    return data


def validate(data: dict[str, Any], kind: type[Body]) -> Body:
    """Return ``data`` as ``kind``; raise the ``Refusal`` that lists every field that is missing or wrong.

    ``3.0`` is an integer, as it is in JSON Schema.
    """
    data = {name: _integral(value) for name, value in data.items()}
    problems = []
    for each in msgspec.structs.fields(kind):
        if each.name not in data:
            if each.required:
                problems.append(problem("missing", ["body", each.name], "Field required"))
            continue
        try:
            msgspec.convert(data[each.name], each.type)
        except msgspec.ValidationError as exc:
            problems.append(problem("value_error", ["body", each.name], str(exc)))
    if problems:
        raise Refusal(422, problems)
    return msgspec.convert(data, kind)


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def problem(kind: str, location: list[str], message: str) -> dict[str, Any]:
    """Return one entry of the list of validation errors that a 422 has."""
    return {"type": kind, "loc": location, "msg": message}
