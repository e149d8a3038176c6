"""An installation as it is seen from outside of its processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..engines import engine_for, what_is_missing
from ..errors import ConfigurationError
from ..outbox.store import Place, Store, Survey
from ..runtime import Runtime


@contextmanager
def stores(runtime: Runtime, *, others: bool = False) -> Iterator[Sequence[Store]]:
    """Open the stores of the outbox that the settings name. Raises ``ConfigurationError`` where there is none."""
    chosen = runtime.settings
    if not chosen.is_active:
        needed = "commands need the settings of the application, from XR2_ variables or by --app MODULE"
        raise ConfigurationError([f"{chosen.why_inactive}: {needed}"])
    if missing := what_is_missing(chosen):
        # The spool, which stands in, may well be empty while the table is full.
        raise ConfigurationError([f"{missing}; xr2-web outbox --app MODULE imports the application first"])
    outbox = engine_for(chosen).new_outbox(chosen)
    try:
        found = outbox.stores(others=others)
        if not found:
            raise ConfigurationError(
                [f"OUTBOX is {chosen.outbox!r}: what waits there is seen by nobody but the processes themselves"]
            )
        yield found
    finally:
        outbox.close()


def surveys(runtime: Runtime) -> list[Survey]:
    """Look at all that waits."""
    with stores(runtime) as found:
        return [store.survey() for store in found]


def places(found: Sequence[Survey], *, is_ours: bool) -> list[Place]:
    """Return the places of this installation, or those of others."""
    return [place for survey in found for place in survey.places if place.is_ours is is_ours]
