"""A MONAI bundle as a workload: its answers are MONAI's, its options and its single output mean what they say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import predict
from autoopt.inference.steps.axes import Axes
from autoopt.inference.steps.own_range import MinMax
from autoopt.nets.weights import load_weights
from autoopt.testing import workload_problems
from autoopt.workloads.identity import code_identity
from autoopt.workloads.loading import load_workload
from tests.workloads.models.bundles import NETWORK, RANGE, TASK, bundle, load, squares, steps, write


@pytest.fixture(name="squares")
def squares_fixture(tmp_path: Path) -> Path:
    """Eight grey images of 32 x 32 with a bright square, as npz files."""
    return squares(tmp_path / "data")


def test_a_bundle_is_a_workload(tmp_path: Path, squares: Path) -> None:
    """Network, weights, transforms and inferer of a bundle come out as MONAI itself runs them."""
    inferers = pytest.importorskip("monai.inferers")
    folder = bundle(tmp_path / "bundle")
    workload = load_workload(f"model:{folder}", squares, tmp_path, TASK)
    pipeline = workload.pipeline
    assert workload.labels == ("background", "square")
    assert (pipeline.tile, pipeline.overlap, pipeline.clip, pipeline.largest_component) == (
        (16, 16),
        0.5,
        (-1.0, 3.0),
        True,
    )
    assert workload_problems(workload) == [] and workload.weights is not None and workload.build is not None
    net = workload.build().eval()
    load_weights(net, workload.weights)
    image = workload.splits.val[0].read().image

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            answer: np.ndarray = net(torch.from_numpy(batch)).numpy()
        return answer

    ours = predict(pipeline.__class__(**{**pipeline.__dict__, "largest_component": False}), run, image)
    scaled = torch.from_numpy(np.clip((image[..., 0] + 1) / 4, 0, 1)).float()[None, None]
    with torch.no_grad():
        theirs = inferers.SlidingWindowInferer([16, 16], overlap=0.5)(scaled, net).argmax(1)[0].numpy()
    np.testing.assert_array_equal(ours, theirs)


def test_a_bundle_that_was_moved_is_the_same_model(tmp_path: Path, squares: Path) -> None:
    """Artifacts are made by what a bundle says, not by where it lies; of a trusted one its scripts count too."""

    def identity(folder: Path, **options: Any) -> Any:
        build = load_workload(f"model:{folder}", squares, tmp_path, {**TASK, **options}).build
        assert build is not None
        return code_identity(build)

    first, moved = bundle(tmp_path / "first"), tmp_path / "moved"
    shutil.copytree(first, moved)
    assert identity(first) == identity(moved)
    before = identity(first, trust=True)
    (moved / "scripts").mkdir()
    (moved / "scripts" / "net.py").write_text("")
    assert before == identity(first, trust=True) != identity(moved, trust=True)
    with (moved / "configs" / "inference.json").open("a") as stream:
        stream.write("\n")
    assert identity(first) != identity(moved)


@pytest.mark.parametrize(("argument", "side"), [("in_channels", "inputs"), ("out_channels", "outputs")])
def test_a_network_wider_than_any_is_refused(tmp_path: Path, squares: Path, argument: str, side: str) -> None:
    """A width that would fill memory is refused by name, before anything of that size is made."""
    folder = write(tmp_path / "bundle", network_def={**NETWORK, argument: 10**9})
    with pytest.raises(WorkloadError, match=f"the {side} of the network must have at most 65536 channels, it says"):
        load_workload(f"model:{folder}", squares, tmp_path, TASK)


def test_a_single_sigmoid_gets_a_background(tmp_path: Path, squares: Path) -> None:
    """A network with one output, a sigmoid and a threshold marks what exceeds it, under the names of its weights."""
    folder = write(
        tmp_path / "bundle",
        network_def={"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
        postprocessing={
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
                {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.7},
            ],
        },
    )
    (folder / "models").mkdir()
    torch.save({"weight": torch.full((1, 1, 1, 1), 3.0), "bias": torch.zeros(1)}, folder / "models" / "model.pt")
    workload = load(folder, squares)
    assert workload_problems(workload) == [] and workload.build is not None and workload.weights is not None
    net = workload.build().eval()
    load_weights(net, workload.weights)
    image = workload.splits.val[0].read().image
    answer = predict(workload.pipeline, lambda batch: net(torch.from_numpy(batch)).detach().numpy(), image)
    np.testing.assert_array_equal(answer, 1 / (1 + np.exp(-3 * image[..., 0])) > 0.7)


def test_a_classifier_that_ends_with_one_place_and_sigmoids(tmp_path: Path) -> None:
    """Scores (n, classes, 1, 1) become (n, classes); a sigmoid of classes that exclude each other is said."""
    data = tmp_path / "data"
    for split in ("train", "val", "test"):
        for label in ("a", "b", "c"):
            (data / split / label).mkdir(parents=True)
            for number in range(2):
                values = np.random.default_rng(ord(label) + number).random((8, 8))
                np.save(data / split / label / f"{split}{label}{number}.npy", values)
    for classes in (3, 1):
        sigmoid = {"transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]}
        network = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": classes, "kernel_size": 8}
        folder = write(tmp_path / f"bundle{classes}", network_def=network, postprocessing=sigmoid)
        for split in ("train", "val", "test") if classes == 1 else ():
            shutil.rmtree(data / split / "c")
        workload = load(folder, data, task="classification")
        assert workload.build is not None and workload_problems(workload) == []
        assert workload.build()(torch.zeros(1, 1, 8, 8)).shape == (1, max(2, classes))
        assert any("ends with a sigmoid" in text for text in workload.remarks) == (classes == 3)


def volumes(folder: Path) -> Path:
    """Six volumes of 12 x 10 x 5 voxels with zeros around a bright box, and an affine."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for index in range(6):
        label = np.zeros((12, 10, 5), np.uint8)
        label[2:7, 3:8, 1:4] = 1
        values = (label * 40 + np.random.default_rng(index).normal(60, 9, label.shape) * (label > 0)).astype(np.float32)
        for part, array in (("images", values), ("masks", label)):
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.2, 2.0, 1.0])), folder / part / f"n{index}.nii.gz")
    return folder


