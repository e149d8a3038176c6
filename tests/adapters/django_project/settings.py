"""A Django project of the usual make: database sessions, the user of ``django.contrib.auth``, SQLite in a file."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SECRET_KEY = "a key of the tests that is long enough for everyone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.adapters.django_project.urls"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "xr2_web.django",
    "tests.adapters.django_project",
]

if find_spec("rest_framework") is not None:
    INSTALLED_APPS += ["rest_framework", "rest_framework.authtoken"]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "xr2_web.django.Xr2Middleware",
]

# In a file and not in memory: the threads that serve sync views under ASGI must see it.
_FILE = str(Path(tempfile.gettempdir()) / f"xr2_web_adapters_{os.getpid()}.sqlite3")

DATABASES: dict[str, Any] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _FILE,
        "TEST": {"NAME": _FILE},
        "OPTIONS": {"init_command": "PRAGMA synchronous=OFF"},
    }
}
