"""Pages on which the prompt is seen, and one on which an order is placed."""

from __future__ import annotations

import os
import signal

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from xr2_web import aget_prompt, atrack_event, current, get_prompt, track_event


def welcome(request: HttpRequest) -> HttpResponse:
    get_prompt("welcome")
    return HttpResponse(current.trace_id)


def buy(request: HttpRequest, order: int) -> HttpResponse:
    """Place an order; ``crash`` says where the process is killed, as by ``kill -9``."""
    crash = request.GET.get("crash")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop_order (id) VALUES (%s)", [order])
        if crash == "after the commit":
            # It is called before the one of the event, which would wake the courier.
            transaction.on_commit(die)
        receipt = track_event("purchase_completed", value=order)
        if crash == "before the commit":
            die()
    return HttpResponse(receipt.reason)


async def aseen(request: HttpRequest) -> HttpResponse:
    """See the prompt and say so, on the event loop."""
    await aget_prompt("welcome")
    return HttpResponse(str((await atrack_event("seen")).accepted))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


urlpatterns = [path("welcome", welcome), path("buy/<int:order>", buy), path("aseen", aseen)]
