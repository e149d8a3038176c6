"""The app of INSTALLED_APPS: it brings the system checks."""

from __future__ import annotations

from django.apps import AppConfig


class Xr2Config(AppConfig):
    """xR2 in a Django project."""

    name = "xr2_web.django"
    label = "xr2_web"
    verbose_name = "xR2"

    def ready(self) -> None:
        """Register the checks, and have commands and workers use the project's settings, which load no middleware."""
        from ..runtime import offer
        from . import checks  # noqa: F401
        from .installation import configured

        offer(lambda: configured().runtime)
