"""A home folder with the data and weights of its study in it is copied, and the original is deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

import autoopt
from autoopt.testing import example
from tests.e2e.helpers import SPACE, run

pytest.importorskip("torch")
HOME = "mlruns"
ARGUMENTS = (
    *("search", "--model", f"{HOME}/nets.py:build", "--option", "task=segmentation", "--data", f"{HOME}/data"),
    *("--weights", f"{HOME}/w.safetensors", "--space", f"{HOME}/space.yaml", "--home", HOME, "--max-drop", "0.5"),
)


def filled(home: Path) -> None:
    """A home folder with everything that a study needs: images, a network, weights and a space."""
    for index in range(8):
        image = np.random.default_rng(index).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        for kind, values in (("images", image), ("masks", np.uint8(image[..., 0] > 127))):
            (home / "data" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(home / "data" / kind / f"{index}.png")
    (home / "nets.py").write_text("from autoopt.testing.example import build\n")
    (home / "space.yaml").write_text(SPACE)
    example.weights(home / "w.safetensors")


def test_a_copy_of_a_home_folder_is_whole_without_the_original(tmp_path: Path) -> None:
    """The same relative command goes on in the copy, makes nothing anew and writes only there."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    filled(first / HOME)
    done = run(*ARGUMENTS, "--budget", "2", cwd=first, quick=True)
    assert done.returncode == 0, done.stderr
    shutil.copytree(first, copy)
    shutil.rmtree(first)

    done = run(*ARGUMENTS, "--budget", "3", cwd=copy, quick=True)
    assert done.returncode == 0, done.stderr
    assert "3 trials" in done.stdout and "Artifacts made: none" in done.stdout
    assert len(autoopt.front(home=copy / HOME).records) == 3
    folder, _ = autoopt.pull(tmp_path / "bundle", home=copy / HOME, self_test=False, pick="fastest")
    assert not first.exists() and str(first) not in (folder / "bundle.json").read_text()
    client = mlflow.MlflowClient(f"sqlite:///{copy / HOME / 'mlflow.db'}")
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    assert len(runs) == 4 and all(client.list_artifacts(item.info.run_id) for item in runs)
