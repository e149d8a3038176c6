"""A prompt on its way from another format into a prompt file. No I/O happens here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigurationError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_PRIVATE = re.compile(
    r"(api|access|private|secret|account|subscription)_?key|secret|passw|credential|authori[sz]ation|headers"
    r"|(api|access|auth|bearer|refresh|session|security)_?token|^token$|endpoint|url|uri|(^|_)host$|api_?base",
    re.IGNORECASE,
)
"""Names under which configurations of models keep keys and addresses."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "model": "assistant"}


@dataclass(frozen=True, slots=True)
class Message:
    """A text and who says it, under the name of its own format; ``line`` is where it begins, 0 if unknown."""

    role: str
    text: str
    line: int = 0


@dataclass(slots=True)
class Draft:
    """What a prompt file will hold; ``left_out`` names the fields that have no place in one.

    ``front`` has the keys of the front matter. Where it names no version, the folder finds one.
    """

    slug: str
    variant: str | None = None
    texts: dict[str, str] = field(default_factory=dict)
    front: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, names: Iterable[object], *, within: str = "") -> None:
        """Note fields that have no place, ``within`` the field that holds them."""
        self.left_out += [f"{within}.{each}" if within else str(each) for each in names]

    def say(self, messages: Iterable[Message]) -> None:
        """Take the messages as the texts of their roles, without line breaks around them and without blank ones.

        Raises ``ConfigurationError`` for a role that xR2 has not, and for two messages of one role.
        """
        for message in messages:
            text = message.text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
            where = f"line {message.line}: " if message.line else ""
            role = _ROLES.get(message.role)
            if role is None:
                raise ConfigurationError([f"{where}xR2 has no messages of the role {message.role}"])
            if not text.strip():
                continue
            if role in self.texts:
                raise ConfigurationError([f"{where}a second message of the role {role}, and xR2 keeps one of each"])
            self.texts[role] = text
        if not self.texts:
            raise ConfigurationError(["it holds no text"])
        if list(self.texts) != [each for each in _ROLES if each in self.texts]:
            self.left_out.append("the order of the messages")

    def keep(self, name: str, value: object) -> None:
        """Put ``value`` into the front matter, without what TOML cannot hold; an empty one is not written.

        A configuration goes without keys and addresses: the files are made to be committed.
        """
        if not self._has_place(value, name):
            return
        plain = self._plain(value, name)
        if plain not in ({}, []):
            self.front[name] = plain

    def _plain(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            items = ((str(key), each) for key, each in value.items())
            return {
                key: self._plain(each, f"{path}.{key}") for key, each in items if self._has_place(each, f"{path}.{key}")
            }
        if isinstance(value, list):
            items = ((f"{path}[{index}]", each) for index, each in enumerate(value))
            return [self._plain(each, place) for place, each in items if self._has_place(each, place)]
        return value if isinstance(value, str | bool | int | float) else value.isoformat()

    def _has_place(self, value: object, path: str) -> bool:
        within, _, name = path.rpartition(".")
        if within.startswith("model_config") and _PRIVATE.search(name):
            self.left_out.append(f"{path} (a key or an address)")
            return False
        if isinstance(value, dict | list | str | bool | int | float) or hasattr(value, "isoformat"):
            return True
        self.left_out.append(f"{path} ({'null' if value is None else type(value).__name__})")
        return False


def as_slug(name: str) -> str:
    """Return ``name`` in the letters of a slug, which is also a part of a file's name; it may be a title or a path.

    Raises ``ConfigurationError`` where nothing is left of it.
    """
    if _SAFE.fullmatch(name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-_")[:100]
    if not slug:
        raise ConfigurationError([f"no slug can be made of {name!r}: letters a to z and digits are needed"])
    return slug


def check_slug(slug: object) -> str:
    """Return ``slug`` if an application could ask for it by this name; else raise ``ConfigurationError``."""
    if isinstance(slug, str) and _SAFE.fullmatch(slug):
        return slug
    raise ConfigurationError([f"the slug {slug!r} is not made of letters a to z, digits, - and _, at most 100"])
