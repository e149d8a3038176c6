"""Which prompt made your visitors sign up and pay: xR2 for Django, Flask and Starlette.

Importing this loads no framework and no HTTP library; the adapters are `xr2_web.django`, `xr2_web.flask` and
`xr2_web.starlette`, the bare clients `xr2_web.client`.
"""

from __future__ import annotations

from ._version import __version__
from .default import configure, flush
from .errors import (
    ApiError,
    ConfigurationError,
    InvalidValue,
    PromptUnavailable,
    VariableError,
    Xr2Error,
)
from .models import Flushed, Prompt, Receipt, RenderedPrompt
from .prompts import aget_prompt, get_prompt
from .propagation import propagate
from .tracking import atrack_event, redirected, track, track_event
from .wrapping import Call

# After the module of the same name, which pyright would otherwise take ``xr2_web.scope`` for.
from .current import current, scope  # isort: skip

__all__ = [
    "ApiError",
    "Call",
    "ConfigurationError",
    "Flushed",
    "InvalidValue",
    "Prompt",
    "PromptUnavailable",
    "Receipt",
    "RenderedPrompt",
    "VariableError",
    "Xr2Error",
    "__version__",
    "aget_prompt",
    "atrack_event",
    "configure",
    "current",
    "flush",
    "get_prompt",
    "propagate",
    "redirected",
    "scope",
    "track",
    "track_event",
]
