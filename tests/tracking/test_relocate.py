"""A home folder that was copied, moved or renamed."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest

from autoopt.tracking.relocate import artifacts_uri, relocate


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with one run that has a file."""
    folder = tmp_path / "first"
    folder.mkdir()
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("autoopt-histo", artifacts_uri(folder))
    client.log_text(client.create_run(experiment).info.run_id, "there", "a.txt")
    return folder


def files(home: Path) -> dict[str, str]:
    """Where the files of all runs of a home are by its database, and what they say."""
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    return {
        str(run.info.artifact_uri): Path(client.download_artifacts(run.info.run_id, "a.txt")).read_text()
        for run in runs
    }


def test_a_copy_finds_and_writes_its_own_files(home: Path, tmp_path: Path) -> None:
    """The copy names nothing of the original, which may be gone; a second look changes nothing."""
    copy = tmp_path / "a copy"
    shutil.copytree(home, copy)
    uri = f"sqlite:///{copy / 'mlflow.db'}"
    assert relocate(uri, copy) and not relocate(uri, copy)
    assert not relocate(f"sqlite:///{home / 'mlflow.db'}", home)
    shutil.rmtree(home)
    ((place, text),) = files(copy).items()
    assert text == "there" and place.startswith(artifacts_uri(copy))
    client = mlflow.MlflowClient(uri)
    run = client.create_run(client.get_experiment_by_name("autoopt-histo").experiment_id)
    assert run.info.artifact_uri.startswith(artifacts_uri(copy))


def test_other_databases_are_left_alone(home: Path, tmp_path: Path) -> None:
    """A server, and a database that is not that of the home folder, say themselves where files go."""
    assert not relocate("http://127.0.0.1:1", home)
    assert not relocate(f"sqlite:///{home / 'mlflow.db'}", tmp_path)
    assert not relocate(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    assert len(files(home)) == 1
