"""The panel for Flask-DebugToolbar: name ``xr2_web.flask_toolbar.Xr2Panel`` in ``DEBUG_TB_PANELS``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from flask_debugtoolbar.panels import DebugPanel
from jinja2 import Environment, FileSystemLoader

from . import panel
from .scope import bound

if TYPE_CHECKING:
    from werkzeug import Request, Response


class Xr2Panel(DebugPanel):
    """Shows the prompts and the events of a request.

    The toolbar is drawn before the response has left. With ``Xr2(app)`` after the toolbar's own ``init_app`` the events
    that the status decides are made by then; the other way round the panel shows them as pending.
    """

    name = "xR2"
    has_content = True
    _shown: dict[str, Any] | None = None

    def nav_title(self) -> str:
        """Return the title in the toolbar."""
        return panel.TITLE

    def title(self) -> str:
        """Return the title above the tables."""
        return panel.TITLE

    def nav_subtitle(self) -> str:
        """Return how many prompts and events there were."""
        return str(self._stats()["subtitle"])

    def url(self) -> str:
        """Return no address: the tables are in the page."""
        return ""

    def process_request(self, request: Request) -> None:
        """Have the requests of this application write down what they do."""
        if (scope := bound()) is not None:
            scope.runtime.is_witnessed = True

    def process_response(self, request: Request, response: Response) -> None:
        """Take what this request has done."""
        self._shown = _seen()

    def content(self) -> str:
        """Return the tables."""
        return _environment().get_template(panel.TEMPLATE).render(self._stats())

    def _stats(self) -> dict[str, Any]:
        return self._shown or panel.absent(_ABSENT)


def _seen() -> dict[str, Any] | None:
    scope = bound()
    return None if scope is None else panel.shown(scope.runtime.settings, scope.record)


@cache
def _environment() -> Environment:
    return Environment(autoescape=True, loader=FileSystemLoader(panel.FOLDER))


_ABSENT = "No Xr2(app) serves this request: install it on the application."
