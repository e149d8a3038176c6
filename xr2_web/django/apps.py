"""The app of INSTALLED_APPS: it brings the system checks, and the tables of ``OUTBOX = "database"``."""

from __future__ import annotations

from django.apps import AppConfig


class Xr2Config(AppConfig):
    """xR2 in a Django project."""

    name = "xr2_web.django"
    label = "xr2_web"
    verbose_name = "xR2"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and have commands and workers use the project's settings, which load no middleware."""
        from ..default import offer
        from ..engines import Engine, offer_engine
        from . import checks  # noqa: F401
        from .installation import configured
        from .outbox import new_database

        offer(lambda: configured().runtime)
        offer_engine("database", Engine(new_database))
