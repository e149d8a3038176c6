"""An asyncio task that is cancelled in the middle of a call of ours: the next one finds everything in order."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import xr2_web
from xr2_web.starlette import Xr2Middleware

from ..scripted_server import Connection, ScriptedServer, after_request, answer, each_request
from .programs import running_xr2

CANCELLED = 120
"""More than the connections that are kept."""

PROMPT = {
    "slug": "welcome",
    "source_name": "xr2_web",
    "version_number": 1,
    "status": "production",
    "user_prompt": "Hello",
    "trace_id": "evt_1",
}


async def test_cancelled_fetches_hold_nothing_that_the_next_one_needs() -> None:
    """Asyncio cancel in the middle of ``await aget_prompt``."""
    served = each_request(answer(body=json.dumps(PROMPT).encode()))
    with ScriptedServer(*[after_request(Connection.hang)] * CANCELLED, served) as server:
        xr2_web.configure(api_key="xr2_dev_tests", base_url=server.base_url, prompt_deadline=30)
        for number in range(CANCELLED):
            fetching = asyncio.create_task(xr2_web.aget_prompt("welcome", fresh=True))
            while len(server.requests) <= number and not fetching.done():
                await asyncio.sleep(0.001)
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching

        prompt = await xr2_web.aget_prompt("welcome")

    assert prompt.trace_id == "evt_1"


async def test_a_cancelled_event_is_none_and_the_next_one_arrives(tmp_path: Path) -> None:
    """Asyncio cancel in the middle of ``await atrack_event``, which waits for the user id."""
    is_asked = asyncio.Event()
    users: list[asyncio.Future[str]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
    users[1].set_result("ada")
    receipts: list[xr2_web.Receipt] = []

    async def user_id(native: Any) -> str:
        is_asked.set()
        number: int = native.scope["number"]
        return await users[number]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        receipts.append(await xr2_web.atrack_event("sign_up", trace_id=f"evt_{scope['number']}"))

    with running_xr2() as xr2:
        xr2.come_up()
        settings: dict[str, Any] = {"base_url": xr2.base_url, "outbox": "spool", "outbox_path": tmp_path / "outbox"}
        site = Xr2Middleware(app, api_key="xr2_dev_tests", user_id=user_id, **settings)
        tracking = asyncio.create_task(request(site, 0))
        await is_asked.wait()
        tracking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tracking

        await request(site, 1)
        flushed = await asyncio.to_thread(xr2_web.flush)

    assert [receipt.accepted for receipt in receipts] == [True]
    assert flushed.left == 0
    assert xr2.arrived == {"evt_1": 1}


async def request(site: Any, number: int) -> None:
    scope = {"type": "http", "asgi": {"version": "3.0"}, "method": "POST", "path": "/", "headers": [], "number": number}
    await site(scope, None, None)
