"""The adapters where their users write them: keywords are the settings, and a wrong one is an error in the editor."""

from __future__ import annotations

from typing import assert_type

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.views import View
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import xr2_web
from xr2_web import track
from xr2_web.flask import Xr2
from xr2_web.starlette import Xr2Middleware

# Starlette and FastAPI


async def buy(request: Request) -> Response:
    return PlainTextResponse("Thank you!")


tracked = track("purchase_completed", value=20)(buy)
routes = [Route("/buy", tracked, methods=["POST"])]

app = Starlette(routes=routes, middleware=[Middleware(Xr2Middleware, api_key="key", events={"buy": "bought"})])
app.add_middleware(Xr2Middleware)
app.add_middleware(Xr2Middleware, api_key=None, carry="header", consent=lambda request: True)
wrapped: ASGIApp = Xr2Middleware(app, api_key="key", shutdown_timeout=1)

Middleware(Xr2Middleware, api_kye="key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Middleware(Xr2Middleware, api_key=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
app.add_middleware(Xr2Middleware, api_kye="key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
app.add_middleware(Xr2Middleware, "key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Xr2Middleware(app, api_kye="key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Xr2Middleware()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

api = FastAPI()
api.add_middleware(Xr2Middleware, api_key="key", events={"POST /orders/{id}": "purchase_completed"})
api.add_middleware(Xr2Middleware, event={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@api.post("/orders/{number}")
@track("purchase_completed", value=lambda call: call.result["total"])
async def order(number: int, cart: list[str]) -> dict[str, int]:
    return {"total": len(cart)}


@track("purchase_completed")
class Orders(HTTPEndpoint):
    async def post(self, request: Request) -> Response:
        return PlainTextResponse("Thank you!")


assert_type(Orders, type[Orders])
routes.append(Route("/orders", Orders))

# Flask

site = Flask(__name__)
Xr2(site, api_key="key", events={"shop.checkout": "purchase_completed"})
extension = Xr2(carry="session")
extension.init_app(site)

Xr2(site, api_kye="key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Xr2(app)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
extension.init_app(site, api_key="key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@site.post("/buy/<int:number>")
@track("purchase_completed", currency="EUR")
def checkout(number: int) -> str:
    return "Thank you!"


assert_type(checkout(1), str)

# Django


@track("sign_up", when=xr2_web.redirected)
def register(request: HttpRequest, plan: str = "free") -> HttpResponse:
    return HttpResponseRedirect("/welcome")


assert_type(register(HttpRequest(), plan="pro"), HttpResponse)


@method_decorator(track("purchase_completed"), name="post")
class Basket(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("Thank you!")


@track("purchase_completed")
class Wishlist(View):
    @track("opened", methods="GET")
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("Hello")
