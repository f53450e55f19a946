"""A model of nnU-Net as a workload: its answers are nnU-Net's own, its weights its own, its judges unseen cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.compress import ensemble
from autoopt.errors import DataError, WeightsError, WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.tiling import Tiling
from autoopt.nets.files import read_net, write_net
from autoopt.nets.weight_parts import digest_of_all
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.nnunet import matches
from autoopt.workloads.models.nnunet_folder import Trained, read_trained
from autoopt.workloads.models.nnunet_pipeline import pipeline_of_plans
from autoopt.workloads.networks.nnunet import build_nnunet
from tests.golden import make_nnunet as golden
from tests.workloads.data import folders
from tests.workloads.models import nnunets

TOLERATED = 0.01
"""The share of voxels that may differ where sums are float32: nnU-Net's are float16, and round most at corners, of
which images so small have many."""


def trained(folder: Path, name: str) -> Trained:
    """The model of a golden file, in a folder as nnU-Net leaves it."""
    model = golden.MODELS[name]
    mirror = {"inference_allowed_mirroring_axes": model["mirror"] or None}
    nnunets.write_model(
        folder / "m",
        range(model["folds"]),
        plans=model["plans"],
        dataset=model["dataset"],
        configuration="made",
        network_weights={},
        **mirror,
    )
    return read_trained(folder / "m", None, None)


def image_of(name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The image of a golden file as it is stored, (x, y, z, channels) or a picture, and its affine."""
    volume = golden.volume_of(name)
    if volume.shape[1] == 1:
        return np.moveaxis(volume[:, 0], 0, -1), None
    return volume.T, np.diag([*golden.MODELS[name]["spacing"][::-1], 1.0])


def outputs_of(pipeline: Pipeline, found: Trained, name: str) -> tuple[list[list[np.ndarray]], Tiling]:
    """What the network of each fold answers for each tile, and how they lie in the image."""
    tiles, tiling = pipeline.prepare(*image_of(name))
    made = []
    for fold in range(len(found.folds)):
        net = golden.fill(build_nnunet(found.plans.shape, pipeline.channels, pipeline.classes), fold)
        with torch.inference_mode():
            made.append(list(np.concatenate([net(part).numpy() for part in torch.from_numpy(tiles).split(16)])))
    return made, tiling


