"""What a test sees of the visitor, of results and of messages."""

from __future__ import annotations

import json
import uuid
from typing import Any

from celery import Celery
from celery.result import AsyncResult, allow_join_result

from xr2_web import current
from xr2_web.celery import HEADER

NOBODY = (None, None, None)


def seen() -> tuple[str | None, str | None, str | None]:
    """Return the trace, the user and the session at hand."""
    return current.trace_id, current.user_id, current.session_id


def value(result: AsyncResult) -> Any:
    """Return what a task returned, or raise what it raised."""
    with allow_join_result():
        found = result.get(timeout=10, interval=0.005)
    # JSON knows no tuples.
    return tuple(found) if isinstance(found, list) else found


def message_of(app: Celery, task: Any, *args: Any, **options: Any) -> Any:
    """Send a task to a queue that nobody works on, and return the message as it lies there."""
    name = uuid.uuid4().hex
    task.apply_async(args, queue=name, **options)
    with app.connection_for_read() as connection, connection.SimpleQueue(name) as queue:
        return queue.get_nowait()


def header_of(app: Celery, task: Any) -> Any:
    """Return what the message of a task says of the visitor: traces, session id, user id, consent."""
    return json.loads(message_of(app, task).headers[HEADER])
