"""The application: ``uvicorn shop.app:app``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.config import Config
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from xr2_web.starlette import Xr2Middleware

from . import accounts, storefront
from .pages import not_found
from .store import Store

PACKAGE = Path(__file__).resolve().parent


def create_app() -> Starlette:
    """Make the application as the environment configures it."""
    prepare_outbox()
    config = Config()
    secret_key = config("SHOP_SECRET_KEY", default="insecure-only-for-development")
    store = Store(config("SHOP_DATABASE", default=str(PACKAGE.parent / "shop.sqlite3")))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Store]]:
        await run_in_threadpool(store.create_tables)
        yield {"store": store}

    return Starlette(
        routes=[
            Route("/", storefront.home, name="home"),
            Route("/products/{slug}", storefront.product, name="product"),
            Route("/checkout", storefront.checkout, methods=["POST"], name="checkout"),
            Route("/thanks", storefront.thanks, name="thanks"),
            Route("/signup", accounts.sign_up, methods=["GET", "POST"], name="sign_up"),
            Route("/login", accounts.log_in, methods=["GET", "POST"], name="log_in"),
            Route("/logout", accounts.log_out, methods=["POST"], name="log_out"),
            Mount("/static", StaticFiles(directory=PACKAGE / "static"), name="static"),
        ],
        middleware=[
            Middleware(SessionMiddleware, secret_key=secret_key),
            Middleware(AuthenticationMiddleware, backend=accounts.SessionBackend()),
            Middleware(Xr2Middleware, secret_key=secret_key),
        ],
        exception_handlers={404: not_found},
        lifespan=lifespan,
    )


def prepare_outbox() -> None:
    """Install what ``XR2_OUTBOX`` names; the spool, which is the default, and memory need nothing."""
    match os.environ.get("XR2_OUTBOX"):
        case "database":
            from . import event_tables

            event_tables.install()
        case "celery":
            from . import worker  # noqa: F401


app = create_app()
