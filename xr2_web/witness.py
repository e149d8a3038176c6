"""What one request did with prompts and events, written down while a developer looks. No I/O happens here.

Nothing personal is kept: of the user and the session only whether an event had one, of a value that cannot be sent
only its type. Where nobody looks there is no record, and what would write into it does nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .errors import InvalidValue
from .forks import ForkLock
from .models import Prompt, Receipt, Trace
from .scope import Scope
from .values import EVENT_NAME_LENGTH, number

MOST_NOTES = 200
"""How many prompts, and how many events, a record keeps: a body may be streamed for hours."""

AFTER_STATUS, AFTER_END, AT_COMMIT, FOR_VISITOR = "status", "end", "commit", "visitor"
"""What an event waits for: the status of the response, its end, the transaction, who the visitor is."""

BY_STATUS, ABORTED = "status", "aborted"
"""Why the response makes no event: its status is an error, or it did not leave as a whole."""


class PromptNote(NamedTuple):
    """A prompt as a request got it: from ``xr2``, ``copy``, ``fallback`` or ``nothing``, and ``why`` not from xR2."""

    slug: str
    version_number: int
    variant: str | None
    trace_id: str | None
    source: str
    why: str


class EventNote:
    """An event and what has become of it so far: ``pending``, ``accepted`` or ``refused``, and why."""

    __slots__ = (
        "currency",
        "event",
        "has_session",
        "has_user",
        "is_after_response",
        "state",
        "trace_id",
        "value",
        "why",
    )

    def __init__(self, event: object, value: object, currency: object) -> None:
        self.event = _text(event)
        self.value = _amount(value)
        self.currency = "" if currency is None else _text(currency)
        self.trace_id: str | None = None
        self.has_user = False
        self.has_session = False
        self.is_after_response = False
        self.state = "pending"
        self.why = ""

    def wait(self, what: str) -> None:
        """Note what the event waits for."""
        self.state, self.why = "pending", what
        self.is_after_response = self.is_after_response or what in (AFTER_STATUS, AFTER_END)

    def refuse(self, why: str) -> None:
        """Note that it is none."""
        self.state, self.why = "refused", why

    def close(self, receipt: Receipt, *, waits_for: str = AT_COMMIT) -> None:
        """Note what a receipt says; ``waits_for`` is what a pending one means."""
        if receipt.accepted:
            self.state, self.why = "accepted", ""
        elif receipt.reason == "pending":
            self.wait(waits_for)
        else:
            self.refuse(receipt.reason or "")


class Record:
    """What a request has done so far. Threads may share it; it knows nothing of the request."""

    def __init__(self) -> None:
        self.prompts: list[PromptNote] = []
        self.events: list[EventNote] = []
        self.carried: tuple[Trace, ...] = ()
        """The traces that the visitor came with, where anything asked for them."""
        self.has_lost_traces = False
        """Whether these were dropped as another user's."""
        self.last_trace_id: str | None = None
        """The trace of what was fetched or reported last."""
        self.left_out = 0
        """How many notes had no room."""

    def note_prompt(self, slug: object, prompt: Prompt | None, *, source: str = "xr2", why: str | None = None) -> None:
        """Write down what a call of ``get_prompt`` got; None where it raised."""
        got = prompt or Prompt(_text(slug))
        self.last_trace_id = got.trace_id or self.last_trace_id
        if len(self.prompts) < MOST_NOTES:
            note = PromptNote(_text(slug), got.version_number, got.ab_test_variant, got.trace_id, source, why or "")
            self.prompts.append(note)
        else:
            self.left_out += 1

    def note_event(self, event: object, value: object = None, currency: object = None) -> EventNote:
        """Write down an event, and return where what becomes of it is told."""
        note = EventNote(event, value, currency)
        if len(self.events) < MOST_NOTES:
            self.events.append(note)
        else:
            self.left_out += 1
        return note


def record_of(scope: Scope | None) -> Record | None:
    """Return the record of a request, which begins with the first call; None where nobody looks.

    A scope that was bound by hand, or for a task, has no response in which anything could be shown.
    """
    if scope is None or scope.native is None or not scope.runtime.is_witnessed:
        return None
    if scope.record is None:
        with _lock:
            if scope.record is None:
                scope.record = Record()
    scope.is_touched = True
    record: Record = scope.record
    return record


_lock = ForkLock()


def _text(value: object) -> str:
    return value[:EVENT_NAME_LENGTH] if isinstance(value, str) else f"({type(value).__name__})"


def _amount(value: Any) -> str:
    if value is None:
        return ""
    try:
        return str(number(value, "value"))
    except InvalidValue:
        return f"({type(value).__name__})"
