"""What is done for a developer who looks costs a request nothing that does nothing: nothing of it even runs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .site import Site

LOOKING = {"witness.py", "panel.py"}


@contextmanager
def called() -> Iterator[set[str]]:
    """Collect the files of ours in which functions are called, in this thread and in those that begin meanwhile."""
    found: set[str] = set()

    def profile(frame: Any, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and f"{os.sep}xr2_web{os.sep}" in path:
            found.add(os.path.basename(path))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_an_idle_request_runs_nothing_of_it(open_site: Callable[..., Site]) -> None:
    with called() as found:
        site = open_site()
        assert site.runtime.is_witnessed
        found.clear()

        site.visitor().get("/")
        idle = set(found)
        site.visitor().get("/product/welcome")
        busy = set(found)

    assert idle
    assert idle & LOOKING == set()
    assert "witness.py" in busy
