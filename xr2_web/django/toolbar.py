"""The panel for django-debug-toolbar: name ``xr2_web.django.toolbar.Xr2Panel`` in ``DEBUG_TOOLBAR_PANELS``."""

from __future__ import annotations

from functools import cache
from typing import Any

from debug_toolbar.panels import Panel
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template import Context, Engine

from .. import panel
from ..exchange import Exchange
from ..scope import bound
from .installation import witness
from .middleware import MARK, RECORD


class Xr2Panel(Panel):
    """Shows the prompts and the events of a request.

    It works where the toolbar's middleware stands above ours, as is usual, and below. What only comes to pass when a
    streamed body leaves is not in it.
    """

    is_async = True
    title = panel.TITLE

    @property
    def nav_subtitle(self) -> str:
        """How many prompts and events there were."""
        return str(self._stats().get("subtitle", ""))

    @property
    def content(self) -> str:
        """The tables."""
        return _engine().get_template(panel.TEMPLATE).render(Context(self._stats()))

    def enable_instrumentation(self) -> None:
        """Have the requests of this process write down what they do."""
        witness()

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Keep what this request has done."""
        exchange = request.__dict__.get(MARK)
        stats = panel.absent(_ABSENT) if exchange is None else _seen(exchange, request)
        self.record_stats(stats)  # type: ignore[no-untyped-call]

    def _stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.get_stats()  # type: ignore[no-untyped-call]
        return stats


def _seen(exchange: Exchange, request: HttpRequest) -> dict[str, Any]:
    scope = bound()
    record = scope.record if scope is not None and scope.native is request else request.__dict__.get(RECORD)
    return panel.shown(exchange.runtime.settings, record)


@cache
def _engine() -> Engine:
    # The panel's own: the project may have no loader that looks into our folder, and no Django templates at all.
    return Engine(dirs=[panel.FOLDER])


_ABSENT = "No xr2_web.django.Xr2Middleware has seen this request: add it to MIDDLEWARE."
