"""What a response may carry of ours, and nothing more: checked, then taken back for the suite's own eyes."""

from __future__ import annotations

from collections.abc import Iterable

Pairs = Iterable[tuple[str, str]]


def check(own: Pairs, left: Pairs, status: int) -> bool:
    """Compare an application's own headers with those that left; say whether ours came with them.

    Raises ``AssertionError`` where anything differs but one cookie, ``Vary`` and ``Cache-Control``, and the header that
    names the page of a trace while xR2 is on this machine, as it is here.
    """
    before, after = _normalised(own), [pair for pair in _normalised(left) if pair[0] != FOR_DEVELOPERS]
    added = [pair for pair in after if pair not in before]
    lost = [pair for pair in before if pair not in after]
    if not added and not lost:
        assert status >= 500, f"no token in an answer {status}"
        return False
    assert status < 500, f"a token in an answer {status}"
    _equal([name for name, _ in after if name not in CHANGED], [name for name, _ in before if name not in CHANGED])
    assert {name for name, _ in lost} <= {"vary", "cache-control"}, f"lost: {lost}"
    cookies = [value.partition("=")[0] for name, value in added if name == "set-cookie"]
    _equal(cookies, ["xr2_carry"])
    _check_caching(dict(before), dict(after))
    return True


FOR_DEVELOPERS = "x-xr2-trace"
CHANGED = ("set-cookie", "vary", "cache-control")


def _check_caching(before: dict[str, str], after: dict[str, str]) -> None:
    named = _items(before.get("vary"))
    _equal(_items(after.get("vary")), named if "cookie" in named or "*" in named else [*named, "cookie"])
    directives = _items(before.get("cache-control"))
    kept = [each for each in directives if not each.startswith(("public", "s-maxage", "private"))]
    _equal(_items(after.get("cache-control")), [*kept, "private"])


def _equal(found: object, expected: object) -> None:
    assert found == expected, f"{found} instead of {expected}"


def _items(value: str | None) -> list[str]:
    return [each.strip().lower() for each in (value or "").split(",") if each.strip()]


def _normalised(headers: Pairs) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]
