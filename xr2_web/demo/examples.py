"""The example projects: where they are, what runs them, and the way through them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigurationError
from .failure import Failure
from .walk import CHAT, SHOP, Step

LOCAL_XR2 = ("starlette", "uvicorn", "jinja2")
"""What the local xR2 needs."""

GUNICORN = ("gunicorn", "--workers", "2", "--threads", "4", "--bind", "fd://{fd}")
UVICORN = ("uvicorn", "--workers", "2", "--no-access-log", "--fd", "{fd}")


@dataclass(frozen=True, slots=True)
class Example:
    """An example project. ``server`` and ``prepare`` are what follows ``python``; ``{fd}`` is a listening socket.

    ``beside``, where there is one, is a program that runs beside the server, such as a worker; ``accounts`` is the
    query for the id and the name of everybody who has signed up.
    """

    framework: str
    folder: str
    server: tuple[str, ...]
    needs: tuple[str, ...]
    steps: tuple[Step, ...] = SHOP
    prepare: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    accounts: str | None = "SELECT id, username FROM user"

    @property
    def server_name(self) -> str:
        """The program that serves it."""
        return self.server[1]

    def user_ids(self, database: Path) -> dict[str, str]:
        """Return the user ids in the app's own database, by name. Raises ``Failure``."""
        if self.accounts is None:
            return {}
        try:
            with closing(sqlite3.connect(database)) as connection:
                return {name: str(user_id) for user_id, name in connection.execute(self.accounts)}
        except sqlite3.Error as exc:
            raise Failure(f"the accounts of {self.framework} cannot be read: {exc}") from exc


EXAMPLES = (
    Example(
        "django",
        "django_shop",
        server=("-m", *GUNICORN, "config.wsgi"),
        prepare=("manage.py", "migrate"),
        needs=("django", "gunicorn"),
        accounts="SELECT id, username FROM auth_user",
    ),
    Example("flask", "flask_shop", server=("-m", *GUNICORN, "shop:create_app()"), needs=("flask", "gunicorn")),
    Example(
        "starlette",
        "starlette_shop",
        server=("-m", *UVICORN, "shop.app:app"),
        needs=("starlette", "uvicorn", "jinja2", "itsdangerous", "python_multipart"),
    ),
    Example(
        "fastapi",
        "fastapi_chat",
        server=("-m", *UVICORN, "chat.main:app"),
        needs=("fastapi", "uvicorn", "jinja2", "python_multipart"),
        steps=CHAT,
        accounts=None,
    ),
)


def find_projects() -> Path:
    """Return the folder of the example projects: inside the package where it is installed, beside it in a clone."""
    package = Path(__file__).parents[1]
    for parent in (package, package.parent):
        if (parent / "example_projects" / "prompts").is_dir():
            return parent / "example_projects"
    raise ConfigurationError(["the example projects are not here: install a wheel of xr2-web, or run from a clone"])


def missing(examples: Sequence[Example]) -> list[str]:
    """Return the modules that the examples need and that are not installed."""
    needed = dict.fromkeys((*LOCAL_XR2, *(module for each in examples for module in each.needs)))
    return [module for module in needed if find_spec(module) is None]
