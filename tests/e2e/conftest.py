"""Every end-to-end test is watched: no command, and no child of one, may open a connection to the outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.silence import OUTSIDE, PROXIES, told, write_watch


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the processes that the tests start tell what they reach for."""
    folder = tmp_path_factory.mktemp("watch")
    write_watch(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)  # for the children of searches in this process
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        for name, place in PROXIES.items():
            patch.setenv(name, place)
            patch.setenv(name.upper(), place)
        yield folder


@pytest.fixture(autouse=True)
def silent(watched: Path) -> Iterator[None]:
    """Fail the test if a process of it reached for the outside."""
    before = len(told(watched, OUTSIDE))
    yield
    assert not told(watched, OUTSIDE)[before:]
