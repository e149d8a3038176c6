"""What the contract leaves out names rows and modes that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .exclusions import EXCLUSIONS, Exclusion
from .modes import ALL

ROWS = {
    node.name
    for path in (Path(__file__).parent / "contract").glob("test_*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize("excluded", EXCLUSIONS, ids=lambda excluded: excluded.modes[0])
def test_an_exclusion_names_rows_and_modes_that_exist(excluded: Exclusion) -> None:
    unknown_rows = {row.partition("[")[0] for row in excluded.rows} - ROWS
    unknown_modes = [each for each in excluded.modes if not any(mode.id.startswith(each) for mode in ALL)]

    assert not unknown_rows
    assert not unknown_modes
