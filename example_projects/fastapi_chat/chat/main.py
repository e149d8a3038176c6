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
    secret_key = os.environ.get("SHOP_SECRET_KEY", "insecure-only-for-development")
    app = FastAPI(docs_url=None, redoc_url=None)
    app.add_middleware(Xr2Middleware, secret_key=secret_key)
    app.mount("/static", StaticFiles(directory=PACKAGE / "static"), name="static")
    app.include_router(router)
    return app


app = create_app()
