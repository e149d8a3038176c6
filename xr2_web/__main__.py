"""Let ``python -m xr2_web`` be ``xr2-web``."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main(prog_name="xr2-web")
