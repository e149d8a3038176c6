"""Read the text of a prompt file. No I/O happens here.

A file ``<slug>.prompt`` holds one version of a prompt, ``<slug>.<anything>.prompt`` a further one of the same slug::

    ---
    version = 2                     # 1 where it is left out
    status = "production"           # or draft, testing, inactive, deprecated
    ab_test = "friendlier"          # two versions with the same name are a running A/B test
    weight = 3                      # its part of the test's requests, 1 where it is left out
    ab_test_requests = 1000         # the test ends when it has handed out so many
    variables = ["name", {name = "plan", required = true, default = "free", description = "What they pay for"}]

    [model_config]
    model = "gpt-4o-mini"
    temperature = 0.7
    ---
    system:
    You write short greetings.

    user:
    Greet {{name}}, who is on the {{plan}} plan.

The front matter between the ``---`` lines is TOML and may be left out. In the body a line that is only ``system:``,
``user:`` or ``assistant:`` starts that role's text; text before the first such line is the user's. A text that has
such a line itself has it with a backslash before it, of which one is taken away.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from ..errors import ConfigurationError
from .prompts import STATUSES, Version

MAX_WEIGHT = 1_000_000

_FRONT_MATTER = re.compile(r"---[ \t]*\n(?P<matter>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_ROLE = re.compile(r"^(system|user|assistant):[ \t]*$", re.MULTILINE)
_ROLE_AS_TEXT = re.compile(r"^(?=\\*(?:system|user|assistant):[ \t]*$)", re.MULTILINE)
_ESCAPE = re.compile(rf"{_ROLE_AS_TEXT.pattern}\\", re.MULTILINE)

_YAML_LINE = re.compile(r"^[A-Za-z_][\w-]*:(?:\s|$)", re.MULTILINE)
_TOML_LINE = re.compile(r"""^[ \t]*(?:[\w."'-]+[ \t]*=|\[)""", re.MULTILINE)
_DOTPROMPT_ROLE = re.compile(r"""\{\{\s*role\s+["']|<<<dotprompt:""")


class Variable(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A variable of a prompt, as xR2 describes it; what is left out here is left out there."""

    name: str
    required: bool | msgspec.UnsetType = msgspec.UNSET
    default: Any = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET


class FrontMatter(msgspec.Struct, forbid_unknown_fields=True):
    """What may stand between the ``---`` lines."""

    version: Annotated[int, msgspec.Meta(ge=1)] = 1
    status: str = "production"
    variables: list[str | Variable] = []
    model_config: dict[str, Any] = {}
    ab_test: str | None = None
    weight: float = 1.0
    ab_test_requests: Annotated[int, msgspec.Meta(ge=1)] | None = None


def parse(text: str, *, slug: str, changed_at: float, file: str = "") -> Version:
    """Return the version that ``text`` describes; raise ``ConfigurationError`` where it cannot be read."""
    matter, body = _split(text.replace("\r\n", "\n"))
    if _is_dotprompt(matter, body):
        raise ConfigurationError(["this is a dotprompt file: xr2-web prompts import makes one of ours of it"])
    front = _front_matter(matter)
    variables = (Variable(each) if isinstance(each, str) else each for each in front.variables)
    roles = _roles(body)
    if not roles:
        raise ConfigurationError(["it holds no text"])
    return Version(
        slug=slug,
        file=file,
        version_number=front.version,
        status=front.status,
        system_prompt=roles.get("system"),
        user_prompt=roles.get("user"),
        assistant_prompt=roles.get("assistant"),
        variables=tuple(msgspec.to_builtins(each) for each in variables),
        model_config=front.model_config,
        ab_test=front.ab_test,
        weight=front.weight,
        ab_test_requests=front.ab_test_requests,
        changed_at=changed_at,
    )


def escape(text: str) -> str:
    """Return ``text`` as it stands in a body, so that none of its lines is taken for a role's."""
    return _ROLE_AS_TEXT.sub(r"\\", text)


def _is_dotprompt(matter: str, body: str) -> bool:
    if not matter.strip():
        return _DOTPROMPT_ROLE.search(body) is not None
    return _YAML_LINE.search(matter) is not None and _TOML_LINE.search(matter) is None


def _split(text: str) -> tuple[str, str]:
    if not text.startswith("---"):
        return "", text
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise ConfigurationError(["the front matter has no closing line of ---"])
    return match["matter"], text[match.end() :]


def _front_matter(matter: str) -> FrontMatter:
    try:
        # With the line of --- before it, so that a problem names its line in the file.
        front = msgspec.convert(tomllib.loads(f"\n{matter}"), FrontMatter)
    except (ValueError, RecursionError, msgspec.ValidationError) as exc:
        raise ConfigurationError([f"front matter: {exc}"]) from exc
    for problem in _problems(front):
        raise ConfigurationError([f"front matter: {problem}"])
    return front


def _problems(front: FrontMatter) -> Iterator[str]:
    if front.status not in STATUSES:
        yield f"status must be one of {', '.join(STATUSES)}, and is {front.status!r}"
    names = Counter(each if isinstance(each, str) else each.name for each in front.variables)
    if doubled := [name for name, count in names.items() if count > 1]:
        yield f"there are two variables of the name {doubled[0]}"
    if not 0 < front.weight <= MAX_WEIGHT:
        yield (
            f"weight must be above 0 and at most {MAX_WEIGHT:,}, and is {front.weight:g}; "
            "to serve only the other version, take ab_test out of both files"
        )


def _roles(body: str) -> dict[str, str]:
    before, *rest = _ROLE.split(body)
    roles: dict[str, str] = {}
    for role, text in zip(["user", *rest[::2]], [before, *rest[1::2]], strict=True):
        if not text.strip():
            continue
        if role in roles:
            problem = (
                f"there are two texts of the role {role}; a line that is text has a backslash before it: \\{role}:"
            )
            raise ConfigurationError([problem])
        roles[role] = _ESCAPE.sub("", text.strip("\n"))
    return roles
