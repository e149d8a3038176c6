"""Prompts, their versions and their A/B tests, as values. No I/O happens here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

STATUSES = ("draft", "testing", "production", "inactive", "deprecated")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a prompt; ``changed_at`` is the time of its ``file``.

    ``weight`` and ``ab_test_requests`` are its part in its A/B test, and the limit that it sets to it.
    """

    slug: str
    version_number: int = 1
    status: str = "production"
    system_prompt: str | None = None
    user_prompt: str | None = None
    assistant_prompt: str | None = None
    variables: tuple[Mapping[str, Any], ...] = ()
    model_config: Mapping[str, Any] = field(default_factory=dict)
    ab_test: str | None = None
    weight: float = 1.0
    ab_test_requests: int | None = None
    changed_at: float = 0.0
    file: str = ""


@dataclass(frozen=True, slots=True)
class AbTest:
    """An A/B test between two versions of a prompt; ``version_a`` has the lower number.

    It runs until it has handed out ``request_limit`` prompts, for ever where that is None.
    """

    slug: str
    name: str
    variants: Mapping[str, Version]
    request_limit: int | None = None

    @property
    def id(self) -> str:
        """An id that stays the same while slug and name do."""
        return f"ab_{hashlib.sha1(f'{self.slug}:{self.name}'.encode()).hexdigest()[:8]}"

    @property
    def is_even(self) -> bool:
        """Whether both variants have the same weight."""
        return len({each.weight for each in self.variants.values()}) == 1

    def has_ended(self, served: Mapping[str, int]) -> bool:
        """Say whether all its requests are handed out; ``served`` counts those of each variant."""
        return self.request_limit is not None and sum(served.values()) >= self.request_limit

    def next_variant(self, served: Mapping[str, int]) -> str | None:
        """Return the variant with the fewest requests for its weight; None when the test has ended.

        ``served`` counts the requests of each variant. Of two that are even, ``version_a`` is next.
        """
        if self.has_ended(served):
            return None
        return min(self.variants, key=lambda each: served.get(each, 0) / self.variants[each].weight)

    def variant_of(self, version: Version) -> str | None:
        """Return the variant that ``version`` is, if it takes part."""
        return next((variant for variant, each in self.variants.items() if each is version), None)


@dataclass(frozen=True, slots=True)
class Prompt:
    """All versions of one slug in the order of their numbers."""

    slug: str
    versions: tuple[Version, ...]
    ab_test: AbTest | None = None

    @property
    def deployed(self) -> Version | None:
        """The newest version in production."""
        return next((each for each in reversed(self.versions) if each.status == "production"), None)


def gather(versions: Iterable[Version]) -> tuple[dict[str, Prompt], list[str]]:
    """Put versions together to prompts by slug; what does not fit together is left out and said."""
    problems: list[str] = []
    prompts = {
        slug: _prompt(slug, list(group), problems)
        for slug, group in groupby(sorted(versions, key=_slug_and_number), key=lambda each: each.slug)
    }
    return prompts, problems


def _prompt(slug: str, versions: list[Version], problems: list[str]) -> Prompt:
    distinct: list[Version] = []
    for each in versions:
        if distinct and each.version_number == distinct[-1].version_number:
            first = distinct[-1].file
            problems.append(
                f"{slug}: {first} and {each.file} hold version {each.version_number}; only {first} is served"
            )
        else:
            distinct.append(each)
    return Prompt(slug, tuple(distinct), _ab_test(slug, distinct, problems))


def _ab_test(slug: str, versions: list[Version], problems: list[str]) -> AbTest | None:
    for each in versions:
        if each.ab_test is None and (each.weight != 1 or each.ab_test_requests is not None):
            problems.append(f"{slug}: {each.file} has a part in an A/B test and names none in ab_test")
    names = dict.fromkeys(each.ab_test for each in versions if each.ab_test)
    if len(names) > 1:
        problems.append(f"{slug}: only one A/B test can run, and there are {', '.join(names)}; none is run")
        return None
    for name in names:
        rivals = [each for each in versions if each.ab_test == name]
        if len(rivals) == 2:
            limit = _request_limit(slug, name, rivals, problems)
            return AbTest(slug, name, dict(zip(("version_a", "version_b"), rivals, strict=True)), limit)
        problems.append(f"{slug}: the A/B test {name} needs two versions and has {len(rivals)}; it is not run")
    return None


def _request_limit(slug: str, name: str, rivals: list[Version], problems: list[str]) -> int | None:
    limits = sorted({each.ab_test_requests for each in rivals if each.ab_test_requests is not None})
    if len(limits) > 1:
        problems.append(f"{slug}: the A/B test {name} has two limits of requests; the lower, {limits[0]}, counts")
    return limits[0] if limits else None


def _slug_and_number(version: Version) -> tuple[str, int]:
    return version.slug, version.version_number
