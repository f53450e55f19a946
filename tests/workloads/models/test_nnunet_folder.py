"""Models that nnU-Net trained, found in folders and zip files; their folds and checkpoints."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.errors import WeightsError, WorkloadError
from autoopt.workloads.models.nnunet_checkpoint import read_facts
from autoopt.workloads.models.nnunet_folder import find_models, read_trained
from tests.workloads.models import nnunets

TOP = "Dataset001_made/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set's folder of results with one model of three folds."""
    results = tmp_path_factory.mktemp("nnUNet_results")
    nnunets.write_model(results / TOP, (0, 1, "all"))
    return results


@pytest.mark.parametrize("where", ["model", "data set", "results", "zip"])
def test_a_model_is_found(model: Path, tmp_path: Path, where: str) -> None:
    """The folder of a model, of its data set, of all results, and the zip of its export say the same."""
    paths = {"model": model / TOP, "data set": model / "Dataset001_made", "results": model}
    path = paths.get(where) or nnunets.exported(model / TOP, tmp_path / "made.zip", TOP)
    found = read_trained(path, None, None)
    assert found.plans.tile == (8, 16, 16) and found.dataset.labels == ("background", "organ", "tumour")
    assert (found.folds, found.mirrored, found.trainer) == (("0", "1"), (0, 1, 2), "nnUNetTrainer")
    file, entry = found.weights("1")
    assert file.is_file() and (entry == f"{TOP}/fold_1/checkpoint_final.pth") == (where == "zip")


def test_folds_are_those_that_are_asked_for(model: Path) -> None:
    """`folds` chooses; `all` is taken by itself only where it is alone or asked for; others are refused with a list."""
    assert read_trained(model, None, "1").folds == ("1",)
    assert read_trained(model, None, "all").folds == ("all",)
    with pytest.raises(WorkloadError, match="folds must be out of 0, 1, all"):
        read_trained(model, None, "0,4")
    with pytest.raises(WorkloadError, match="checkpoint_best"):
        read_trained(model, None, None, "best")


def test_several_models_need_a_choice(tmp_path: Path) -> None:
    """Of a data set with two configurations one must be named, and is then read."""
    for name in ("3d_fullres", "3d_wide"):
        nnunets.write_model(tmp_path / f"nnUNetTrainer__nnUNetPlans__{name}", configuration=name)
    assert len(find_models(tmp_path)) == 2
    with pytest.raises(WorkloadError, match=r"choose one of .*3d_fullres.*with --option configuration="):
        read_trained(tmp_path, None, None)
    with pytest.raises(WorkloadError, match=r"must name a model in .*got '2d'"):
        read_trained(tmp_path, "2d", None)
    assert read_trained(tmp_path, "3d_wide", None).plans.configuration == "3d_wide"


def test_folds_of_different_trainings_are_refused(tmp_path: Path) -> None:
    """Folds of another trainer beside each other are no ensemble."""
    folder = nnunets.write_model(tmp_path / "m", (0, 1))
    torch.save(nnunets.checkpoint(1, trainer_name="Mine"), folder / "fold_1" / "checkpoint_final.pth")
    with pytest.raises(WorkloadError, match=r"of one configuration and trainer, fold 0 is of .*Mine"):
        read_trained(folder, None, None)


@pytest.mark.parametrize("name", ["../fold_0/checkpoint_final.pth", "/fold_0/checkpoint_final.pth"])
def test_names_that_leave_a_zip_count_for_nothing(tmp_path: Path, name: str) -> None:
    """A name in a zip file that leads out of it is no file of a model."""
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in ("plans.json", "dataset.json", name):
            archive.writestr(file, "{}")
    assert find_models(path) == {}


def test_links_out_of_the_folder_are_refused(model: Path, tmp_path: Path) -> None:
    """A checkpoint that is a link to a file elsewhere is refused."""
    folder = nnunets.write_model(tmp_path / "m", ())
    (folder / "fold_0").mkdir()
    (folder / "fold_0" / "checkpoint_final.pth").symlink_to(model / TOP / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(WorkloadError, match="leads out of its folder"):
        read_trained(folder, None, None)


class Run:
    """What is unpickled runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__("os").system, (f"touch {self.path}",)


def saved(value: Any) -> io.BytesIO:
    stream = io.BytesIO()
    torch.save(value, stream)
    stream.seek(0)
    return stream


def test_a_hostile_checkpoint_is_refused_without_running(tmp_path: Path) -> None:
    """A checkpoint whose pickle would run a command is refused by the name of that, and nothing ran."""
    with pytest.raises(WeightsError, match=r"holds a Python object \('posix.system'\)"):
        read_facts(saved(nnunets.checkpoint(0, logging=Run(tmp_path / "ran"))), "c.pth")
    assert not (tmp_path / "ran").exists()


def test_numbers_of_numpy_are_passed_over() -> None:
    """A checkpoint with numpy's numbers in its log, and no axes to mirror, is read."""
    facts = read_facts(saved(nnunets.checkpoint(0, inference_allowed_mirroring_axes=None, _best_ema=np.int64(1))), "c")
    assert facts.mirrored == () and facts.configuration == "3d_fullres"
