"""What a browser asks for: the live page and its parts, and the stream that keeps them new."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ..errors import ConfigurationError
from . import answers, duration, page, steering, trial, visits
from .chaos import Chaos
from .clock import FURTHEST, Clock
from .export import as_csv
from .funnel import funnel, verdict
from .insights import Insight, explain, explain_rejected
from .journal import journal
from .library import Catalog, Library
from .picture import draw
from .rejections import Rejections
from .store import Attempt, Store, Trace
from .stream import Stream
from .visits import Search

_EVENTS_SHOWN = 12
_VALUE = "value."
"""Before the name of a variable in the form that tries a prompt."""

_COMPRESSED = [Middleware(GZipMiddleware, minimum_size=1_000)]


class Site:
    """The pages over one library and one store. ``stream`` is what has to be closed at the end.

    Each says what ``chaos`` breaks and how far ahead ``clock`` is; one of them changes both.
    """

    def __init__(self, library: Library, store: Store, rejections: Rejections, chaos: Chaos, clock: Clock) -> None:
        self._library = library
        self._store = store
        self._rejections = rejections
        self._chaos = chaos
        self._clock = clock
        self._catalog = Catalog()
        self._fingerprint = 0
        self.stream = Stream(self._revision)

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/", self.show_live, middleware=_COMPRESSED),
            Route("/traces/{trace_id:path}", self.show_trace, middleware=_COMPRESSED),
            Route("/prompts/{slug:path}", self.show_prompt, methods=["GET", "POST"], middleware=_COMPRESSED),
            Route("/chaos", self.show_chaos, middleware=_COMPRESSED),
            Route("/chaos", self.set_chaos, methods=["POST"], middleware=_COMPRESSED),
            Route("/clock", self.set_clock, methods=["POST"], middleware=_COMPRESSED),
            Route("/clear", self.clear, methods=["POST"]),
            Route("/export.json", self.export_json),
            Route("/export.csv", self.export_csv),
            Route("/stream", self.stream_live),
            Route("/stream/traces/{trace_id:path}", self.stream_trace),
            Route("/stream/prompts/{slug:path}", self.stream_prompt),
            Route("/stream/chaos", self.stream_chaos),
        ]

    def show_live(self, request: Request) -> Response:
        """Show the latest visits, those that the query asks for."""
        search = _search(request)
        return self._show(request, "live.html", lambda: self._live(search), search=search, query=_query(search))

    def show_trace(self, request: Request) -> Response:
        """Show one trace with the rest of its visit."""
        trace_id = request.path_params["trace_id"]
        return self._show(
            request, "trace.html", lambda: self._trace(trace_id), is_known=lambda values: values["visit"] is not None
        )

    async def show_prompt(self, request: Request) -> Response:
        """Show what the versions of a prompt brought; a form that was sent tries one with the values in it."""
        slug = request.path_params["slug"]
        sent = _form(await request.body()) if request.method == "POST" else {}
        return await run_in_threadpool(
            self._show,
            request,
            "prompt.html",
            lambda: {**self._prompt(slug), **self._trial(slug, sent)},
            is_known=lambda values: bool(values["prompt"] or values["funnel"].arms),
        )

    def show_chaos(self, request: Request) -> Response:
        """Show what breaks and what time it is, with the forms that change it."""
        return self._show_chaos(request)

    async def set_chaos(self, request: Request) -> Response:
        """Put the faults of a form in force, or those of its preset; a wrong form changes nothing."""
        sent = _form(await request.body())
        try:
            self._chaos.faults = steering.read_form(sent)
        except ConfigurationError as exc:
            return await run_in_threadpool(self._show_chaos, request, exc.problems, sent)
        return RedirectResponse("/chaos", 303)

    async def set_clock(self, request: Request) -> Response:
        """Put the clock ahead by what the form says, or tell the real time again."""
        sent = _form(await request.body())
        if "reset" in sent:
            self._clock.reset()
        else:
            try:
                self._clock.advance(duration.read(sent.get("ahead"), maximum=FURTHEST))
            except ValueError as exc:
                return await run_in_threadpool(self._show_chaos, request, [f"clock: {exc}"])
        return RedirectResponse("/chaos", 303)

    def clear(self, request: Request) -> Response:
        """Forget everything, and go back to the live page."""
        self._store.clear()
        self._rejections.clear()
        return RedirectResponse("/", 303)

    def export_json(self, request: Request) -> Response:
        """Hand out everything, in the form of ``/api/local/traces``."""
        return answers.as_json(journal(*self._store.history()), headers=_as_file("xr2-local.json"))

    def export_csv(self, request: Request) -> Response:
        """Hand out everything, a row for each fetch and each event."""
        return Response(
            as_csv(*self._store.history()), headers=_as_file("xr2-local.csv"), media_type="text/csv; charset=utf-8"
        )

    async def stream_live(self, request: Request) -> Response:
        """Stream the part of the live page that changes."""
        search = _search(request)
        return self._follow(request, "_live.html", lambda: self._live(search))

    async def stream_trace(self, request: Request) -> Response:
        """Stream the part of a trace's page that changes."""
        trace_id = request.path_params["trace_id"]
        return self._follow(request, "_trace.html", lambda: self._trace(trace_id))

    async def stream_prompt(self, request: Request) -> Response:
        """Stream the part of a prompt's page that changes."""
        slug = request.path_params["slug"]
        return self._follow(request, "_prompt.html", lambda: self._prompt(slug))

    async def stream_chaos(self, request: Request) -> Response:
        """Stream the part of the chaos page that changes by itself."""
        return self._follow(request, "_chaos.html", self._struck)

    def _live(self, search: Search) -> dict[str, Any]:
        catalog = self._library.catalog()
        return {
            "catalog": catalog,
            "counts": visits.counts(self._store),
            "visits": visits.latest(self._store, search),
            "funnels": {slug: funnel(self._store, slug) for slug in catalog.prompts},
            "visits_shown": visits.VISITS_SHOWN,
            "rejections": [] if search.text or search.slug else self._rejections.latest(),
            "explain_rejected": partial(explain_rejected, slugs=catalog.prompts),
            "is_search": search != Search(),
            "explain": _explain(catalog),
        }

    def _trace(self, trace_id: str) -> dict[str, Any]:
        visit = visits.of_trace(self._store, trace_id)
        return {"visit": visit, "trace_id": trace_id, "explain": _explain(self._library.catalog())}

    def _prompt(self, slug: str) -> dict[str, Any]:
        told = funnel(self._store, slug)
        prompt = self._library.catalog().prompts.get(slug)
        ab_test = prompt.ab_test if prompt else None
        return {
            "slug": slug,
            "prompt": prompt,
            "served": self._store.served(slug, ab_test.name) if ab_test else {},
            "funnel": told,
            "pictures": [draw(name, told.arms) for name in told.event_names[:_EVENTS_SHOWN]],
            "left_out": len(told.event_names[_EVENTS_SHOWN:]),
            "verdict": verdict,
        }

    def _struck(self) -> dict[str, Any]:
        return {"struck": self._chaos.struck.most_common(), "now": self._clock()}

    def _show_chaos(
        self, request: Request, problems: Sequence[str] = (), entered: Mapping[str, str] = MappingProxyType({})
    ) -> Response:
        return self._show(
            request,
            "chaos.html",
            self._struck,
            status_code=422 if problems else 200,
            problems=problems,
            rows=steering.rows(self._chaos.faults, entered),
            entered=entered,
            presets=steering.PRESETS,
            faults=self._chaos.faults,
        )

    def _trial(self, slug: str, sent: Mapping[str, str]) -> dict[str, Any]:
        prompt = self._library.catalog().prompts.get(slug)
        entered = {name.removeprefix(_VALUE): text for name, text in sent.items() if name.startswith(_VALUE)}
        versions = {str(each.version_number): each for each in prompt.versions} if prompt else {}
        version = versions.get(sent.get("version", ""))
        return {
            "variables": trial.variables(prompt) if prompt else {},
            "entered": entered,
            "trial": trial.try_out(version, entered) if version else None,
        }

    def _show(
        self,
        request: Request,
        template: str,
        values: Callable[[], dict[str, Any]],
        *,
        is_known: Callable[[dict[str, Any]], bool] = lambda values: True,
        status_code: int = 200,
        **more: Any,
    ) -> Response:
        # Asked before the values are, so that the stream brings what comes in between.
        revision = self._revision()
        shown = {**values(), **more, "revision": revision}
        return HTMLResponse(self._render(request, template, shown), status_code if is_known(shown) else 404)

    def _follow(self, request: Request, template: str, values: Callable[[], dict[str, Any]]) -> Response:
        seen = request.headers.get("last-event-id") or request.query_params.get("seen")
        asked = [each for each in request.query_params.multi_items() if each[0] != "seen"]
        messages = self.stream.follow(
            (str(request.base_url), request.url.path, *asked),
            lambda: self._render(request, template, values()),
            seen=seen,
        )
        return StreamingResponse(messages, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    def _render(self, request: Request, template: str, values: dict[str, Any]) -> str:
        return page.render(
            template,
            base_url=str(request.base_url).rstrip("/"),
            breaking=steering.describe(self._chaos.faults),
            ahead=duration.span(self._clock.ahead),
            **values,
        )

    def _revision(self) -> str:
        catalog = self._library.catalog()
        if catalog is not self._catalog:
            self._catalog, self._fingerprint = catalog, zlib.crc32(repr(catalog).encode())
        beside = (self._chaos.faults, self._chaos.struck, self._clock.ahead, self._rejections.revision)
        return f"{self._store.revision()}-{self._fingerprint:08x}-{zlib.crc32(repr(beside).encode()):08x}"


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1_000)
    except ValueError as exc:
        raise HTTPException(400, "The form cannot be read") from exc
    # Browsers end the lines of a form as mail does; templates and models know only the other end.
    return {name: text.replace("\r\n", "\n") for name, text in fields}


def _search(request: Request) -> Search:
    query = request.query_params
    return Search(
        text=query.get("text", "").strip()[:200],
        slug=query.get("prompt", ""),
        only_refused=bool(query.get("refused")),
    )


def _query(search: Search) -> str:
    fields = {"text": search.text, "prompt": search.slug, "refused": "1" if search.only_refused else ""}
    return urlencode({name: value for name, value in fields.items() if value})


def _explain(catalog: Catalog) -> Callable[[Attempt, Trace | None], Insight | None]:
    return partial(explain, slugs=catalog.prompts, definitions=catalog.definitions)
