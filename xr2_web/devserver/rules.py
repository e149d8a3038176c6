"""How xR2 decides: who may ask, which version is served, which event is taken. No I/O happens here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from .bodies import EventRequest, PromptRequest
from .definitions import EventDefinition, type_of
from .prompts import STATUSES, AbTest, Prompt, Version
from .refusal import Refusal

DASHBOARD = "https://xr2.uk/analytics/events"
KEY_PREFIX = "xr2_dev_"
API_PREFIX = "/api/v1/"
"""Where the paths of xR2 begin; nothing under it happens without a key in a header, which no foreign page can send."""
MISSING_FIELDS = "Missing required metadata fields: "
"""Where the refusal begins of an event that lacks what its definition requires."""
TRACE_LIFE = 30 * 24 * 60 * 60
"""Seconds after its fetch in which a trace takes events."""

Served = Callable[[str, str], Mapping[str, int]]
"""Counts, for a slug and the name of its A/B test, the requests that each variant has had."""

_SUSPICIOUS = ("curl", "wget", "python-requests", "bot", "crawler", "scanner", "sqlmap")


@dataclass(frozen=True, slots=True)
class Choice:
    """The version to serve, and the A/B test and variant that chose it, if one did."""

    version: Version
    ab_test: AbTest | None = None
    variant: str | None = None


def check_user_agent(user_agent: str) -> None:
    """Raise the ``Refusal`` for a User-Agent that xR2 takes for a robot's."""
    if not user_agent or any(word in user_agent.lower() for word in _SUSPICIOUS):
        raise Refusal(403, "Suspicious request: xR2 refuses this User-Agent")


def check_authorization(header: str | None) -> str:
    """Return the key that ``header`` bears; raise the ``Refusal`` unless it is one for the local xR2.

    No message holds the key.
    """
    if header is None:
        raise Refusal(403, "Not authenticated")
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refusal(401, "Invalid authentication credentials: send 'Authorization: Bearer <key>'")
    if not key.strip().startswith(KEY_PREFIX):
        kind = "a production key" if key.strip().startswith("xr2_prod_") else "another key"
        raise Refusal(
            401,
            f"Invalid API key: the local xR2 takes any key that begins with {KEY_PREFIX}, and this is {kind}. "
            "Set XR2_API_KEY to a local one, or XR2_BASE_URL to the xR2 that the key is for.",
        )
    return key.strip()


def choose(prompts: Mapping[str, Prompt], wanted: PromptRequest, *, served: Served) -> Choice:
    """Choose the version to serve, or raise the ``Refusal``; A/B variants are balanced by request."""
    if wanted.status is not None and wanted.status not in STATUSES:
        raise _refusal(400, "invalid_status", f"Invalid status. Use one of: {', '.join(STATUSES)}")
    prompt = prompts.get(wanted.slug)
    if prompt is None:
        available = ", ".join(prompts) or "none"
        raise _refusal(404, "prompt_not_found", f"Prompt not found. Available slugs: {available}")
    if wanted.version_number is None and wanted.status is None:
        return _next_variant(prompt, prompt.ab_test, served) if prompt.ab_test else Choice(_deployed(prompt))
    return Choice(_filtered(prompt, wanted))


def _next_variant(prompt: Prompt, ab_test: AbTest, served: Served) -> Choice:
    variant = ab_test.next_variant(served(ab_test.slug, ab_test.name))
    if variant is None:
        return Choice(prompt.deployed or ab_test.variants["version_a"])
    return Choice(ab_test.variants[variant], ab_test, variant)


def _deployed(prompt: Prompt) -> Version:
    if prompt.deployed:
        return prompt.deployed
    raise _refusal(404, "no_deployed_version", f"No version is in production. {_available(prompt)}")


def _filtered(prompt: Prompt, wanted: PromptRequest) -> Version:
    for version in reversed(prompt.versions):
        if wanted.version_number in (None, version.version_number) and wanted.status in (None, version.status):
            return version
    error = "status_not_found" if wanted.version_number is None else "version_not_found"
    raise _refusal(404, error, f"No such version. {_available(prompt)}")


def _available(prompt: Prompt) -> str:
    versions = ", ".join(f"{each.version_number} ({each.status})" for each in prompt.versions)
    return f"Available versions of {prompt.slug}: {versions}"


def new_trace_id(slug: str, *, now: float, token: str) -> str:
    """Return a trace id in the server's form; ``token`` is 8 random hex digits."""
    return f"evt_{hashlib.sha1(slug.encode()).hexdigest()[:8]}_{int(now)}_{token}"


def objection(
    event: EventRequest,
    *,
    definitions: Mapping[str, EventDefinition] | None,
    fetched_at: float | None,
    now: float,
) -> Refusal | None:
    """Return what speaks against the event; ``fetched_at`` is None for an unknown trace.

    Without ``definitions`` every event is taken.
    """
    if fetched_at is None:
        return _refusal(404, "trace_not_found", "Trace not found: no prompt was fetched with this trace_id")
    if now - fetched_at > TRACE_LIFE:
        return _refusal(404, "trace_expired", "This trace is older than 30 days and takes no more events")
    if definitions is None:
        return None
    definition = definitions.get(event.event_name)
    if definition is None:
        return _undefined(event.event_name, definitions)
    missing = [name for name in definition.required if event.metadata.get(name) is None]
    if missing:
        return _refusal(400, "missing_required_fields", f"{MISSING_FIELDS}{', '.join(missing)}")
    wrong = _wrong_types(event.metadata, definition)
    return _refusal(400, "invalid_field_types", f"Wrong types of metadata fields: {wrong}") if wrong else None


def _wrong_types(metadata: Mapping[str, object], definition: EventDefinition) -> str:
    """Name each field of a wrong type; null is the same as a field that is left out."""
    found = {name: type_of(metadata[name]) for name in definition.types if metadata.get(name) is not None}
    return "; ".join(
        f"{name} must be a {definition.types[name]}, not {_with_article(kind)}"
        for name, kind in found.items()
        if kind != definition.types[name]
    )


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind in ("array", "object") else f"a {kind}"


def _undefined(name: str, definitions: Mapping[str, EventDefinition]) -> Refusal:
    nearest = get_close_matches(name, definitions, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    available = ", ".join(definitions) or "none"
    message = (
        f"Event '{name}' is not defined.{hint} Available events: {available}. "
        f"Define it in events.toml here, and for production at {DASHBOARD}"
    )
    return _refusal(404, "event_not_defined", message)


def _refusal(status_code: int, error: str, message: str) -> Refusal:
    return Refusal(status_code, {"error": error, "message": message})
