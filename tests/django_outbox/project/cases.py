"""What a project's own tests look like, for Django's test runner and for pytest-django."""

from __future__ import annotations

import threading
from typing import Any

from django.db import connection
from django.test import AsyncClient, TestCase, TransactionTestCase

from xr2_web.django.installation import installation
from xr2_web.django.models import Event

from ..databases import ORDERS


class Visits:
    """A visitor sees the prompt and buys, and the courier has had its time."""

    client: Any

    def buy(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(ORDERS)
        self.client.post("/welcome")
        answer = self.client.post("/buy/1")
        installation().runtime._here().courier.wake()
        # A round of its threads, with all that they ever do.
        threading.Event().wait(1.2)
        assert answer.status_code == 200
        assert [event.event_name for event in Event.objects.all()] == ["purchase_completed"]
        assert installation().runtime.flush(0.1).left == 1


class InATransaction(Visits, TestCase):
    def test_an_event_sits_in_the_table(self) -> None:
        self.buy()


class Committing(Visits, TransactionTestCase):
    def tearDown(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS shop_order")

    def test_an_event_sits_in_the_table(self) -> None:
        self.buy()

    async def test_an_event_of_an_async_view_goes_by_the_spool(self) -> None:
        answer = await AsyncClient().post("/aseen")

        assert answer.content == b"True"
