"""One fleet for all tests of a module: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.cluster import Cluster


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of a fleet."""
    pytest.importorskip("cryptography")
    from autoopt.fleet.certificates import init

    folder = tmp_path_factory.mktemp("fleet") / "certs"
    init(folder)
    return folder


@pytest.fixture(scope="module")
def cluster(certs: Path) -> Iterator[Cluster]:
    """A hub, and the targets `a` and `b`."""
    pytest.importorskip("distributed")
    with Cluster(certs.parent, certs) as found:
        found.start_hub("--lost-after", "5s")
        found.wait_for("hub")
        for name in ("a", "b"):
            found.start_member(name)
        for name in ("a", "b"):
            found.wait_for(name)
        yield found
