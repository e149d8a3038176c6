"""The tea shop in Flask. ``create_app`` makes it, configured by the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask, g, render_template, session
from werkzeug.exceptions import NotFound

from xr2_web.flask import Xr2

from . import accounts, database, storefront

xr2 = Xr2()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=os.environ.get("SHOP_SECRET_KEY", "insecure-only-for-development"),
        DATABASE=os.environ.get("SHOP_DATABASE", Path(app.root_path).parent / "shop.sqlite3"),
        SESSION_COOKIE_SAMESITE="Lax",
        XR2_USER_ID=lambda request: session.get("user_id"),
        XR2_EVENTS={
            "storefront.checkout": {
                "event": "purchase_completed",
                "value": lambda call: g.order.total,
                "currency": "EUR",
            },
        },
    )
    app.config.from_mapping(config or {})
    database.init_app(app)
    prepare_outbox()
    xr2.init_app(app)
    app.register_blueprint(accounts.bp)
    app.register_blueprint(storefront.bp)
    app.register_error_handler(NotFound, not_found)
    return app


def prepare_outbox() -> None:
    """Install what ``XR2_OUTBOX`` names; the spool, which is the default, and memory need nothing."""
    match os.environ.get("XR2_OUTBOX"):
        case "database":
            from . import event_tables

            event_tables.install()
        case "celery":
            from . import worker  # noqa: F401


def not_found(exc: NotFound) -> tuple[str, int]:
    return render_template("not_found.html"), 404
