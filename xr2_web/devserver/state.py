"""Where the local xR2 keeps its state between runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path


def state_file(prompts: Path, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file for one folder of prompts; its own folder is made, and readable by its user only."""
    root = environ.get("XDG_STATE_HOME")
    folder = (Path(root) if root else Path.home() / ".local" / "state") / "xr2-web"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder / f"local-{hashlib.sha1(os.fsencode(prompts.resolve())).hexdigest()[:8]}.sqlite3"
