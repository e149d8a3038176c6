"""Compare what was expected at xR2 with what arrived, and say it in words. No I/O happens here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .journal import Arrival


@dataclass(frozen=True, slots=True)
class Fetch:
    """A prompt that was fetched while only this visitor was on the move: the trace is the visitor's own."""

    visitor: str
    slug: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """An event that a visitor gave cause for, and the fetch that it is to be credited to.

    ``user_id`` is None for one without an account; ``value`` and ``currency`` are what the visitor paid.
    """

    event_name: str
    fetch: Fetch
    user_id: str | None = None
    value: float | None = None
    currency: str | None = None

    @property
    def visitor(self) -> str:
        """Whose event it is."""
        return self.fetch.visitor


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the comparison: what was expected, what arrived in its place, and what is wrong with it, in words."""

    visitor: str | None
    expected: Expectation | None
    arrived: Arrival | None
    problems: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether exactly the expected event is there."""
        return not self.problems


def compare(
    expected: Sequence[Expectation], arrived: Sequence[Arrival], *, fetches: Iterable[Fetch]
) -> tuple[Finding, ...]:
    """Judge every expectation, in their order, and then all that arrived beyond them."""
    known = {each.trace_id: each for each in fetches}
    pairs, rest = _pair(expected, arrived, known)
    sessions = _sessions(pairs)
    return (
        *(_judge(each, pairs.get(each), known, sessions) for each in expected),
        *(_unexpected(each, known) for each in rest),
    )


def _pair(
    expected: Sequence[Expectation], arrived: Sequence[Arrival], known: Mapping[str, Fetch]
) -> tuple[dict[Expectation, Arrival], list[Arrival]]:
    """Give each expectation the event that fits best: by its trace, else by its user, else by whose trace it has.

    Return the pairs, and the events that are left over.
    """
    fits: tuple[Callable[[Expectation, Arrival], bool], ...] = (
        lambda wanted, found: found.trace_id == wanted.fetch.trace_id,
        lambda wanted, found: found.user_id is not None and found.user_id == wanted.user_id,
        lambda wanted, found: _owner(found, known) == wanted.visitor,
        lambda wanted, found: True,
    )
    pairs: dict[Expectation, Arrival] = {}
    rest = list(arrived)
    for is_fitting in fits:
        for wanted in (each for each in expected if each not in pairs):
            for place, found in enumerate(rest):
                if found.is_taken and found.event_name == wanted.event_name and is_fitting(wanted, found):
                    pairs[wanted] = rest.pop(place)
                    break
    return pairs, rest


def _sessions(pairs: Mapping[Expectation, Arrival]) -> dict[str, str]:
    """Return each visitor's session, as an event of theirs has it."""
    sessions: dict[str, str] = {}
    for wanted, found in pairs.items():
        if found.session_id is not None:
            sessions.setdefault(wanted.visitor, found.session_id)
    return sessions


def _judge(
    wanted: Expectation,
    found: Arrival | None,
    known: Mapping[str, Fetch],
    sessions: Mapping[str, str],
) -> Finding:
    place = _trace_in_words(wanted.fetch.trace_id, known)
    if found is None:
        return Finding(
            wanted.visitor, wanted, None, (f"{wanted.event_name} was expected under {place}; it did not arrive.",)
        )
    problems = []
    if found.trace_id != wanted.fetch.trace_id:
        problems.append(f"under {_trace_in_words(found.trace_id, known)}; {place} was expected")
    if found.user_id != wanted.user_id:
        problems.append(f"with {_named('user', found.user_id)}; {_named('user', wanted.user_id)} was expected")
    if (found.value, found.currency) != (wanted.value, wanted.currency):
        problems.append(
            f"with {amount(found.value, found.currency) or 'no value'}; "
            f"{amount(wanted.value, wanted.currency) or 'none'} was expected"
        )
    problems += _session_problems(wanted.visitor, found.session_id, sessions)
    told = tuple(f"{wanted.visitor}'s {wanted.event_name} arrived {each}." for each in problems)
    return Finding(wanted.visitor, wanted, found, told)


def _session_problems(visitor: str, session_id: str | None, sessions: Mapping[str, str]) -> list[str]:
    if session_id is None:
        return ["without a session"]
    problems = [
        f"with the session {session_id}, which is also {other}'s"
        for other, taken in sessions.items()
        if other != visitor and taken == session_id
    ]
    if session_id != sessions[visitor]:
        problems.append(f"with the session {session_id}; {sessions[visitor]}, as before, was expected")
    return problems


def _unexpected(found: Arrival, known: Mapping[str, Fetch]) -> Finding:
    what = f"{found.event_name or 'An event'} under {_trace_in_words(found.trace_id, known)}"
    if found.refused is not None:
        problem = f"{what} was refused: {found.refused}"
    elif found.is_duplicate:
        problem = f"{what} arrived once more than expected."
    else:
        problem = f"{what} arrived; it was not expected."
    return Finding(_owner(found, known), None, found, (problem,))


def _owner(found: Arrival, known: Mapping[str, Fetch]) -> str | None:
    fetch = known.get(found.trace_id or "")
    return fetch.visitor if fetch else None


def _trace_in_words(trace_id: str | None, known: Mapping[str, Fetch]) -> str:
    fetch = known.get(trace_id or "")
    if fetch:
        return f"{fetch.visitor}'s {fetch.slug} trace {trace_id}"
    return f"the trace {trace_id}, which no visitor fetched" if trace_id else "no trace"


def _named(what: str, name: str | None) -> str:
    return f"the {what} {name}" if name is not None else f"no {what}"


def amount(value: float | None, currency: str | None) -> str:
    """Return value and currency, either of which may be missing, as they are read."""
    number = "" if value is None else f"{value:,.2f}" if value == round(value, 2) else str(value)
    return f"{number} {currency or ''}".strip()
