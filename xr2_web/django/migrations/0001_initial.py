"""The tables of ``OUTBOX = "database"``: events that wait, and dead letters."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("installation", models.CharField(max_length=12)),
                ("trace_id", models.CharField(max_length=100)),
                ("event_name", models.CharField(max_length=100)),
                ("body", models.BinaryField()),
                ("made_at", models.FloatField()),
                ("attempts", models.IntegerField(default=0)),
                ("reason", models.TextField()),
                ("died_at", models.FloatField()),
            ],
            options={"verbose_name": "dead letter"},
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("installation", models.CharField(max_length=12)),
                ("trace_id", models.CharField(max_length=100)),
                ("event_name", models.CharField(max_length=100)),
                ("body", models.BinaryField()),
                ("made_at", models.FloatField()),
                ("attempts", models.IntegerField(default=0)),
                ("due_at", models.FloatField()),
                ("token", models.CharField(blank=True, max_length=16)),
            ],
            options={
                "verbose_name": "waiting event",
                "indexes": [
                    models.Index(fields=["installation", "due_at", "id"], name="xr2_web_event_due"),
                    models.Index(fields=["trace_id"], name="xr2_web_event_trace"),
                ],
            },
        ),
    ]
