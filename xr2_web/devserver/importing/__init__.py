"""Prompts of other tools, made into prompt files: Prompty, dotprompt and YAML.

``read`` turns a file into drafts, which name what of it has no place with us; ``Folder`` writes drafts as prompt files.
"""

from __future__ import annotations

from .draft import Draft
from .folder import Folder
from .sources import read

__all__ = ["Draft", "Folder", "read"]
