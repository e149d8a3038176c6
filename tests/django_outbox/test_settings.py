"""Migrations and system checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from xr2_web.django.checks import check_database
from xr2_web.django.models import Event
from xr2_web.engines import engine_for
from xr2_web.outbox import Entry
from xr2_web.outbox.backed import Backed
from xr2_web.settings import Settings

from .conftest import ToOneDatabase
from .databases import Database


@contextmanager
def options(alias: str, **given: Any) -> Iterator[None]:
    settings = connections.settings[alias]
    known, settings["OPTIONS"] = settings["OPTIONS"], given
    try:
        yield
    finally:
        settings["OPTIONS"] = known


def test_the_migrations_are_complete(alias: str) -> None:
    out = StringIO()

    call_command("makemigrations", "xr2_web", check=True, dry_run=True, stdout=out)

    assert "No changes detected" in out.getvalue()


def test_sqlite_without_immediate_transactions_is_warned_about(alias: str, database: Database) -> None:
    expected = ["xr2_web.W004"] if database.kind == "sqlite" else []

    with override_settings(XR2={"OUTBOX": "database"}), options(alias):
        found = [each.id for each in check_database()]

    assert found == expected


@pytest.mark.parametrize("mode", ["IMMEDIATE", "exclusive"])
def test_sqlite_with_immediate_transactions_is_fine(alias: str, database: Database, mode: str) -> None:
    given = {"transaction_mode": mode} if database.kind == "sqlite" else {}

    with override_settings(XR2={"OUTBOX": "database"}), options(alias, **given):
        assert check_database() == []


def test_another_outbox_asks_nothing_of_the_database(alias: str) -> None:
    with override_settings(XR2={"OUTBOX": "memory"}), options(alias):
        assert check_database() == []


def test_a_database_that_cannot_keep_events_is_an_error(alias: str) -> None:
    settings = connections.configure_settings({"default": {}, "none": {}})
    connections.settings["none"] = settings["none"]
    try:
        with override_settings(XR2={"OUTBOX": "database"}, DATABASE_ROUTERS=[ToOneDatabase("none")]):
            found = [each.id for each in check_database()]
    finally:
        del connections.settings["none"]

    assert found == ["xr2_web.E003"]


def test_the_name_database_stands_for_the_table_backed_by_the_spool(alias: str, tmp_path: Any) -> None:
    connections[alias].ensure_connection()
    chosen = Settings(api_key="xr2_dev_key", outbox="database", outbox_path=tmp_path / "spool")
    outbox = engine_for(chosen).new_outbox(chosen)
    outbox.put(Entry("evt_1", "sign_up", b"{}", 1000.0))
    outbox.close()

    assert isinstance(outbox, Backed)
    assert [row.trace_id for row in Event.objects.all()] == ["evt_1"]
