"""A project of its own process; the environment says which database and which server of xR2 it has."""

from __future__ import annotations

import json
import os

from ..databases import use_pymysql

use_pymysql()

SECRET_KEY = "a key of the tests that is long enough for everyone"
USE_TZ = True
INSTALLED_APPS = ["xr2_web.django"]
MIDDLEWARE = ["xr2_web.django.Xr2Middleware"]
ROOT_URLCONF = "tests.django_outbox.project.urls"
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": json.loads(os.environ["TEST_DATABASE"])}
XR2 = {"OUTBOX": "database"}
