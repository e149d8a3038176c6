"""What application code calls, as its users expect it typed: prompts, events, scopes, propagation, configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, assert_type

import xr2_web
from xr2_web import (
    Prompt,
    Receipt,
    RenderedPrompt,
    aget_prompt,
    atrack_event,
    current,
    get_prompt,
    propagate,
    track_event,
)


def prompts() -> None:
    prompt = get_prompt("welcome", version_number=2, status="production", fallback="Greet {{name}}.", fresh=True)
    assert_type(prompt, Prompt)
    assert_type(prompt.slug, str)
    assert_type(prompt.trace_id, str | None)
    assert_type(prompt.is_fallback, bool)
    rendered = prompt.render({"name": "Ada"})
    assert_type(rendered, RenderedPrompt)
    assert_type(rendered.user_prompt, str | None)

    assert_type(xr2_web.flush(2.5), xr2_web.Flushed)

    get_prompt("welcome", fallback={"user_prompt": "Hello"})
    get_prompt("welcome", fallback=lambda: "Hello")
    get_prompt("welcome", fallback=prompt)
    get_prompt("welcome", fallback=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    get_prompt("welcome", 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    get_prompt(slug_name="welcome")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def aprompts() -> None:
    assert_type(await aget_prompt("welcome", fallback="Hello"), Prompt)
    aget_prompt("welcome").slug = "welcome"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def events() -> None:
    receipt = track_event("upgraded", value=20, currency="EUR", metadata={"plan": "pro", "seats": 3})
    assert_type(receipt, Receipt)
    assert_type(receipt.accepted, bool)
    assert_type(receipt.reason, str | None)
    track_event("upgraded", value=Decimal("9.50"), user_id=7, session_id="s", trace_id="t", prompt="welcome")

    track_event("upgraded", value="20")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    track_event("upgraded", metadata=["pro"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    track_event("upgraded", plan="pro")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    track_event("upgraded", 20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    receipt.accepted = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def aevents() -> None:
    assert_type(await atrack_event("upgraded", value=Decimal(20)), Receipt)
    atrack_event("upgraded")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]


def visitors() -> None:
    assert_type(current.trace_id, str | None)
    assert_type(current.user_id, str | None)
    assert_type(current.session_id, str | None)
    current.trace_id = "t"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    current.trace = "t"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def scopes() -> None:
    with xr2_web.scope(trace_id="t", user_id=7, session_id="s") as bound:
        assert_type(bound, None)
    with xr2_web.scope(trace="t"):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        pass


def propagated() -> None:
    def work(item: str, *, times: int = 1) -> bytes:
        return item.encode() * times

    async def awork(item: str) -> bytes:
        return item.encode()

    def parts(item: str) -> Iterator[str]:
        yield item

    carried = propagate(work)
    assert_type(carried("a", times=2), bytes)
    assert_type(asyncio.run(propagate(awork)("a")), bytes)
    assert_type(propagate(parts)("a"), Iterator[str])
    carried(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    carried("a", 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    with ThreadPoolExecutor() as pool:
        assert_type(pool.submit(propagate(work), "a").result(), bytes)
        assert_type(list(pool.map(propagate(work), ["a"])), list[bytes])
        pool.submit(propagate(work), 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def in_executor() -> None:
    def work(item: str) -> bytes:
        return item.encode()

    assert_type(await asyncio.to_thread(propagate(work), "a"), bytes)
    assert_type(await asyncio.get_running_loop().run_in_executor(None, propagate(work), "a"), bytes)


def configuration(key: str | None, finder: Callable[[Any], str | None]) -> None:
    xr2_web.configure(api_key=key, base_url="http://127.0.0.1:8765", user_id=finder, rate_limit=None)
    xr2_web.configure(
        events={"POST /buy": "bought", "shop:checkout": {"event": "bought", "value": 20}}, outbox="memory"
    )
    xr2_web.configure(api_kye=key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    xr2_web.configure(api_key=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    xr2_web.configure(outbox_max_events="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