def test_a_network_of_slices_takes_volumes(tmp_path: Path) -> None:
    """A SliceInferer makes a pipeline of 2D calls through a volume, whose intensities are those of the whole volume."""
    content = {
        "preprocessing": steps({"_target_": "LoadImaged"}, {"_target_": "ScaleIntensityd"}),
        "inferer": {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2},
    }
    workload = load(write(tmp_path / "bundle", **content), volumes(tmp_path / "data"))
    assert workload.pipeline.sliced and workload.pipeline.input_shape == (1, 1, 16, 16)
    assert workload.pipeline.steps == (MinMax(), Axes((2, 0, 1)))
    sample = workload.splits.val[0].read()
    tiles, _ = workload.pipeline.prepare(sample.image, sample.affine)
    assert tiles.shape == (5, 1, 16, 16) and tiles.max() == 1 and tiles[0].max() == 0


def test_steps_of_an_own_order_and_options(tmp_path: Path) -> None:
    """An option of intensities takes all of the bundle's away; one that would change the order of steps is refused."""
    crop = {"_target_": "CropForegroundd", "source_key": "image"}
    spaced = {"_target_": "Spacingd", "pixdim": [1.0, 1.0, 1.0]}
    window = {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "mode": "gaussian"}
    network = {**NETWORK, "spatial_dims": 3}
    before = steps({"_target_": "NormalizeIntensityd", "nonzero": True}, spaced, crop)
    folder = write(tmp_path / "bundle", network_def=network, preprocessing=before, inferer=window)
    data = volumes(tmp_path / "data")
    pipeline = load(folder, data).pipeline
    assert pipeline.blend == "gaussian" and [type(step).__name__ for step in pipeline.steps] == [
        "ZScore",
        "Resample",
        "CropForeground",
    ]
    plain = load(folder, data, scale=2.0).pipeline
    assert plain.scale == 2.0 and [type(step).__name__ for step in plain.steps] == ["Resample", "CropForeground"]
    with pytest.raises(WorkloadError, match="orientation and spacing_mm cannot change"):
        load(folder, data, spacing_mm="2x2x2")


