"""The folder that drafts are written to, as prompt files that read back as what was meant."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from ...errors import ConfigurationError
from .. import prompt_file, text_file
from ..prompts import Version
from .draft import Draft

_ORDER = ("version", "status", "ab_test", "weight", "ab_test_requests", "variables", "model_config")


class Folder:
    """Write drafts to the folder ``path``, which is made when the first is written.

    A file that is there already is replaced with ``force`` only, and never one that was written by this object.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self._path = path
        self._force = force
        self._written: set[str] = set()

    def write(self, draft: Draft) -> Path:
        """Write the draft and return its file; raise ``ConfigurationError`` where that cannot be.

        A draft without a version takes that of the file it replaces, else 1, else the next one that is free. A variant
        without a status is in ``testing``, so that it takes no production traffic.
        """
        name = _file_name(draft)
        path = self._path / name
        if name.casefold() in self._written:
            raise ConfigurationError([f"{path} holds another prompt of this import already"])
        front = {**({"status": "testing"} if draft.variant else {}), **draft.front}
        front["version"] = self._version(draft, name)
        content = compose(front, draft.texts)
        try:
            self._put(path, content)
        except FileExistsError as exc:
            raise ConfigurationError([f"{path} exists; --force replaces it"]) from exc
        except OSError as exc:
            raise ConfigurationError([f"{path} cannot be written: {exc.strerror}"]) from exc
        self._written.add(name.casefold())
        return path

    def _version(self, draft: Draft, name: str) -> int:
        known = {path.name: version.version_number for path, version in self._versions(draft.slug)}
        replaced = known.pop(name, None)
        holders = {number: other for other, number in known.items()}
        wanted: int | None = draft.front.get("version")
        if wanted in holders:
            raise ConfigurationError([f"version {wanted} of {draft.slug} is in {self._path / holders[wanted]} already"])
        if wanted is not None:
            return wanted
        if replaced is not None and replaced not in holders:
            return replaced
        return 1 if 1 not in holders else max(holders) + 1

    def _versions(self, slug: str) -> list[tuple[Path, Version]]:
        versions = []
        for path in [self._path / f"{slug}.prompt", *sorted(self._path.glob(f"{slug}.*.prompt"))]:
            with suppress(ConfigurationError):
                versions.append((path, prompt_file.parse(text_file.read(path), slug=slug, changed_at=0.0)))
        return versions

    def _put(self, path: Path, content: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        if not self._force:
            path.touch(exist_ok=False)
        # Whoever watches the folder sees the file whole or not at all, and a link is replaced, never followed.
        handle, temporary = tempfile.mkstemp(dir=self._path, prefix=".", suffix=".tmp")
        try:
            with open(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            if not self._force:
                path.unlink()
            raise


def compose(front: Mapping[str, Any], texts: Mapping[str, str]) -> bytes:
    """Return the prompt file of this front matter and these texts of roles.

    Raises ``ConfigurationError`` where it would not read back as the same, or is too large to be read.
    """
    ordered = {name: front[name] for name in _ORDER if name in front}
    bodies = "\n".join(
        f"{role}:\n{prompt_file.escape(texts[role])}\n" for role in ("system", "user", "assistant") if role in texts
    )
    try:
        content = f"---\n{tomli_w.dumps(ordered)}---\n{bodies}"
        data = content.encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError([f"it holds what a prompt file cannot hold: {exc}"]) from exc
    if len(data) > text_file.MAX_BYTES:
        raise ConfigurationError([f"its prompt file would be larger than {text_file.MAX_BYTES:,} bytes"])
    version = prompt_file.parse(content, slug="", changed_at=0.0)
    kept = {"system": version.system_prompt, "user": version.user_prompt, "assistant": version.assistant_prompt}
    same_texts = {role: text for role, text in kept.items() if text is not None} == dict(texts)
    if not same_texts or version.model_config != front.get("model_config", {}):
        raise ConfigurationError(["its prompt file would not read back as the same prompt"])
    return data


def _file_name(draft: Draft) -> str:
    version = draft.front.get("version", 1)
    variant = draft.variant or (f"v{version}" if version > 1 else None)
    return f"{draft.slug}.{variant}.prompt" if variant else f"{draft.slug}.prompt"
