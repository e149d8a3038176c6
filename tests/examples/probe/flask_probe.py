"""A Flask application whose pages show how it is served."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from flask import Flask, has_request_context, send_file

from xr2_web import current, get_prompt, propagate, scope, track_event
from xr2_web.flask import Xr2

from .outermost import outermost
from .pace import line, may_go_on

app = Flask(__name__)
app.secret_key = "a key of the tests that is long enough"
Xr2(app, events={"stream": {"event": "answer_liked", "after": "response"}})


@app.get("/page")
def page() -> str:
    return get_prompt("welcome").trace_id or ""


@app.get("/quiet")
def quiet() -> str:
    return "no prompt here"


@app.post("/buy")
def buy() -> dict[str, object]:
    return {"accepted": track_event("purchase_completed").accepted}


@app.post("/stream")
def stream() -> Iterator[str]:
    get_prompt("welcome")
    return words()


def words() -> Iterator[str]:
    yield line(current.trace_id)
    while not may_go_on():
        time.sleep(0.01)
    for _ in range(100):
        yield line(current.trace_id)


@app.post("/later")
def later() -> str:
    trace_id = get_prompt("welcome").trace_id
    threading.Thread(target=propagate(buy_later)).start()
    return trace_id or ""


def buy_later() -> None:
    time.sleep(0.02)
    track_event("purchase_completed", metadata={"sees_request": has_request_context()})


@app.get("/file")
def file() -> object:
    get_prompt("welcome")
    return send_file(__file__)


if "PROBE_TRACKS_AT_IMPORT" in os.environ:
    with scope(trace_id=get_prompt("welcome").trace_id):
        track_event("sign_up")

application = outermost(app)
