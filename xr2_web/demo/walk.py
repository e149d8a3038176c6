"""The way that visitors take through an app, and what xR2 is to hear of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from .comparison import Expectation, Fetch
from .failure import Failure
from .journal import Trace
from .visitor import Visitor


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a visitor does: ``fetches`` names the prompt that the app shows then, ``makes`` the event."""

    act: Callable[[Visitor], None]
    fetches: str | None = None
    makes: str | None = None
    is_payment: bool = False


SHOP = (
    Step(lambda visitor: visitor.open("/"), fetches="welcome"),
    Step(lambda visitor: visitor.open("/signup")),
    Step(
        lambda visitor: visitor.submit("/signup", username=visitor.name, password="camellia sinensis"),
        makes="sign_up",
    ),
    Step(lambda visitor: visitor.follow(), fetches="welcome"),
    Step(lambda visitor: visitor.look_at_product(), fetches="product"),
    Step(lambda visitor: visitor.submit("/checkout"), makes="purchase_completed", is_payment=True),
    Step(lambda visitor: visitor.follow()),
)
CHAT = (
    Step(lambda visitor: visitor.open("/")),
    Step(
        lambda visitor: visitor.submit("/chat", message=f"What do I do with a {visitor.product}?"), fetches="assistant"
    ),
    Step(lambda visitor: visitor.press("/like"), makes="answer_liked"),
)


@dataclass(slots=True)
class Walk:
    """What the visitors have done so far: the prompts that were fetched for them, the events they gave cause for."""

    fetches: list[Fetch] = field(default_factory=list)
    expected: list[Expectation] = field(default_factory=list)

    def latest(self, visitor: str) -> Fetch:
        """Return the visitor's last fetch, which is the one that an event is credited to."""
        return next(each for each in reversed(self.fetches) if each.visitor == visitor)


def lead(
    visitors: Sequence[Visitor], steps: Sequence[Step], *, traces: Callable[[], Sequence[Trace]], executor: Executor
) -> Walk:
    """Lead the visitors through the steps, abreast; ``traces`` tells those that xR2 has handed out so far.

    Where a step fetches a prompt they go one after another, so that each new trace is known to be the mover's, without
    the app's word for it. All other steps they take at the same moment.
    """
    walk = Walk()
    for step in steps:
        if step.fetches:
            walk.fetches += [_fetch(visitor, step, step.fetches, traces) for visitor in visitors]
        else:
            list(executor.map(step.act, visitors))
        if step.makes:
            walk.expected += [_expect(visitor, step, step.makes, walk) for visitor in visitors]
    return walk


def _fetch(visitor: Visitor, step: Step, slug: str, traces: Callable[[], Sequence[Trace]]) -> Fetch:
    before = {each.trace_id for each in traces()}
    step.act(visitor)
    new = [each for each in traces() if each.trace_id not in before]
    if [each.slug for each in new] != [slug]:
        fetched = ", ".join(each.slug for each in new) or "none"
        raise Failure(f"{visitor.name} was to be shown the prompt {slug}; fetched from xR2: {fetched}")
    return Fetch(visitor.name, slug, new[0].trace_id)


def _expect(visitor: Visitor, step: Step, event_name: str, walk: Walk) -> Expectation:
    value, currency = (visitor.price, "EUR") if step.is_payment else (None, None)
    return Expectation(event_name, walk.latest(visitor.name), value=value, currency=currency)
