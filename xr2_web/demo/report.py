"""What is told of an outcome: as rows and words for people, as a document for machines. No I/O happens here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .comparison import Expectation, Finding, amount
from .stage import Outcome

HEADINGS = ("Visitor", "Event", "Prompt", "Trace", "User", "Session", "Value")
NOTHING = "—"


class Report(Protocol):
    """How the demo speaks to whoever runs it."""

    def waiting(self, frameworks: Sequence[str]) -> AbstractContextManager[object]:
        """Show, until the block ends, that these are being walked through."""

    def outcome(self, outcome: Outcome) -> None:
        """Tell what came of one example."""

    def summary(self, outcomes: Sequence[Outcome], *, seconds: float) -> None:
        """Tell what came of all of them."""

    def addresses(self, outcomes: Sequence[Outcome]) -> None:
        """Tell where the examples are left running."""


@dataclass(frozen=True, slots=True)
class Row:
    """A finding as cells under ``HEADINGS``."""

    is_right: bool
    cells: tuple[str, ...]


def rows(outcome: Outcome, *, is_narrow: bool = False) -> list[Row]:
    """Return the findings visitor by visitor; where it ``is_narrow``, traces and sessions are told by a part."""
    ordered = sorted(outcome.findings, key=lambda each: each.visitor or "~")
    return [Row(each.is_right, _cells(each, is_narrow)) for each in ordered]


def _cells(finding: Finding, is_narrow: bool) -> tuple[str, ...]:
    visitor = f"{'✓' if finding.is_right else '✗'} {finding.visitor or '?'}"
    found = finding.arrived
    if found is None:
        missing = finding.expected.event_name if finding.expected else ""
        return (visitor, missing, "missing", "", "", "", "")
    trace, session = found.trace_id or NOTHING, found.session_id or NOTHING
    if is_narrow and len(trace) > 9:
        # The end is what tells one trace from another.
        trace = f"…{trace[-8:]}"
    if is_narrow and len(session) > 6:
        session = f"{session[:5]}…"
    return (
        visitor,
        found.event_name or NOTHING,
        f"{found.slug} v{found.version_number}" if found.slug else NOTHING,
        trace,
        found.user_id or NOTHING,
        session,
        amount(found.value, found.currency) or NOTHING,
    )


def problems(outcome: Outcome) -> list[str]:
    """Return everything that is wrong, in words."""
    failure = [outcome.failure] if outcome.failure else []
    return failure + [problem for finding in outcome.findings for problem in finding.problems]


def heading(outcome: Outcome) -> tuple[str, str, str]:
    """Return what stands above an example's findings: project, server, time."""
    return outcome.example.folder, outcome.example.server_name, f"{outcome.seconds:.1f} s"


def verdict(outcomes: Sequence[Outcome], *, seconds: float) -> str:
    """Return the last line."""
    count = sum(len(each.findings) for each in outcomes)
    wrong = [each.example.framework for each in outcomes if not each.is_right]
    if wrong:
        return f"✗ Not as expected: {', '.join(wrong)}."
    return f"✓ {count} of {count} events arrived under the right traces, and no others ({seconds:.0f} s)."


def document(outcomes: Sequence[Outcome], *, seconds: float) -> dict[str, Any]:
    """Return all of it for machines."""
    return {
        "ok": all(each.is_right for each in outcomes),
        "seconds": round(seconds, 1),
        "examples": [_example(each) for each in outcomes],
    }


def _example(outcome: Outcome) -> dict[str, Any]:
    stage, example = outcome.stage, outcome.example
    return {
        "framework": example.framework,
        "project": example.folder,
        "server": example.server_name,
        "ok": outcome.is_right,
        "seconds": round(outcome.seconds, 1),
        "app_url": stage.app_url if stage else None,
        "xr2_url": stage.xr2_url if stage else None,
        "events": [_event(each) for each in outcome.findings],
        "problems": problems(outcome),
        "log": list(outcome.log),
    }


def _event(finding: Finding) -> dict[str, Any]:
    return {
        "visitor": finding.visitor,
        "ok": finding.is_right,
        "expected": _expectation(finding.expected) if finding.expected else None,
        "arrived": finding.arrived,
        "problems": finding.problems,
    }


def _expectation(expected: Expectation) -> dict[str, Any]:
    return {
        "trace_id": expected.fetch.trace_id,
        "event_name": expected.event_name,
        "user_id": expected.user_id,
        "value": expected.value,
        "currency": expected.currency,
        "slug": expected.fetch.slug,
    }
