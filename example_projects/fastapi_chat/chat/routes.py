"""The page, the streamed answer, the thumb."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from xr2_web import track_event

from .adviser import AdviserDep, PromptDep

router = APIRouter()
templates = Jinja2Templates(Path(__file__).resolve().parent / "templates")


class Like(BaseModel):
    """Whether the like counted, or why it did not."""

    accepted: bool
    reason: str | None


@router.get("/", response_class=HTMLResponse)
async def page(request: Request) -> HTMLResponse:
    return templates.TemplateResponse(request, "chat.html")


@router.post("/chat")
async def chat(
    message: Annotated[str, Form(min_length=1, max_length=500)],
    prompt: PromptDep,
    adviser: AdviserDep,
) -> StreamingResponse:
    words = adviser.answer(prompt.render({"question": message}))
    source = {"X-Prompt-Trace": prompt.trace_id} if prompt.trace_id else {}
    return StreamingResponse(words, media_type="text/plain; charset=utf-8", headers=source)


@router.post("/like")
async def like() -> Like:
    """Credit the visitor's latest answer."""
    receipt = track_event("answer_liked")
    return Like(accepted=receipt.accepted, reason=receipt.reason)
