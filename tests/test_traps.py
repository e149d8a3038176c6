"""Every trap that frameworks, servers and visitors set has a test that names it: "Trap 7", "Traps 4 and 5".

What it takes to spring each of them, and the line that keeps it shut, is said where it is named.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

TRAPS = {
    1: "a value that is set in a thread or a task is lost",
    2: "a streamed body runs without a scope, or is closed without being iterated",
    3: "a token crosses a yield",
    4: "a generator is closed by the garbage collector",
    5: "a disconnect looks like success",
    6: "work outlives its request",
    7: "a prompt is fetched while the body streams",
    8: "the session middleware stands inside of ours",
    9: "a nested change of the session is not saved",
    10: "an idle page is touched",
    11: "async Django and the user; a login, a logout",
    12: "on_commit in async code, without a database, in a TestCase",
    13: "a rollback",
    14: "the commit fails after the 200",
    15: "the path of a route differs by version",
    16: "Flask tears its context down twice",
    17: "test clients do not close responses",
    18: "installed twice, or mounted",
    19: "the handler for 500 runs without a scope",
    20: "a session key leaks",
    21: "annotations that are text",
    22: "a tracked dependency that yields",
    23: "one request sees the scope of another",
    24: "a fork",
    25: "the end of a process",
    26: "two tabs write the cookie at once",
    27: "a thread sees the request of the framework",
    28: "many visitors at once",
    29: "opening the page is no purchase",
    30: "a field raises",
    31: "a shared computer",
    32: "a shared cache",
    33: "our failure in the application's transaction",
    34: "a server that drips, a resolver that hangs",
    35: "staging beside production",
}

_NAMED = re.compile(r"\btraps?\s+(\d+(?:(?:,\s*(?:and\s+)?|\s+and\s+)\d+)*)", re.IGNORECASE)


def traps_named_in(text: str) -> set[int]:
    return {int(number) for numbers in _NAMED.findall(text) for number in re.findall(r"\d+", numbers)}


def docstrings_of_tests(path: Path) -> Iterator[tuple[str, str]]:
    """Return the docstrings of a module, its test classes and its test functions, each with where it stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    waiting: list[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]] = [
        (path.relative_to(TESTS).as_posix(), tree)
    ]
    for where, node in waiting:
        yield where, ast.get_docstring(node) or ""
        if isinstance(node, ast.Module | ast.ClassDef):
            waiting += [
                (f"{where}::{each.name}", each)
                for each in node.body
                if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and each.name.lower().startswith("test")
            ]


@pytest.fixture(scope="module")
def named() -> dict[int, list[str]]:
    """Where each trap is named."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            for where, text in docstrings_of_tests(path):
                for trap in traps_named_in(text):
                    found[trap].append(where)
    return found


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: f"{trap}: {TRAPS[trap]}")
def test_a_test_names_it(named: dict[int, list[str]], trap: int) -> None:
    assert named[trap], f"no test names trap {trap}: {TRAPS[trap]}"


def test_no_test_names_a_trap_that_is_none(named: dict[int, list[str]]) -> None:
    assert {trap: where for trap, where in named.items() if trap not in TRAPS} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Trap 7.", {7}),
        ("Traps 4 and 5: up to version 2.3", {4, 5}),
        ("made at the commit (traps 3, 4)", {3, 4}),
        ("Traps 3, 4, and 15; nothing of 16", {3, 4, 15}),
        ("Trap 31,\n    in a task: trap\n    6", {6, 31}),
        ("Trap 12 with 3 visitors, of whom 2 and 4 leave", {12}),
        ("it strapped 5", set()),
        ("a trap of 9", set()),
    ],
)
def test_numbers_are_read_as_they_are_written(text: str, expected: set[int]) -> None:
    assert traps_named_in(text) == expected
