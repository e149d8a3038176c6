"""The visitor at hand, as application code sees it, and scopes bound by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import identity
from .default import default
from .models import Trace
from .runtime import Runtime
from .scope import Scope, binding, bound


class Current:
    """The trace, the user and the session of the request or scope at hand; None where there is none."""

    __slots__ = ()

    @property
    def trace_id(self) -> str | None:
        """The trace that an event of now would be reported under."""
        scope = bound()
        if scope is None:
            return None
        trace = scope.choose(scope.runtime.settings.attribution, None, scope.runtime.chance.wall())
        return trace.trace_id if trace else None

    @property
    def user_id(self) -> str | None:
        """The user id that an event of now would carry; None where finding it would block an event loop."""
        scope = bound()
        return None if scope is None else identity.current_user(scope)

    @property
    def session_id(self) -> str | None:
        """The random id of this visitor's session, which begins with the first prompt."""
        scope = bound()
        if scope is None:
            return None
        scope.touch()
        return scope.session_id if identity.has_consent(scope) else None

    def __repr__(self) -> str:
        return "<the visitor at hand>"


current: Current = Current()


@contextmanager
def scope(
    *,
    trace_id: str | None = None,
    user_id: object = None,
    session_id: str | None = None,
    runtime: Runtime | None = None,
) -> Iterator[None]:
    """Bind a scope of its own for a block: in scripts, workers and commands.

    What is tracked inside is reported under ``trace_id``, or under the prompts fetched inside, with these ids.
    ``runtime`` is the process default if not given.
    """
    chosen = runtime or default()
    opened = Scope.by_hand(chosen)
    if trace_id is not None:
        opened.add(Trace("", trace_id, 0, int(chosen.chance.wall())))
    opened.session_id = session_id
    opened.given_user_id = identity.named(opened, user_id)
    with binding(opened):
        yield