def test_options_count_more_than_the_bundle(tmp_path: Path, squares: Path) -> None:
    """Tile, overlap and intensities on the command line replace those of the bundle; a changed bundle builds anew."""
    folder = write(
        tmp_path / "bundle",
        preprocessing=steps({**RANGE, "clip": True}),
        inferer={"_target_": "SlidingWindowInferer", "roi_size": [16, 16], "overlap": 0.5},
    )
    plain, other = load(folder, squares), load(folder, squares, tile="32x32", overlap=0.1, scale=2.0)
    assert plain.pipeline.tile == (16, 16) and plain.pipeline.clip == (-50.0, 150.0) and plain.weights is None
    assert (other.pipeline.tile, other.pipeline.overlap, other.pipeline.scale) == ((32, 32), 0.1, 2.0)
    assert other.pipeline.clip is None and other.pipeline.mean == (0.0,)
    before: Any = plain.build
    write(folder, network_def={**NETWORK, "act": "prelu"})
    after: Any = load(folder, squares).build
    assert before.keywords != after.keywords


def test_images_without_an_affine_are_refused_where_one_is_needed(tmp_path: Path) -> None:
    """A bundle that resamples needs images that say how large a voxel is."""
    data = tmp_path / "volumes"
    data.mkdir()
    for index in range(6):
        label = np.zeros((8, 8, 8), np.uint8)
        label[2:5, 2:5, 2:5] = 1
        np.savez(data / f"c{index}.npz", image=label[..., np.newaxis].astype(np.float32), label=label)
    folder = write(
        tmp_path / "bundle",
        network_def={**NETWORK, "spatial_dims": 3},
        preprocessing=steps({"_target_": "Spacingd", "pixdim": [1, 1, 1]}),
    )
    with pytest.raises(WorkloadError, match="needs images with an affine, such as NIfTI"):
        load(folder, data)


def test_a_whole_volume_needs_the_size_of_a_call(tmp_path: Path) -> None:
    """Where the network takes whole volumes that are resampled first, nobody knows their size: it is asked for."""
    nibabel = pytest.importorskip("nibabel")
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for index in range(6):
        label = np.zeros((8, 8, 8), np.uint8)
        label[2:5, 2:5, 2:5] = 1
        for name, values in (("images", label.astype(np.float32)), ("masks", label)):
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "data" / name / f"c{index}.nii.gz")
    folder = write(
        tmp_path / "bundle",
        network_def={**NETWORK, "spatial_dims": 3},
        preprocessing=steps({"_target_": "Spacingd", "pixdim": [2, 2, 2]}),
    )
    with pytest.raises(WorkloadError, match="give the size of a call, --option tile"):
        load(folder, tmp_path / "data")
    assert load(folder, tmp_path / "data", tile="16x16x16").pipeline.spacing_grid == "first_voxel"


def test_the_size_of_a_whole_picture_is_columns_by_rows(tmp_path: Path) -> None:
    """A bundle that takes whole pictures is called with their columns first, as MONAI loads them."""
    data = tmp_path / "data"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        for index in range(5):
            Image.fromarray(np.full((24, 40), 9 * index, np.uint8)).save(data / name / f"{name}{index}.png")
    folder = write(tmp_path / "bundle", preprocessing=steps({"_target_": "LoadImaged"}))
    pipeline = load(folder, data, task="classification", labels="a,b").pipeline
    assert (pipeline.tile, pipeline.transposed) == ((40, 24), True)
