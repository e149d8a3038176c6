"""Why no scope is bound where something is done for a visitor, told from what is on the stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from .runtime import Runtime

_SERVING = ("starlette.", "django.core.handlers.", "flask.app", "quart.app", "litestar.")


def tell_outside(runtime: Runtime, what: str) -> bool:
    """Tell once where to install, and return true, if a request is being served and yet no scope is bound.

    Scripts and start-up code may well be without a scope. Middleware may not that stands outside of ours, and
    neither may an application without it: what is fetched there is tied to nobody.
    """
    if not _is_in_a_request():
        return False
    runtime.tell_once(
        ("outside", what),
        "xr2_web.outside: %s was used in a request to which no scope is bound, and so is tied to no visitor: install "
        "Xr2Middleware (in Flask Xr2(app)), outside of the middleware that does this",
        what,
    )
    return True


def _is_in_a_request() -> bool:
    names = list(_functions_of_frameworks())
    return bool(names) and "lifespan" not in names


def _functions_of_frameworks() -> Iterator[str]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(_SERVING):
            yield frame.f_code.co_name
        frame = frame.f_back
