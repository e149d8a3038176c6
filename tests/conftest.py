from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from xr2_web import settings
from xr2_web.default import no_default
from xr2_web.runtime import Runtime
from xr2_web.scope import bound

from .local_xr2 import LocalXr2


@pytest.fixture(scope="session")
def _state_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def state_home(_state_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for what a test, and the processes that it starts, keep on disk: no test adopts another's."""
    folder = next(_state_homes)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No test finds the process default of another, or leaves a scope bound."""
    with no_default():
        yield
    assert bound() is None


@pytest.fixture(scope="session")
def _local_xr2() -> Iterator[LocalXr2]:
    with LocalXr2() as server:
        yield server


@pytest.fixture
def local_xr2(_local_xr2: LocalXr2) -> LocalXr2:
    """A local xR2 without any traces; the server is shared by the tests of a session."""
    _local_xr2.clear()
    return _local_xr2


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The authority, trusted as a user would have it: through the environment."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


class RuntimeMaker:
    """Makes runtimes that talk to the local xR2, unless the settings say otherwise, and closes them."""

    def __init__(self, local_xr2: LocalXr2) -> None:
        self._given = {"api_key": local_xr2.api_key, "base_url": local_xr2.base_url}
        self._made: list[Runtime] = []

    def __call__(self, *, keys: Any = tuple, defer: Any = None, chance: Any = None, **keywords: Any) -> Runtime:
        chosen = settings.load(settings.keywords({**self._given, **keywords}))
        runtime = Runtime(chosen, keys=keys, defer=defer, chance=chance)
        self._made.append(runtime)
        return runtime

    def close(self) -> None:
        """Close them without waiting for what they have not delivered."""
        for runtime in self._made:
            runtime.close(0)


@pytest.fixture
def make_runtime(local_xr2: LocalXr2) -> Iterator[RuntimeMaker]:
    maker = RuntimeMaker(local_xr2)
    yield maker
    maker.close()


@pytest.fixture
def runtime(make_runtime: RuntimeMaker) -> Runtime:
    """The runtime of a test that needs nothing special."""
    return make_runtime()
