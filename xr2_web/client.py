"""The clients, with the interface of the reference client: each call returns a ``Response`` and never raises.

All rules live in ``wire`` and ``flow``; what differs between the two colours is a driver of a few lines.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from . import settings, wire
from .errors import ConfigurationError, InvalidValue
from .flow import Conversation, Patience, Send, converse
from .models import (
    CheckAPIKeyResponse,
    EventResponse,
    Prompt,
    PromptContentResponse,
    RenderedPrompt,
    Response,
    VariableError,
)
from .once import once
from .pacing import Chance

if TYPE_CHECKING:
    from .transport import Address, AsyncTransport, SyncTransport

__all__ = [
    "AsyncxR2Client",
    "CheckAPIKeyResponse",
    "EventResponse",
    "PromptContentResponse",
    "RenderedPrompt",
    "Response",
    "VariableError",
    "xR2Client",
]

T = TypeVar("T")

DEFAULT_TIMEOUT = 10.0
DEFAULT_DEADLINE = 30.0


def drive(conversation: Conversation[T], transport: SyncTransport) -> wire.Judgement[T]:
    """Hold a conversation from the calling thread."""
    reply: wire.Answer | wire.Failure | None = None
    try:
        while True:
            step = conversation.send(reply)
            if isinstance(step, Send):
                reply = transport.send(step.request, step.until)
            else:
                time.sleep(step.seconds)
                reply = None
    except StopIteration as end:
        judgement: wire.Judgement[T] = end.value
        return judgement


async def adrive(conversation: Conversation[T], transport: AsyncTransport) -> wire.Judgement[T]:
    """Hold a conversation from the running loop."""
    reply: wire.Answer | wire.Failure | None = None
    try:
        while True:
            step = conversation.send(reply)
            if isinstance(step, Send):
                reply = await transport.send(step.request, step.until)
            else:
                await asyncio.sleep(step.seconds)
                reply = None
    except StopIteration as end:
        judgement: wire.Judgement[T] = end.value
        return judgement


class _Client:
    """What both clients are made with, and how they hold a conversation."""

    base_url: str

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        total_retries: int = 3,
        backoff_factor: float = 0.5,
        deadline: float = DEFAULT_DEADLINE,
    ) -> None:
        """Make a client. Raises ``ConfigurationError`` for a malformed key or address.

        ``timeout`` bounds one try and ``deadline`` the whole call with its retries and waits, in seconds.
        ``base_url`` defaults to ``XR2_BASE_URL`` in the environment, then to xR2's own.
        """
        address = base_url or os.environ.get("XR2_BASE_URL") or settings.DEFAULT_BASE_URL
        key, self.base_url = _checked(api_key, address)
        self._key: Callable[[], str] = lambda: key  # so that neither vars() nor a pickle holds it
        self.timeout = timeout
        self._patience = Patience(timeout, deadline, total_retries, backoff_factor)
        self._chance = Chance()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    def _address(self) -> Address:
        from .transport import Address

        return Address(self.base_url, self._key())

    def _conversation(self, build: Callable[[], wire.Request[T]]) -> Conversation[T]:
        try:
            request = build()
        except InvalidValue as exc:
            return wire.Judgement(wire.Verdict.REFUSED, Response(error=str(exc), status_code=0, cause=exc))
        return (yield from converse(request, self._patience, self._chance))


class xR2Client(_Client):
    """The sync client; threads may share it. As a context manager it closes its connections."""

    def check_api_key(self) -> Response[CheckAPIKeyResponse]:
        """Ask whose key this is."""
        return self._call(wire.check_api_key)

    def get_prompt(
        self, *, slug: str, version_number: int | None = None, status: str | None = None
    ) -> Response[Prompt]:
        """Fetch a prompt, with a fresh trace."""
        return self._call(_prompt_request(slug, version_number, status))

    def track_event(
        self,
        *,
        trace_id: str,
        event_name: str,
        source_name: str = settings.DEFAULT_SOURCE_NAME,
        user_id: str | None = None,
        session_id: str | None = None,
        value: float | None = None,
        currency: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Response[EventResponse]:
        """Report an event under a trace; xR2 keeps the first of each name."""
        request = _event_request(trace_id, event_name, source_name, user_id, session_id, value, currency, metadata)
        return self._call(request)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if transport := self.__dict__.pop("_transport", None):
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, build: Callable[[], wire.Request[T]]) -> Response[T]:
        return drive(self._conversation(build), self._transport).response

    @once
    def _transport(self) -> SyncTransport:
        from .transport import SyncTransport

        return SyncTransport(self._address())


class AsyncxR2Client(_Client):
    """The async client, for asyncio. As an async context manager it closes its connections."""

    async def check_api_key(self) -> Response[CheckAPIKeyResponse]:
        """Ask whose key this is."""
        return await self._call(wire.check_api_key)

    async def get_prompt(
        self, *, slug: str, version_number: int | None = None, status: str | None = None
    ) -> Response[Prompt]:
        """Fetch a prompt, with a fresh trace."""
        return await self._call(_prompt_request(slug, version_number, status))

    async def track_event(
        self,
        *,
        trace_id: str,
        event_name: str,
        source_name: str = settings.DEFAULT_SOURCE_NAME,
        user_id: str | None = None,
        session_id: str | None = None,
        value: float | None = None,
        currency: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Response[EventResponse]:
        """Report an event under a trace; xR2 keeps the first of each name."""
        request = _event_request(trace_id, event_name, source_name, user_id, session_id, value, currency, metadata)
        return await self._call(request)

    async def aclose(self) -> None:
        """Close the connections of the running loop; a later call opens new ones."""
        if transport := self.__dict__.pop("_transport", None):
            await transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _call(self, build: Callable[[], wire.Request[T]]) -> Response[T]:
        return (await adrive(self._conversation(build), self._transport)).response

    @once
    def _transport(self) -> AsyncTransport:
        from .transport import AsyncTransport

        return AsyncTransport(self._address())


def _prompt_request(slug: str, version_number: int | None, status: str | None) -> Callable[[], wire.Request[Prompt]]:
    return partial(
        wire.get_prompt,
        slug=slug,
        source_name=settings.DEFAULT_SOURCE_NAME,
        version_number=version_number,
        status=status,
    )


def _event_request(
    trace_id: str,
    event_name: str,
    source_name: str,
    user_id: str | None,
    session_id: str | None,
    value: float | None,
    currency: str | None,
    metadata: Mapping[str, Any] | None,
) -> Callable[[], wire.Request[EventResponse]]:
    return partial(
        wire.event,
        trace_id=trace_id,
        event_name=event_name,
        source_name=source_name,
        user_id=user_id,
        session_id=session_id,
        value=value,
        currency=currency,
        metadata=metadata,
    )


def _checked(api_key: str, base_url: str) -> tuple[str, str]:
    given = settings.load(settings.keywords({"api_key": api_key, "base_url": base_url}))
    if given.api_key is None:
        raise ConfigurationError(["api_key is missing"])
    return given.api_key, given.base_url
