"""What the tests of this folder share: an artifact, a bundle of it, and the store of a study's artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.store import Artifact, Store
from tests.deploy import bundles


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return bundles.put_fake(Store(tmp_path / "store"))


@pytest.fixture
def written(tmp_path: Path, artifact: Artifact) -> Path:
    return bundles.write(tmp_path / "deploy", artifact)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the artifact of trial 2 of `studies.STUDY`."""

    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "fake.json").write_text('{"classes": 2}')
        return {}

    store = Store(tmp_path / "store")
    store.put("model", "key2", {}, build)
    return store
