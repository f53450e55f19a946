"""A bundle is written complete or not at all, and never over anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.core.store import Artifact
from autoopt.deploy.layout import read_card
from autoopt.deploy.predictor import load
from autoopt.deploy.replacing import exchange_folders
from autoopt.deploy.writer import write_bundle
from autoopt.errors import BundleError
from tests import tiny
from tests.deploy.bundles import FAKE, LABELS, write


@pytest.mark.parametrize("exchange", [exchange_folders, lambda one, other: False])
def test_a_bundle_is_replaced(written: Path, artifact: Artifact, exchange: object) -> None:
    """Writing over a bundle leaves the new one and nothing else, also where folders cannot be swapped."""
    write(written, artifact, trial=7, exchange=exchange)

    assert read_card(written)["trial"] == 7
    assert sorted(path.name for path in written.parent.iterdir()) == ["deploy", "store"]


def test_other_folders_are_left_alone(tmp_path: Path, written: Path, artifact: Artifact) -> None:
    """A folder with other files, a bundle with a stranger's file in it, a file and a link are refused and untouched."""
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.txt").write_text("years of work")
    (written / "model" / "notes.md").write_text("mine")
    (tmp_path / "link").symlink_to(written)
    for folder in (strange, written, strange / "thesis.txt", tmp_path / "link", strange / "thesis.txt" / "below"):
        with pytest.raises(BundleError, match="choose another"):
            write(folder, artifact)

    assert (strange / "thesis.txt").read_text() == "years of work"
    assert (written / "model" / "notes.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deploy", "link", "store", "strange"]


def test_an_empty_folder_is_used(tmp_path: Path, artifact: Artifact) -> None:
    """An empty folder, and one whose parents do not exist, become bundles that others may read."""
    (tmp_path / "empty").mkdir()

    for folder in (tmp_path / "empty", tmp_path / "a" / "b"):
        load(write(folder, artifact), stand_ins=True).close()
        assert folder.stat().st_mode & 0o777 == 0o755


def test_an_altered_artifact_leaves_nothing(tmp_path: Path, artifact: Artifact) -> None:
    """An artifact that was altered in the store is refused, and no half-written folder stays."""
    (artifact.path / "fake.json").write_text('{"classes": 3}')

    with pytest.raises(BundleError, match=r"fake\.json was altered"):
        write(tmp_path / "deploy", artifact)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_facts_must_say_whether_it_is_demo(tmp_path: Path, artifact: Artifact) -> None:
    """A bundle without the name of its workload and the demo flag, or with a fact that hides a setting, is an error."""
    with pytest.raises(ValueError, match=r"missing \['demo', 'workload'\]"):
        write_bundle(tmp_path / "deploy", artifact, FAKE, tiny.PIPELINE, LABELS, {})
    with pytest.raises(ValueError, match=r"not allowed \['runtime'\]"):
        write(tmp_path / "deploy", artifact, runtime={})
