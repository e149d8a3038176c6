"""Which rows of the contract a mode has not, and why: the one place where a row is left out by name."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from .modes import Mode


class Exclusion(NamedTuple):
    """Rows that modes have not. A row is a test's name, with ``[parameter]`` where only that one is meant."""

    modes: tuple[str, ...]
    rows: tuple[str, ...]
    reason: str
    applies: bool = True
    """Whether it holds for the release of the framework that is installed."""


def is_older(package: str, *release: int) -> bool:
    """Say whether a package is installed in a release before this one."""
    try:
        installed = re.findall(r"\d+", version(package))
    except PackageNotFoundError:
        return False
    return tuple(map(int, installed[: len(release)])) < release


ASGI = ("starlette-", "fastapi-", "litestar-", "quart-")

EXCLUSIONS = [
    Exclusion(
        ("django-asgi-sync", "django-wsgi-async"),
        (
            "test_a_tracked_generator_that_is_abandoned_is_no_event",
            "test_a_route_whose_body_is_abandoned_is_no_event",
            "test_bodies_that_take_turns_see_their_own_scope_and_leave_none",
            "test_a_body_that_is_closed_early_is_counted_as_aborted",
            "test_a_body_that_the_collector_closes_makes_no_event_and_no_error",
        ),
        "Django reads a body that does not fit its server to the end before the first part leaves, so that nobody can "
        "tell whether the visitor was still there",
    ),
    Exclusion(
        ("django-", "flask-"),
        ("test_a_send_that_is_cancelled_is_counted_as_aborted",),
        "nobody cancels in WSGI, and Django's ASGI handler closes no response when it is cancelled itself: such an "
        "event is not made, and not counted either",
    ),
    Exclusion(
        ("django-asgi-async",),
        ("test_a_body_that_the_collector_closes_makes_no_event_and_no_error",),
        "before 6.1 Django's ASGI handler leaves tasks of its own behind when it is cancelled itself",
        applies=is_older("django", 6, 1),
    ),
    Exclusion(
        ("flask-",),
        ("test_a_token_signed_before_the_key_was_changed_is_taken[session]",),
        "before 3.1 Flask has no SECRET_KEY_FALLBACKS, and its session is lost with the key",
        applies=is_older("flask", 3, 1),
    ),
    Exclusion(
        ASGI,
        (
            "test_a_token_signed_before_the_key_was_changed_is_taken",
            "test_a_token_signed_with_a_key_that_is_gone_is_ignored",
        ),
        "an ASGI framework has no signing keys that could be rotated; SECRET_KEY is one key",
    ),
    Exclusion(
        ("litestar-outside",),
        (
            "test_prompts_fetched_in_two_requests_are_both_carried_in_the_session",
            "test_what_was_fetched_is_carried_across_a_login[session]",
            "test_the_token_is_given_out_only_when_it_changed[session]",
            "test_a_cached_page_that_carries_a_token_becomes_private[session]",
            "test_a_token_of_another_signing_key_is_ignored_and_a_new_one_begun[session]",
            "test_another_user_gets_nothing_of_what_somebody_carried[session]",
            "test_a_streamed_body_knows_the_user_and_the_session[session]",
            "test_no_payload_holds_the_value_of_a_cookie[session]",
        ),
        "Litestar's session middleware stands inside of the application, and so of ours",
    ),
]


def reason_against(row: str, parameters: str, mode: str) -> str | None:
    """Return why a mode (its id, or the start of it) has not a row, or None where it has."""
    names = {row, *(f"{row}[{parameter}]" for parameter in parameters.split("-"))}
    for excluded in EXCLUSIONS:
        if excluded.applies and mode.startswith(excluded.modes) and names.intersection(excluded.rows):
            return excluded.reason
    return None


def reason_against_item(item: Any) -> str | None:
    """Return why a collected test is no row of its mode, or None."""
    callspec = getattr(item, "callspec", None)
    mode = None if callspec is None else callspec.params.get("mode")
    if not isinstance(mode, Mode):
        return None
    others = callspec.id.replace(mode.name, "").strip("-")
    return reason_against(item.originalname, others, mode.name)