@pytest.mark.parametrize("name", golden.MODELS)
def test_answers_are_those_of_nnunet(tmp_path: Path, name: str) -> None:
    """With nnU-Net's float16 sums every voxel has its label and logits are equal; with float32 nearly every voxel."""
    found = trained(tmp_path, name)
    pipeline = pipeline_of_plans(found, found.mirrored, 0.5)
    arrays = np.load(golden.HERE / golden.MASKS)
    expected = arrays[f"mask {name}"]
    outputs, tiling = outputs_of(pipeline, found, name)
    for sums in ("float16", "float32"):
        summed = replace(pipeline, sums=sums)
        parts = [summed.joined(iter(each), tiling) for each in outputs]
        logits = np.mean(parts, axis=0, dtype=np.float32).astype(sums)
        mask = summed.answer(logits, tiling.frame)
        mask = mask[np.newaxis] if mask.ndim == 2 else mask.T
        different = np.count_nonzero(mask != expected) / expected.size
        assert different <= (0 if sums == "float16" else TOLERATED)
        if sums == "float16":
            flat = logits.reshape(len(logits), -1).ravel()[:: golden.EVERY].astype(np.float32)
            assert np.abs(flat - arrays[f"logits {name}"].astype(np.float32)).max() <= 0.01


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Six cases and their splits, of which fold 0 has left out two."""
    folder = folders.raw_nnunet(tmp_path / "Dataset001_made", labels=nnunets.DATASET["labels"])
    folders.nnunet_splits(folder / "splits_final.json")
    return folder


def load(model: Path, data: Path, **options: Any) -> Workload:
    return load_workload(f"model:{model}", data, data, options, on_remark=lambda remark: None)


def test_one_command_needs_no_more_than_the_folder(raw: Path, tmp_path: Path) -> None:
    """Labels, channels, pipeline, weights and splits come from the folder and the data; a case is what is timed."""
    folder = nnunets.write_model(tmp_path / "m")
    workload = load(folder, raw)
    assert matches(str(folder)) and not matches(str(raw))
    assert (workload.labels, workload.latency, workload.name) == (("background", "organ", "tumour"), "case", "m")
    assert workload.pipeline.mirror == (0, 1, 2) and workload.pipeline.blend == "nnunet"
    judged = {case.id for case in (*workload.splits.val, *workload.splits.test)}
    assert judged == {"c0", "c3"}
    assert any("fold 0, 8 calls for each tile" in remark for remark in workload.remarks)
    plain = load(folder, raw, mirror="none", step=0.75, latency="call").pipeline
    assert (plain.mirror, plain.overlap) == ((), 0.25)


@pytest.mark.parametrize("zipped", [False, True])
def test_weights_are_those_of_the_folds(tmp_path: Path, zipped: bool) -> None:
    """Each member of the ensemble has the weights of its fold, of a folder or a zip; the digest knows them all."""
    folder = nnunets.write_model(tmp_path / "m", (0, 1))
    path = nnunets.exported(folder, tmp_path / "m.zip", "Dataset001_made/m") if zipped else folder
    data = folders.raw_nnunet(tmp_path / "Dataset002_made", test=2, labels=nnunets.DATASET["labels"])
    workload = load(path, data, folds="0,1", mirror="none")
    assert workload.weights is not None and workload.weights.is_file()
    net = read_net(workload, workload.weights)
    for fold in (0, 1):
        wanted = nnunets.checkpoint(fold)["network_weights"]
        found = net.get_submodule(f"members.{fold}").state_dict()
        assert all(torch.equal(found[name], value) for name, value in wanted.items())
    alone = replace(workload, weight_parts=workload.weight_parts[:1])
    assert digest_of_all(workload, workload.weights, None) != digest_of_all(alone, workload.weights, None)


def test_an_ensemble_with_fewer_folds_is_stored_and_read_back(tmp_path: Path) -> None:
    """Of three folds the first two, or the first, are kept, stored as a network, and answer the same when read back."""
    folder = nnunets.write_model(tmp_path / "m", (0, 1, 2))
    data = folders.raw_nnunet(tmp_path / "Dataset002_made", test=2, labels=nnunets.DATASET["labels"])
    workload, image = load(folder, data), torch.ones(1, 1, 8, 16, 16)
    assert workload.weights is not None
    for count in (2, 1):
        whole = read_net(workload, workload.weights)
        expected = torch.stack([whole.get_submodule(f"members.{fold}")(image) for fold in range(count)]).mean(0)
        kept = ensemble.change({"members": count}, whole, whole, workload).model
        (tmp_path / str(count)).mkdir()
        write_net(kept, tmp_path / str(count))
        found = read_net(workload, workload.weights, tmp_path / str(count))
        assert torch.allclose(found(image), expected, atol=1e-5)
        assert len(found.get_submodule("members")._modules) == count


def test_trainers_that_change_the_network_are_refused_by_name(raw: Path, tmp_path: Path) -> None:
    """Weights of a trainer with a network of its own do not load, and it is named; one whose weights fit is said."""
    other = {"network_weights": {"conv.weight": torch.zeros(1)}, "trainer_name": "MyTrainer"}
    workload = load(nnunets.write_model(tmp_path / "m", **other), raw)
    assert workload.weights is not None
    with pytest.raises(WeightsError, match="trained by MyTrainer"):
        read_net(workload, workload.weights)
    fits = load(nnunets.write_model(tmp_path / "n", trainer_name="MyTrainer"), raw)
    assert fits.weights is not None and read_net(fits, fits.weights)
    assert any("MyTrainer is none of nnU-Net's own trainers" in remark for remark in fits.remarks)


def test_regions_are_scored_as_regions(tmp_path: Path) -> None:
    """A model of regions has them as labels, and a label map is one layer per region; `ignore` is unknown in all."""
    named = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    dataset = {**nnunets.DATASET, "labels": named, "regions_class_order": [1, 2]}
    folder = nnunets.write_model(tmp_path / "m", dataset=dataset, classes=2)
    raw = folders.raw_nnunet(tmp_path / "Dataset001_made", test=3, labels=named, regions_class_order=[1, 2])
    stored = np.zeros((6, 7, 5), np.uint8)
    stored[0], stored[1], stored[2] = 1, 2, 3
    for name in ("t0", "t1", "t2"):
        folders.volume(raw / "labelsTs" / f"{name}.nii.gz", stored)
    workload = load(folder, raw)
    assert (workload.labels, workload.pipeline.paint) == (("whole", "core"), (1, 2))
    assert workload.pipeline.regions == ((1, 2), (2,))
    reference = workload.splits.test[0].read().reference
    assert reference[:4, 0, 0].tolist() == [[1, 0], [1, 1], [255, 255], [0, 0]]


CLASHES: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "seen by all folds": (lambda raw: raw, {"folds": "0,1,2"}, "folds 0, 1, 2 were trained on every one"),
    "other splits": (lambda raw: raw, {"splits": "none.json"}, "there is no 'none.json'"),
    "other channels": (
        lambda raw: folders.raw_nnunet(raw.parent / "two", 4, test=2, channels=2, labels=nnunets.DATASET["labels"]),
        {"folds": "0"},
        r"takes 1 channel\(s\) \(CT\), the images have 2",
    ),
    "other labels": (
        lambda raw: folders.raw_nnunet(raw.parent / "other", 4, test=2),
        {"folds": "0"},
        r"must have the labels of .*, background, organ, tumour, its dataset.json says background, a, b",
    ),
    "pictures": (lambda raw: folders.pairs(raw.parent / "pairs"), {}, "was trained on 3D images"),
}


@pytest.mark.parametrize("name", CLASHES)
def test_data_that_do_not_fit_are_refused(raw: Path, tmp_path: Path, name: str) -> None:
    """Cases that were seen, other channels, and pictures for a model of volumes are refused in words."""
    data, options, said = CLASHES[name]
    folder = nnunets.write_model(tmp_path / "m", (0, 1, 2))
    with pytest.raises((DataError, WorkloadError), match=said):
        load(folder, data(raw), **options)


def test_other_layouts_are_taken_at_their_word(tmp_path: Path) -> None:
    """Of data in another layout the splits of its table count, and that nobody knows what was seen is said."""
    workload = load(nnunets.write_model(tmp_path / "m"), folders.volumes(tmp_path / "v"))
    assert any("is not the raw data of nnU-Net" in remark for remark in workload.remarks)


def test_plans_that_the_pipeline_cannot_follow_are_refused(tmp_path: Path) -> None:
    """Splines between slices, and another way for probabilities than for data, are refused in words."""
    for changes in (
        {"resampling_fn_data_kwargs": {**nnunets.KWARGS, "order_z": 1}},
        {"resampling_fn_probabilities": "resample_torch_fornnunet"},
    ):
        folder = tmp_path / str(len(json.dumps(changes)))
        found = read_trained(nnunets.write_model(folder, plans=nnunets.changed(nnunets.PLANS, **changes)), None, None)
        with pytest.raises(WorkloadError, match="must be resampled in one way"):
            pipeline_of_plans(found, (), 0.5)
