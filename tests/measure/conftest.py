"""What the tests of measurements share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.measure.target import LocalTarget
from tests.measure.setups import HOST, Setup


@pytest.fixture
def own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder, and so a measuring lock, of the test's own: searches on this host do not interfere."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    tempfile.tempdir = None


@pytest.fixture
def setup(tmp_path: Path, own_locks: Path) -> Setup:
    """The fake model, to be measured on this host under another name."""
    return Setup.below(tmp_path, LocalTarget(HOST))
