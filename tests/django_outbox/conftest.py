from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from ..outbox.conftest import Clock
from .databases import KINDS, ORDERS, Database, use_pymysql

collect_ignore_glob = ["test_*.py"] if find_spec("django") is None or find_spec("pytest_django") is None else []

if not collect_ignore_glob:
    # The same as in the tests of the adapters, which may run in the same process.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.adapters.django_project.settings")
    use_pymysql()
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections
    from django.db.models import FloatField, Value
    from django.test import override_settings

    from xr2_web.django.models import DeadLetter, Event
    from xr2_web.django.outbox import DatabaseOutbox


APPS = ("xr2_web", "contenttypes")


class ToOneDatabase:
    """A router that sends our tables, and those that the admin reads, to the database under test."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return self._alias if model._meta.app_label in APPS else None

    db_for_read = db_for_write


@pytest.fixture(scope="package", params=KINDS)
def database(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[Database]:
    """A database with our tables and one of a shop, which is gone afterwards."""
    database = Database(request.param)
    database.create()
    if database.reason:
        pytest.skip(database.reason)
    known = connections.settings
    known[database.alias] = connections.configure_settings({"default": {}, "it": database.settings})["it"]
    try:
        with django_db_blocker.unblock():
            for app in APPS:
                call_command("migrate", app, database=database.alias, verbosity=0)
            with connections[database.alias].cursor() as cursor:
                cursor.execute(ORDERS)
        yield database
    finally:
        with django_db_blocker.unblock():
            connections[database.alias].close()
        del known[database.alias]
        del connections[database.alias]
        database.drop()


@pytest.fixture
def alias(database: Database, django_db_blocker: Any) -> Iterator[str]:
    """The alias of the database; its tables are empty, and this thread has no connection to it yet."""
    router = override_settings(DATABASE_ROUTERS=[ToOneDatabase(database.alias)])
    with django_db_blocker.unblock(), router:
        connections[database.alias].close()
        yield database.alias
        connections[database.alias].close()
        del connections[database.alias]
        with connections[database.alias].cursor() as cursor:
            for table in (Event._meta.db_table, DeadLetter._meta.db_table, "shop_order"):
                cursor.execute(f"DELETE FROM {table}")
        connections[database.alias].close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_database(alias: str, clock: Clock) -> Iterator[Callable[..., Any]]:
    """Makes outboxes that share the table, each as the process of another would have it, and closes them."""
    made: list[Any] = []

    def make(most_events: int = 10_000, *, installation: str = "0123456789ab", **options: Any) -> Any:
        given = {"clock": clock, "between": lambda least, most: least, "is_test_run": lambda: False, **options}
        given.setdefault("database_clock", lambda: Value(given["clock"](), FloatField()))
        made.append(DatabaseOutbox(installation, most_events=most_events, **given))
        return made[-1]

    yield make
    for outbox in made:
        outbox.close()


@pytest.fixture
def outbox(make_database: Callable[..., Any]) -> Any:
    return make_database()


class Tables:
    """What stands in the tables."""

    def tokens(self) -> list[str]:
        return list(Event.objects.order_by("id").values_list("token", flat=True))

    def count_dead(self) -> int:
        return DeadLetter.objects.count()


@pytest.fixture
def table() -> Tables:
    return Tables()
