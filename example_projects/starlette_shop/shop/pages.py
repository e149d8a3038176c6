"""Templates, and the page for what is not there."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

templates = Jinja2Templates(Path(__file__).resolve().parent / "templates")


async def not_found(request: Request, exc: HTTPException) -> Response:
    return templates.TemplateResponse(request, "not_found.html", status_code=404)
