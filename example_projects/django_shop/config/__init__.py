import os

if os.environ.get("XR2_OUTBOX") == "celery":
    from .celery import app as celery_app  # noqa: F401
