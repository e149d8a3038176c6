"""Django's four modes: WSGI and ASGI, each with sync and with async views."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from http.cookies import SimpleCookie
from typing import Any, ClassVar, NoReturn

from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth import alogin, alogout, get_user_model, login, logout
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client, override_settings
from django.urls import path as url
from django.utils.module_loading import import_string

from xr2_web.django.installation import installation
from xr2_web.runtime import Runtime

from . import asgi
from .site import Answer, HeldResponse, Page, Reply, Site, View, finished
from .views import VIEWS, refused

OURS = "xr2_web.django.Xr2Middleware"
BACKEND = "django.contrib.auth.backends.ModelBackend"


class DjangoPage(Page):
    def __init__(self, request: HttpRequest, path: Mapping[str, Any], *, is_async: bool) -> None:
        query = request.GET.dict()
        super().__init__(is_async=is_async, streams_async=is_async, method=request.method, query=query, path=path)
        self._request = request

    async def login(self, name: str) -> str:
        users = get_user_model().objects
        if self.is_async:
            user, _ = await users.aget_or_create(username=name)
            await alogin(self._request, user, BACKEND)
        else:
            user, _ = users.get_or_create(username=name)
            login(self._request, user, BACKEND)
        return str(user.pk)

    def refuse(self) -> NoReturn:
        raise PermissionDenied

    async def logout(self) -> None:
        if self.is_async:
            await alogout(self._request)
        else:
            logout(self._request)


class Urls(tuple[Any, ...]):
    """URL patterns with the error page of a project."""

    def handler403(self, request: HttpRequest, exception: Exception) -> HttpResponseBase:
        return responded(refused())


class DjangoSite(Site):
    """``django`` are settings of Django's own; ``extend`` gets the list of URL patterns."""

    is_asgi: ClassVar[bool]
    shown_key = 'XR2["API_KEY"]'

    @classmethod
    def start_error(cls) -> type[Exception]:
        return ImproperlyConfigured

    def __init__(self, *args: Any, django: Mapping[str, Any] | None = None, **keywords: Any) -> None:
        self._django = dict(django or {})
        super().__init__(*args, **keywords)

    def open(self) -> None:
        patterns = [url(route(view.path), self._native(view), name=view.name) for view in VIEWS]
        self.extend(patterns)
        self._overridden = override_settings(
            **{
                "XR2": {name.upper(): value for name, value in self.settings.items()},
                "ROOT_URLCONF": Urls(patterns),
                "SECRET_KEY": self.keys[0],
                "SECRET_KEY_FALLBACKS": self.keys[1:],
                "MIDDLEWARE": [
                    *[each for each in django_settings.MIDDLEWARE if self.is_installed or each != OURS],
                    *[OURS] * self.is_twice,
                ],
                **self._django,
            }
        )
        self._overridden.enable()
        try:
            self._client = (AsyncClient if self.is_asgi else Client)(raise_request_exception=False)
            # The handler of the client loads the middleware at the first request, but settings must fail at start.
            for name in django_settings.MIDDLEWARE:
                if name == OURS:
                    import_string(name)(lambda request: HttpResponse())
        except BaseException:
            self._overridden.disable()
            raise

    def _release(self) -> None:
        try:
            super()._release()
            if "_runner" in vars(self):
                self._runner.close()
        finally:
            self._overridden.disable()

    def leave_thread(self) -> None:
        connections.close_all()

    @property
    def runtime(self) -> Runtime:
        return installation().runtime

    def ask(self, method: str, path: str, headers: Mapping[str, str], *, is_secure: bool) -> Answer:
        if self.is_asgi:
            return self._aask(method, path, headers, is_secure)
        response = self._client.generic(method, path, headers=self._take_cookies(headers), secure=is_secure)
        return answered(response, b"".join(response) if response.streaming else response.content)

    @async_to_sync
    async def _aask(self, method: str, path: str, headers: Mapping[str, str], is_secure: bool) -> Answer:
        response = await self._client.generic(method, path, headers=self._take_cookies(headers), secure=is_secure)
        if not response.streaming:
            return answered(response, response.content)
        return answered(response, b"".join([part async for part in response]))

    def abandon(self, path: str, headers: Mapping[str, str]) -> None:
        if self.is_asgi:
            async_to_sync(asgi.abandon)(ASGIHandler(), path, headers)
        else:
            response = self._client.post(path, headers=self._take_cookies(headers))
            next(iter(response))
            response.close()

    def begin(self, path: str) -> Any:
        if self.is_asgi:
            return asgi.HeldConnection(ASGIHandler(), path, {}, self._runner.get_loop())
        response = self._client.post(path)
        return HeldResponse(response, response)

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    def _take_cookies(self, headers: Mapping[str, str]) -> dict[str, str]:
        # The async client sends a cookie header of its own in any case.
        self._client.cookies = SimpleCookie(headers.get("Cookie"))
        return {name: value for name, value in headers.items() if name != "Cookie"}

    def _native(self, view: View) -> Callable[..., Any]:
        if self.is_async:

            async def aview(request: HttpRequest, **path: Any) -> HttpResponseBase:
                return responded(await view.function(DjangoPage(request, path, is_async=True)))

            return view.native(aview)

        def sync_view(request: HttpRequest, **path: Any) -> HttpResponseBase:
            return responded(finished(view.function(DjangoPage(request, path, is_async=False))))

        return view.native(sync_view)


def route(path: str) -> str:
    return re.sub(r"\{(\w+)\}", r"<str:\1>", path.removeprefix("/"))


def responded(reply: Reply) -> HttpResponseBase:
    response: HttpResponseBase
    if reply.body is not None:
        response = StreamingHttpResponse(reply.body, status=reply.status, content_type="text/plain")
    else:
        response = HttpResponse(reply.text, status=reply.status, content_type="text/plain")
    for name, value in reply.headers.items():
        response.headers[name] = value
    return response


def answered(response: Any, body: bytes) -> Answer:
    headers = [(name.lower(), value) for name, value in response.items()]
    headers += [("set-cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    return Answer(response.status_code, body.decode(), headers, response)


class WsgiSync(DjangoSite):
    is_asgi = is_async = streams_async = False


class WsgiAsync(DjangoSite):
    is_asgi = False
    is_async = streams_async = True


class AsgiSync(DjangoSite):
    is_asgi = True
    is_async = streams_async = False


class AsgiAsync(DjangoSite):
    is_asgi = is_async = streams_async = True
