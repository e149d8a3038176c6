"""A Django project in one module, whose pages show how it is served, by WSGI and by ASGI."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from xr2_web import current, get_prompt, propagate, scope, track_event
from xr2_web.django import asgi

from .outermost import outermost
from .pace import line, may_go_on

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["xr2_web.django.Xr2Middleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a key of the tests that is long enough",
    XR2={"EVENTS": {"stream": {"event": "answer_liked", "after": "response"}}},
)
django.setup()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_prompt("welcome").trace_id)


def quiet(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no prompt here")


def buy(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"accepted": track_event("purchase_completed").accepted})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    get_prompt("welcome")
    # Under ASGI Django reads a plain iterator to its end before it sends anything.
    return StreamingHttpResponse(words_in_time() if isinstance(request, ASGIRequest) else words())


def words() -> Iterator[str]:
    yield line(current.trace_id)
    while not may_go_on():
        time.sleep(0.01)
    for _ in range(100):
        yield line(current.trace_id)


async def words_in_time() -> AsyncIterator[str]:
    yield line(current.trace_id)
    while not may_go_on():
        await asyncio.sleep(0.01)
    for _ in range(100):
        yield line(current.trace_id)


def later(request: HttpRequest) -> HttpResponse:
    trace_id = get_prompt("welcome").trace_id
    threading.Thread(target=propagate(buy_later)).start()
    return HttpResponse(trace_id)


def buy_later() -> None:
    time.sleep(0.02)
    track_event("purchase_completed")


def file(request: HttpRequest) -> FileResponse:
    get_prompt("welcome")
    return FileResponse(open(__file__, "rb"))


VIEWS = (page, quiet, buy, stream, later, file)
urlpatterns = [path(view.__name__, view, name=view.__name__) for view in VIEWS]

application = outermost(get_wsgi_application())
asgi_application = asgi(get_asgi_application())

if "PROBE_TRACKS_AT_IMPORT" in os.environ:
    with scope(trace_id=get_prompt("welcome").trace_id):
        track_event("sign_up")
