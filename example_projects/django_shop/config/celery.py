"""Celery, for ``XR2_OUTBOX=celery``: ``celery -A config worker`` sends what goes through its broker to xR2."""

import os

from celery import Celery

from xr2_web.celery import install

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
app = Celery("shop")
install(app)
