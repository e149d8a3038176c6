from __future__ import annotations

from collections.abc import Iterator

import pytest

from .local_xr2 import LocalXr2


@pytest.fixture(scope="session")
def _local_xr2() -> Iterator[LocalXr2]:
    with LocalXr2() as server:
        yield server


@pytest.fixture
def local_xr2(_local_xr2: LocalXr2) -> LocalXr2:
    """A local xR2 without any traces; the server is shared by the tests of a session."""
    _local_xr2.clear()
    return _local_xr2
