"""What stands between a server and an application, and tells in headers what the server is handed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any

from xr2_web.scope import bound


def outermost(application: Any) -> Any:
    """Wrap a WSGI application that calls ``start_response`` before it returns."""

    def told(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        was_bound = bound() is not None
        started: list[Any] = []
        body = application(environ, lambda *arguments: started.append(arguments))
        status, headers, *rest = started[-1]
        is_bound = bound() is not None
        about = {
            "X-Bound": f"{was_bound} {is_bound}",
            "X-Body": "file wrapper" if type(body) is environ["wsgi.file_wrapper"] else type(body).__name__,
            "X-Thread": f"{os.getpid()} {threading.get_ident()}",
        }
        start_response(status, [*headers, *about.items()], *rest)
        return body

    return told
