"""The adviser's prompt, and the adviser, who is no language model."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends

from xr2_web import Prompt, RenderedPrompt, aget_prompt

FALLBACK = "“{{question}}” is a good question, and the adviser is out. Seventy degrees and a minute are rarely wrong."


async def fetch_prompt() -> Prompt:
    """Fetch the prompt before the answer starts: once the body streams, its trace can no longer be carried."""
    return await aget_prompt("assistant", fallback=FALLBACK)


PromptDep = Annotated[Prompt, Depends(fetch_prompt)]


class Adviser:
    """Stand in for a language model: the visitor reads the rendered user prompt itself, word by word.

    A real chat would pass ``rendered.messages()`` to its model provider here and pass on what it streams.
    """

    def __init__(self, pause: float = 0.02) -> None:
        self.pause = pause

    async def answer(self, rendered: RenderedPrompt) -> AsyncIterator[str]:
        for word in re.findall(r"\S+\s*", rendered.user_prompt or ""):
            await asyncio.sleep(self.pause)
            yield word


def get_adviser() -> Adviser:
    return Adviser()


AdviserDep = Annotated[Adviser, Depends(get_adviser)]
