"""What the tests of this folder share: an artifact, a bundle of it, and the store of a study's artifacts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.store import Artifact, Store
from tests.deploy import bundles


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return bundles.put_fake(Store(tmp_path / "store"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that `written` copies: nobody may change it."""
    folder = tmp_path_factory.mktemp("bundle")
    return bundles.write(folder / "deploy", bundles.put_fake(Store(folder / "store")))


@pytest.fixture
def written(tmp_path: Path, bundle: Path) -> Path:
    """A bundle of the fake model that a test may spoil."""
    return Path(shutil.copytree(bundle, tmp_path / "deploy"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the artifact of trial 2 of `studies.STUDY`."""

    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "fake.json").write_text('{"classes": 2}')
        return {}

    store = Store(tmp_path / "store")
    store.put("model", "key2", {}, build)
    return store
