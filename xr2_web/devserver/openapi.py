"""The endpoints of xR2 as an OpenAPI document, whose schemas are those of the structs that are really used."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from .._version import __version__
from .answers import EventTaken, KeyOwner, PromptContent
from .bodies import EventRequest, PromptRequest


class Message(msgspec.Struct):
    """A refusal in words."""

    detail: str


class Reason(msgspec.Struct):
    """What was refused, for machines and for people."""

    error: str
    message: str


class Reasoned(msgspec.Struct):
    """A refusal with its reason."""

    detail: Reason


class Problem(msgspec.Struct):
    """A field that does not validate."""

    type: str
    loc: list[str]
    msg: str


class Invalid(msgspec.Struct):
    """Everything in a body that does not validate."""

    detail: list[Problem]


class Quota(msgspec.Struct):
    """A daily quota of prompt fetches that is used up until ``reset_time``."""

    error: str
    message: str
    current_usage: int
    max_requests_per_day: int
    reset_time: str


class QuotaUsedUp(msgspec.Struct):
    """No more prompts today."""

    detail: Quota


class TooManyRequests(msgspec.Struct):
    """This address is refused for ``retry_after`` seconds, as the header ``Retry-After`` says too."""

    detail: str
    retry_after: int


_STRUCTS = (
    EventRequest,
    EventTaken,
    Invalid,
    KeyOwner,
    Message,
    PromptContent,
    PromptRequest,
    QuotaUsedUp,
    Reasoned,
    TooManyRequests,
)
_REFERENCE = "#/components/schemas/{name}"

_TOO_MANY = ("Too many requests from this address", TooManyRequests)
_KEY = {401: ("The key is unknown or inactive", Message), 403: ("No key, or a suspicious request", Message)}
_BODY = {422: ("The body does not validate", Invalid)}


@cache
def document() -> dict[str, Any]:
    """Return the document; it is the same for every server."""
    _, schemas = msgspec.json.schema_components(_STRUCTS, ref_template=_REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "xR2, the local one", "version": __version__},
        "paths": {
            "/api/v1/check-api-key": {"get": _check_api_key()},
            "/api/v1/get-prompt": {"post": _get_prompt()},
            "/api/v1/events": {"post": _take_event()},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A key of xR2"}},
        },
        "security": [{"key": []}],
    }


def _check_api_key() -> dict[str, Any]:
    answers = {200: ("The key is good", KeyOwner), **_KEY, 429: _TOO_MANY}
    return {"operationId": "check_api_key", "summary": "Say whose key this is", "responses": _responses(answers)}


def _get_prompt() -> dict[str, Any]:
    refusals = {
        400: ("No such status exists", Reasoned),
        404: ("No such slug, version or status", Reasoned),
        429: (_TOO_MANY[0] + ", or the daily quota is used up", TooManyRequests, QuotaUsedUp),
    }
    return {
        "operationId": "get_prompt",
        "summary": "Fetch a prompt under a fresh trace",
        "requestBody": _body(PromptRequest),
        "responses": _responses({200: ("The version that is served", PromptContent), **_KEY, **_BODY, **refusals}),
    }


def _take_event() -> dict[str, Any]:
    refusals = {
        400: ("A metadata field is missing or of a wrong type", Reasoned),
        404: ("Unknown or expired trace, or undefined event", Reasoned),
        429: _TOO_MANY,
    }
    return {
        "operationId": "take_event",
        "summary": "Report an event under a trace; a trace has one of each name",
        "requestBody": _body(EventRequest),
        "responses": _responses({200: ("Taken, or a repeat", EventTaken), **_KEY, **_BODY, **refusals}),
    }


def _body(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"required": True, "content": _json(_schema(struct))}


def _responses(answers: dict[int, tuple[Any, ...]]) -> dict[str, Any]:
    return {
        str(status): {"description": description, "content": _json(_any_of(structs))}
        for status, (description, *structs) in sorted(answers.items())
    }


def _any_of(structs: list[type[msgspec.Struct]]) -> dict[str, Any]:
    schemas = [_schema(each) for each in structs]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(name=struct.__name__)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
