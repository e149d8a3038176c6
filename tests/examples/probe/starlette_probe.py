"""A Starlette application whose pages show how it is served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from xr2_web import aget_prompt, atrack_event, current, get_prompt, scope, track_event
from xr2_web.starlette import Xr2Middleware

from .pace import line, may_go_on

tasks: set[asyncio.Task[None]] = set()


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse((await aget_prompt("welcome")).trace_id)


async def buy(request: Request) -> JSONResponse:
    return JSONResponse({"accepted": (await atrack_event("purchase_completed")).accepted})


async def stream(request: Request) -> StreamingResponse:
    await aget_prompt("welcome")
    return StreamingResponse(words())


async def words() -> AsyncIterator[str]:
    yield line(current.trace_id)
    while not may_go_on():
        await asyncio.sleep(0.01)
    for _ in range(100):
        yield line(current.trace_id)


async def later(request: Request) -> PlainTextResponse:
    trace_id = (await aget_prompt("welcome")).trace_id
    task = asyncio.create_task(buy_later())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return PlainTextResponse(trace_id)


async def buy_later() -> None:
    await asyncio.sleep(0.02)
    await atrack_event("purchase_completed")


application = Starlette(
    routes=[
        Route("/page", page),
        Route("/buy", buy, methods=["POST"]),
        Route("/stream", stream, methods=["POST"], name="stream"),
        Route("/later", later, methods=["POST"]),
    ]
)
application.add_middleware(Xr2Middleware, events={"stream": {"event": "answer_liked", "after": "response"}})

if "PROBE_TRACKS_AT_IMPORT" in os.environ:
    import xr2_web

    xr2_web.configure()
    with scope(trace_id=get_prompt("welcome").trace_id):
        track_event("sign_up")
