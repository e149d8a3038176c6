"""What the middleware adds to a request that neither fetches nor tracks, beside the least that one can add.

The application callable is called as a server calls it, without a server. The floor is a middleware that only sets
and resets one ContextVar. All variants take turns in one run, a few requests each, in CPU time of the process.
Run: python benchmarks/request_overhead.py
"""

from __future__ import annotations

import asyncio
import io
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

KEY = "xr2_dev_benchmark"
ROUNDS = 8_000
variable: ContextVar[object] = ContextVar("variable", default=None)

Runner = Callable[[int], float]
"""Runs so many requests and returns the seconds that they took."""


def main() -> None:
    print(
        f"Python {sys.version.split()[0]}, {platform.machine()}; microseconds a request, "
        f"lower quartile of {ROUNDS:,} rounds\n"
    )
    print("| framework | bare | the floor adds | xr2_web adds | × floor | × bare |")
    print("|---|---|---|---|---|---|")
    for name, build, requests in (
        ("Starlette", starlette, 20),
        ("Django WSGI", django_wsgi, 1),
        ("Flask", flask, 1),
        ("Django ASGI", django_asgi, 1),
    ):
        bare, floor, ours = measure(build(), requests)
        print(
            f"| {name} | {bare:.2f} | {floor - bare:.2f} | {ours - bare:.2f} "
            f"| {(ours - bare) / (floor - bare):.1f} | {ours / bare:.3f} |"
        )
    print()
    imports()


def measure(runners: list[Runner], requests: int) -> list[float]:
    """Return the microseconds of a request for each runner: the lower quartile of rounds of a few requests.

    The rounds are short and in random order, so that each runner meets the same caches and the same neighbours.
    """
    times: list[list[float]] = [[] for _ in runners]
    for runner in runners:
        runner(100)
    turns = list(zip(runners, times, strict=True))
    for _ in range(ROUNDS):
        random.shuffle(turns)
        for runner, found in turns:
            found.append(runner(requests) / requests * 1e6)
    return [statistics.quantiles(found, n=4)[0] for found in times]


def starlette() -> list[Runner]:
    from xr2_web.starlette import Xr2Middleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return [asgi(each) for each in (app, floor_asgi(app), Xr2Middleware(app, api_key=KEY))]


def flask() -> list[Runner]:
    from flask import Flask

    from xr2_web.flask import Xr2

    def bare() -> Flask:
        app = Flask("bare")
        app.add_url_rule("/", view_func=lambda: "ok")
        return app

    with_floor, ours = bare(), bare()
    with_floor.wsgi_app = floor_wsgi(with_floor.wsgi_app)  # type: ignore[method-assign]
    Xr2(ours, api_key=KEY)
    return [wsgi(each) for each in (bare(), with_floor, ours)]


def django_handlers(handler: Any) -> list[Any]:
    """Return the handlers of the bare application, of the floor and of ours."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            SECRET_KEY="benchmark", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], XR2={"API_KEY": KEY}, USE_TZ=True
        )
        django.setup()
    handlers = []
    for middleware in ([], [f"{__name__}.FloorMiddleware"], ["xr2_web.django.Xr2Middleware"]):
        settings.MIDDLEWARE = middleware
        handlers.append(handler())
    return handlers


def django_wsgi() -> list[Runner]:
    from django.core.handlers.wsgi import WSGIHandler

    return [wsgi(handler) for handler in django_handlers(WSGIHandler)]


def django_asgi() -> list[Runner]:
    from django.core.handlers.asgi import ASGIHandler

    return [asgi(handler, "/async") for handler in django_handlers(ASGIHandler)]


class FloorMiddleware:
    """The least that a Django middleware can do, in both modes."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        from asgiref.sync import iscoroutinefunction, markcoroutinefunction

        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self.is_async:
            return self.acall(request)
        token = variable.set(request)
        try:
            return self.get_response(request)
        finally:
            variable.reset(token)

    async def acall(self, request: Any) -> Any:
        token = variable.set(request)
        try:
            return await self.get_response(request)
        finally:
            variable.reset(token)


def floor_asgi(app: Any) -> Any:
    async def floor(scope: Any, receive: Any, send: Any) -> None:
        token = variable.set(scope)
        try:
            await app(scope, receive, send)
        finally:
            variable.reset(token)

    return floor


def floor_wsgi(app: Any) -> Any:
    def floor(environ: Any, start_response: Any) -> Any:
        token = variable.set(environ)
        try:
            return app(environ, start_response)
        finally:
            variable.reset(token)

    return floor


def asgi(app: Any, path: str = "/") -> Runner:
    async def receive() -> Any:
        # As a server does: the body once, then nothing until the client goes.
        if not requests:
            await asyncio.Event().wait()
        return requests.pop()

    requests: list[Any] = []

    async def send(message: Any) -> None:
        pass

    async def run(count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            requests[:] = [{"type": "http.request", "body": b"", "more_body": False}]
            await app(asgi_scope(path), receive, send)
        return time.process_time() - start

    loop = asyncio.new_event_loop()
    return lambda count: loop.run_until_complete(run(count))


def asgi_scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"cookie", b"sessionid=abc; theme=dark")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


def wsgi(app: Any) -> Runner:
    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        return None

    def run(count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            body = app(wsgi_environ(), start_response)
            for _chunk in body:
                pass
            if hasattr(body, "close"):
                body.close()
        return time.process_time() - start

    return run


def wsgi_environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "HTTP_COOKIE": "sessionid=abc; theme=dark",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def django_view(request: Any) -> Any:
    from django.http import HttpResponse

    return HttpResponse(b"ok")


async def django_async_view(request: Any) -> Any:
    return django_view(request)


class _Patterns(list[Any]):
    """The URL configuration, made when Django asks: importing this file must not need Django."""

    def __iter__(self) -> Any:
        from django.urls import path

        if not len(self):
            self += [path("", django_view), path("async", django_async_view)]
        return super().__iter__()


urlpatterns = _Patterns()


def imports() -> None:
    """Print how long the two packages take to import, each in fresh interpreters that take turns."""
    found: dict[str, list[float]] = {"xr2_sdk": [], "xr2_web": []}
    code = "import time; s=time.process_time(); import {}; print(time.process_time()-s)"
    for _ in range(15):
        for name, times in found.items():
            process = subprocess.run(
                [sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=False
            )
            if process.returncode == 0:
                times.append(float(process.stdout) * 1000)
    best = {name: statistics.median(sorted(times)[:5]) for name, times in found.items() if times}
    for name, milliseconds in best.items():
        print(f"import {name}: {milliseconds:.0f} ms")
    if len(best) == 2:
        print(f"ratio: {best['xr2_web'] / best['xr2_sdk']:.2f}")


if __name__ == "__main__":
    main()
