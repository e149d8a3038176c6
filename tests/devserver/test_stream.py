"""The stream behind the pages, from a real server."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import pytest

from xr2_web.devserver.stream import Stream

from ..local_xr2 import LocalXr2


class Message(NamedTuple):
    id: str
    text: str


@contextmanager
def stream(local: LocalXr2, path: str = "/stream", *, seen: str | None = None) -> Iterator[Iterator[Message]]:
    """Open a stream; what comes is read as a browser does."""
    headers = {"Last-Event-ID": seen} if seen else {}
    with httpx.stream("GET", local.base_url + path, headers=headers, timeout=10) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield _messages(answer)


def _messages(answer: httpx.Response) -> Iterator[Message]:
    text = ""
    for chunk in answer.iter_text():
        text += chunk
        while "\n\n" in text:
            message, text = text.split("\n\n", 1)
            lines = [line.partition(": ") for line in re.split("\r\n|\r|\n", message)]
            data = "\n".join(value for name, _, value in lines if name == "data")
            ids = [value for name, _, value in lines if name == "id"]
            if ids:
                yield Message(ids[-1], data)


def send(local: LocalXr2, path: str, **body: object) -> dict[str, object]:
    answer = httpx.post(
        f"{local.base_url}/api/v1/{path}",
        json={"source_name": "tests", **body},
        headers={"Authorization": "Bearer xr2_dev_1"},
    )
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.fixture
def local() -> Iterator[LocalXr2]:
    with LocalXr2() as local:
        yield local


def test_what_arrives_comes_on_every_open_page(local: LocalXr2) -> None:
    with stream(local) as one, stream(local) as other, stream(local, "/stream?text=elsewhere") as third:
        assert all("Waiting for the first visitor" in next(each).text for each in (one, other))
        assert "Nothing fits" in next(third).text
        trace_id = send(local, "get-prompt", slug="welcome")["trace_id"]

        assert all(str(trace_id) in next(each).text for each in (one, other))
        assert "Nothing fits" in next(third).text
        send(local, "events", trace_id=trace_id, event_name="sign_up")
        assert all("<strong>sign_up</strong>" in next(each).text for each in (one, other))


def test_a_page_that_comes_back_gets_what_it_has_missed_and_nothing_twice(local: LocalXr2) -> None:
    with stream(local) as messages:
        first = next(messages)
    trace_id = send(local, "get-prompt", slug="welcome")["trace_id"]

    with stream(local, seen=first.id) as messages:
        missed = next(messages)
    with stream(local, seen=missed.id) as messages:
        later = send(local, "get-prompt", slug="product")["trace_id"]
        new = next(messages)

    assert str(trace_id) in missed.text
    assert str(later) in new.text


def test_the_page_names_the_revision_that_it_shows(local: LocalXr2) -> None:
    send(local, "get-prompt", slug="welcome")
    page = httpx.get(local.base_url).text
    [path] = re.findall('sse-connect="([^"]*)"', page)

    with stream(local, path) as messages:
        trace_id = send(local, "get-prompt", slug="product")["trace_id"]

        assert str(trace_id) in next(messages).text


def test_the_page_of_a_trace_is_followed_too(local: LocalXr2) -> None:
    trace_id = send(local, "get-prompt", slug="welcome")["trace_id"]
    with stream(local, f"/stream/traces/{trace_id}") as messages:
        next(messages)
        send(local, "events", trace_id=trace_id, event_name="sign_up")

        assert "<strong>sign_up</strong>" in next(messages).text


def test_no_text_of_an_event_ends_a_message(local: LocalXr2) -> None:
    trace_id = send(local, "get-prompt", slug="welcome")["trace_id"]
    send(
        local, "events", trace_id=trace_id, event_name="a\r\n\r\nevent: b\rid: forged\n\nid: forged", user_id="u\rid: x"
    )

    with stream(local) as messages:
        message = next(messages)

    assert re.fullmatch("[0-9a-f-]+", message.id)
    assert "</aside>" in message.text


def test_a_burst_is_seen_to_its_end_in_few_messages(local: LocalXr2) -> None:
    traces = [str(send(local, "get-prompt", slug="welcome")["trace_id"]) for _ in range(20)]
    headers = {"Authorization": "Bearer xr2_dev_1"}

    def burst(trace_id: str) -> None:
        with httpx.Client(base_url=local.base_url, headers=headers) as http:
            for number in range(25):
                body = {"trace_id": trace_id, "event_name": f"event_{number}", "source_name": "tests"}
                assert http.post("/api/v1/events", content=json.dumps(body)).status_code == 200

    with stream(local) as messages, ThreadPoolExecutor(8) as threads:
        next(messages)
        began = time.monotonic()
        sent = [threads.submit(burst, each) for each in traces]
        received = 0
        for message in messages:
            received += 1
            if re.search(r"<dd>500</dd>", message.text):
                break
        took = time.monotonic() - began

    assert [each.result() for each in sent] == [None] * 20
    assert received <= took / 0.2 + 2


async def test_a_page_is_sent_at_most_five_times_a_second() -> None:
    revisions = itertools.count()
    stream = Stream(lambda: str(next(revisions)))

    began, received = time.monotonic(), 0
    async for message in stream.follow("part", lambda: "text", seen=None):
        received += message.startswith("event: change")
        if time.monotonic() - began > 1.5:
            stream.close()

    assert 2 <= received <= 9


async def test_a_page_on_which_nothing_changes_is_sent_a_comment_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xr2_web.devserver.stream._HEARTBEAT", 0.5)
    stream = Stream(lambda: "same")
    messages = stream.follow("part", lambda: "text", seen="same")
    began = time.monotonic()

    received = [await anext(messages) for _ in range(3)]

    assert received == ["retry: 1000\n\n", ":\n\n", ":\n\n"]
    assert time.monotonic() - began >= 1
    await messages.aclose()


async def test_a_server_that_comes_back_streams_again() -> None:
    stream = Stream(lambda: "same")
    stream.close()

    messages = stream.follow("part", lambda: "text", seen=None)
    await anext(messages)

    assert (await anext(messages)).endswith("data: text\n\n")
    await messages.aclose()


async def test_a_page_that_leaves_does_not_take_the_rendering_from_the_others() -> None:
    go_on, rendered = threading.Event(), []

    def render() -> str:
        rendered.append(go_on.wait(10))
        return "text"

    stream = Stream(lambda: "same")
    pages = [stream.follow("part", render, seen=None) for _ in range(2)]
    leaving, staying = [asyncio.ensure_future(_second(page)) for page in pages]
    while not rendered and not stream._rendered:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    leaving.cancel()
    await asyncio.sleep(0.1)
    go_on.set()

    assert (await staying).endswith("data: text\n\n")
    assert rendered == [True]
    for page in pages:
        await page.aclose()


async def _second(messages: AsyncGenerator[str, None]) -> str:
    await anext(messages)
    return await anext(messages)


async def test_a_bounded_number_of_renderings_is_kept() -> None:
    stream = Stream(lambda: "same")
    for number in range(30):
        page = stream.follow(number, lambda: "text", seen=None)
        await _second(page)
        await page.aclose()

    assert len(stream._rendered) == 20


async def test_what_fails_to_render_is_tried_again() -> None:
    results = iter([ZeroDivisionError(), "text"])

    def render() -> str:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    stream = Stream(lambda: "same")
    with pytest.raises(ZeroDivisionError):
        [_ async for _ in stream.follow("part", render, seen=None)]
    messages = stream.follow("part", render, seen=None)

    assert await anext(messages) == "retry: 1000\n\n"
    assert await anext(messages) == "event: change\nid: same\ndata: text\n\n"
    await messages.aclose()


async def test_what_fails_to_render_does_not_take_a_later_rendering_from_others() -> None:
    revision, rendered = ["1"], []
    fail, go_on = threading.Event(), threading.Event()

    def render_badly() -> str:
        fail.wait(10)
        raise ZeroDivisionError

    def render() -> str:
        rendered.append(go_on.wait(10))
        return "text"

    stream = Stream(lambda: revision[0])
    pages = [stream.follow("part", each, seen=None) for each in (render_badly, render, render)]
    first = asyncio.ensure_future(_second(pages[0]))
    await _until(lambda: len(stream._rendered) == 1)
    revision[0] = "2"
    second = asyncio.ensure_future(_second(pages[1]))
    await _until(lambda: stream._rendered["part"][0] == "2")
    fail.set()
    with pytest.raises(ZeroDivisionError):
        await first
    third = asyncio.ensure_future(_second(pages[2]))
    await asyncio.sleep(0.1)
    go_on.set()

    assert await second == await third
    assert rendered == [True]
    for page in pages:
        await page.aclose()


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_an_open_page_does_not_hold_up_the_end() -> None:
    command = [sys.executable, "-m", "xr2_web", "dev", "--port", "0", "--ephemeral"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().partition("=")[2].strip()
            with httpx.stream("GET", f"{base_url}/stream") as answer:
                chunks = answer.iter_text()
                next(chunks)
                process.send_signal(signal.SIGINT)
                for _ in chunks:
                    pass
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()

    assert process.returncode == 0
    assert "ERROR" not in errors
    assert "Traceback" not in errors
