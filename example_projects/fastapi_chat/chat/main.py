"""The application: ``uvicorn chat.main:app``."""

import os
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from xr2_web.starlette import Xr2Middleware

from .routes import router

PACKAGE = Path(__file__).resolve().parent


def create_app() -> FastAPI:
    """Make the application as the environment configures it."""
    prepare_outbox()
    secret_key = os.environ.get("SHOP_SECRET_KEY", "insecure-only-for-development")
    app = FastAPI(docs_url=None, redoc_url=None)
    app.add_middleware(Xr2Middleware, secret_key=secret_key)
    app.mount("/static", StaticFiles(directory=PACKAGE / "static"), name="static")
    app.include_router(router)
    return app


def prepare_outbox() -> None:
    """Install what ``XR2_OUTBOX`` names; the spool, which is the default, and memory need nothing."""
    match os.environ.get("XR2_OUTBOX"):
        case "database":
            from . import event_tables

            event_tables.install()
        case "celery":
            from . import worker  # noqa: F401


app = create_app()
