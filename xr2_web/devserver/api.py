"""The three endpoints of xR2, where rules, library and store meet."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import answers, bodies, openapi, rules
from .answers import EventTaken, KeyOwner, PromptContent
from .bodies import EventRequest, PromptRequest
from .library import Library
from .limits import DailyQuota
from .refusal import Refusal
from .rejections import Rejections
from .rules import Choice
from .store import Attempt, Store, Trace

_COLUMNS = ("trace_id", "event_name", "source_name", "user_id", "session_id", "currency")


class Api:
    """The endpoints over one library and one store; every refusal is raised as ``Refusal``."""

    def __init__(
        self,
        library: Library,
        store: Store,
        rejections: Rejections,
        *,
        clock: Callable[[], float],
        strict_user_agent: bool,
        daily_quota: int | None = None,
    ) -> None:
        self._library = library
        self._store = store
        self._rejections = rejections
        self._clock = clock
        self._strict_user_agent = strict_user_agent
        self._quota = DailyQuota(daily_quota)

    def routes(self) -> list[Route]:
        """Return the routes under the paths of the real server, and the document that describes them."""
        return [
            Route("/api/v1/check-api-key", self.check_api_key, methods=["GET"]),
            Route("/api/v1/get-prompt", self.get_prompt, methods=["POST"]),
            Route("/api/v1/events", self.take_event, methods=["POST"]),
            Route("/openapi.json", self.describe, methods=["GET"]),
        ]

    async def describe(self, request: Request) -> Response:
        """Return the OpenAPI document."""
        return answers.as_json(openapi.document())

    async def check_api_key(self, request: Request) -> Response:
        """Say whose key this is."""
        self._admit(request)
        return answers.as_json(KeyOwner(ok=True, user="local"))

    async def get_prompt(self, request: Request) -> Response:
        """Serve a version of a prompt under a fresh trace; what is not served costs nothing of the quota."""
        key = self._admit(request)
        data: dict[str, Any] = {}
        try:
            data = bodies.decode(await request.body())
            content = self._served(bodies.validate(data, PromptRequest), key)
        except Refusal as refusal:
            asked = {name: data.get(name) for name in ("slug", "source_name")}
            self._rejections.note(_endpoint(request), refusal, **asked)
            raise
        self._rejections.is_served(content.slug)
        return answers.as_json(content)

    async def take_event(self, request: Request) -> Response:
        """Take an event, or refuse it; either way it is recorded."""
        self._admit(request)
        now = self._clock()
        data: dict[str, Any] = {}
        try:
            data = bodies.decode(await request.body())
            event = bodies.validate(data, EventRequest)
        except Refusal as refusal:
            self._store.add_attempt(Attempt(now, **_readable(data), refused=refusal.message))
            raise
        return answers.as_json(self._taken(event, now))

    def _admit(self, request: Request) -> str:
        try:
            if self._strict_user_agent:
                rules.check_user_agent(request.headers.get("user-agent", ""))
            return rules.check_authorization(request.headers.get("authorization"))
        except Refusal as refusal:
            self._rejections.note(_endpoint(request), refusal)
            raise

    def _served(self, wanted: PromptRequest, key: str) -> PromptContent:
        now = self._clock()
        self._quota.check(key, now=now)
        prompts = self._library.catalog().prompts
        with self._store.transaction():
            choice = rules.choose(prompts, wanted, served=self._store.served)
            trace = self._trace(choice, wanted, now)
            self._store.add_trace(trace)
        self._quota.count(key)
        return answers.prompt_content(choice, trace)

    def _trace(self, choice: Choice, wanted: PromptRequest, now: float) -> Trace:
        return Trace(
            trace_id=rules.new_trace_id(wanted.slug, now=now, token=secrets.token_hex(4)),
            slug=wanted.slug,
            version_number=choice.version.version_number,
            source_name=wanted.source_name,
            fetched_at=now,
            ab_test_name=choice.ab_test.name if choice.ab_test else None,
            ab_test_variant=choice.variant,
        )

    def _taken(self, event: EventRequest, now: float) -> EventTaken:
        definitions = self._library.catalog().definitions
        with self._store.transaction():
            trace = self._store.trace(event.trace_id)
            fetched_at = trace.fetched_at if trace else None
            refusal = rules.objection(event, definitions=definitions, fetched_at=fetched_at, now=now)
            first_id = self._store.accepted_id(event.trace_id, event.event_name)
            event_id = first_id or secrets.token_hex(16)
            attempt = Attempt(
                received_at=now,
                **msgspec.structs.asdict(event),
                event_id=None if refusal else event_id,
                is_duplicate=refusal is None and first_id is not None,
                is_undefined=event.event_name not in (definitions or ()),
                refused=refusal.message if refusal else None,
            )
            self._store.add_attempt(attempt)
        if refusal:
            raise refusal
        return answers.event_taken(event, event_id=event_id, received_at=now, is_duplicate=attempt.is_duplicate)


def _endpoint(request: Request) -> str:
    return request.url.path.removeprefix(rules.API_PREFIX)


def _readable(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _COLUMNS if isinstance(data.get(name), str)}
