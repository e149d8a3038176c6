"""Celery, for ``XR2_OUTBOX=celery``: ``celery -A shop.worker worker`` sends what goes through its broker to xR2."""

from celery import Celery

from xr2_web.celery import install

app = Celery("shop")
install(app)
