"""The words on the pages."""

from __future__ import annotations

from xr2_web import RenderedPrompt


def write(rendered: RenderedPrompt) -> str:
    """Stand in for a language model: the visitor reads the rendered user prompt itself.

    A real shop would send the prompt to its model provider here and return the answer.
    """
    return rendered.user_prompt or ""
