"""A project as users have one: ``celery -A shop worker``, with or without Django."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from xr2_web import current, get_prompt, track, track_event
from xr2_web.celery import install

app = Celery("shop")
app.conf.update(json.loads(os.environ["SHOP_CELERY"]))
install()

Seen = tuple[str | None, str | None, str | None]


@app.task(name="shop.look")
def look() -> tuple[int, Seen]:
    """Return the process, and the visitor whom it sees."""
    return os.getpid(), (current.trace_id, current.user_id, current.session_id)


@app.task(name="shop.buy")
@track("bought", value=lambda call: call.args[0])
def buy(price: int) -> int:
    return os.getpid()


@app.task(name="shop.recommend")
def recommend() -> Any:
    trace_id = get_prompt("product").trace_id
    track_event("recommended")
    return trace_id


@app.task(name="shop.report_many")
def report_many(name: str, count: int) -> int:
    for number in range(count):
        assert track_event(f"{name}-{number}", trace_id="a-trace").accepted
    return os.getpid()


@app.task(name="shop.unlucky", bind=True, max_retries=2, default_retry_delay=0)
@track("was_lucky")
def unlucky(self: Task, outcome: str) -> Seen:
    """End as told; where it is by a retry, the third try is lucky."""
    match outcome:
        case "exception":
            raise LookupError
        case "ignore":
            raise Ignore
        case "reject":
            raise Reject(requeue=False)
        case "retry" if self.request.retries < 2:
            raise self.retry()
    return current.trace_id, current.user_id, current.session_id


@app.task(name="shop.dawdle", soft_time_limit=0.2)
@track("dawdled")
def dawdle() -> None:
    try:
        while True:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        track_event("hurried")
        raise
