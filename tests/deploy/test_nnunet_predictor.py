"""Programs that use nnU-Net's predictor get its answers from a trained folder, and a bundle's from a bundle."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from autoopt.deploy.predictor import load  # noqa: E402
from autoopt.errors import UsageError, WorkloadError  # noqa: E402
from autoopt.nnunet import nnUNetPredictor  # noqa: E402
from autoopt.workloads.models.nnunet_folder import read_trained  # noqa: E402
from autoopt.workloads.networks.nnunet import build_nnunet  # noqa: E402
from tests.golden import make_nnunet as golden  # noqa: E402
from tests.workloads.models import nnunets  # noqa: E402

TOLERATED = 0.01
"""The share of voxels that may differ: nnU-Net adds up in float16, this predictor in float32."""
BUNDLE = golden.HERE / "bundle-1-onnxruntime"
"""A segmentation of coloured pictures."""
REGIONS = "regions, transposed, masked"


def folder_of(folder: Path, name: str) -> Path:
    """The model of a golden file as a training leaves it, with its weights."""
    model = golden.MODELS[name]
    arguments = {"plans": model["plans"], "dataset": model["dataset"], "configuration": "made"}
    mirror = {"inference_allowed_mirroring_axes": model["mirror"] or None}
    nnunets.write_model(folder, range(model["folds"]), **arguments, network_weights={}, **mirror)
    found = read_trained(folder, None, None)
    channels = len(model["dataset"]["channel_names"])
    for fold in range(model["folds"]):
        net = golden.fill(build_nnunet(found.plans.shape, channels, found.dataset.outputs), fold)
        saved = nnunets.checkpoint(fold, "made", network_weights=net.state_dict(), **mirror)
        torch.save(saved, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


@pytest.mark.parametrize("name", [name for name in golden.MODELS if "residual" not in name])
def test_arrays_are_those_of_nnunet(tmp_path: Path, name: str) -> None:
    """An image (channels, z, y, x) and its spacing give the label map that nnU-Net gives, and its probabilities."""
    predictor = nnUNetPredictor()
    predictor.initialize_from_trained_model_folder(folder_of(tmp_path / "m", name), None)
    image, spacing = golden.volume_of(name), golden.MODELS[name]["spacing"]
    answer, likely = predictor.predict_single_npy_array(image, {"spacing": spacing}, save_or_return_probabilities=True)
    expected = np.load(golden.HERE / golden.MASKS)[f"mask {name}"]
    assert answer.shape == expected.shape and answer.dtype == np.uint8
    assert np.mean(answer != expected) <= TOLERATED
    assert likely.shape[1:] == expected.shape and likely.min() >= 0 and likely.max() <= 1
    if name != REGIONS:
        inside = likely.max(axis=0) > 0.5
        np.testing.assert_array_equal(likely.argmax(axis=0)[inside], answer[inside])


def test_folders_of_files(tmp_path: Path) -> None:
    """Two channel files make a case; masks have their grid and are what arrays give, and lists of files do the same."""
    predictor = nnUNetPredictor(use_mirroring=False)
    predictor.initialize_from_trained_model_folder(folder_of(tmp_path / "m", REGIONS), (0,))
    image, spacing = golden.volume_of(REGIONS), golden.MODELS[REGIONS]["spacing"]
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    (tmp_path / "in").mkdir()
    for index, channel in enumerate(image):
        nibabel.save(nibabel.Nifti1Image(channel.T, affine), tmp_path / "in" / f"case_{index:04d}.nii.gz")
    assert predictor.predict_from_files(str(tmp_path / "in"), str(tmp_path / "out"), save_probabilities=True) == [None]
    written = nibabel.load(tmp_path / "out" / "case.nii.gz")
    expected = predictor.predict_single_npy_array(image, {"spacing": spacing})
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected.T)
    np.testing.assert_allclose(written.affine, affine)
    assert np.load(tmp_path / "out" / "case.npz")["probabilities"].shape == (3, *expected.shape)
    files = [str(tmp_path / "in" / f"case_{index:04d}.nii.gz") for index in (0, 1)]
    (answer,) = predictor.predict_from_files([files], None)
    np.testing.assert_array_equal(answer, expected)
    (tmp_path / "in" / "case_0001.nii.gz").unlink()
    with pytest.raises(UsageError, match=r"case_0000\.nii\.gz must come with case_0001"):
        predictor.predict_from_files(tmp_path / "in", None)


def test_a_bundle_answers_as_it_does_elsewhere() -> None:
    """A bundle in the place of the training's folder gives its own answers, bit for bit."""
    predictor = nnUNetPredictor()
    predictor.initialize_from_trained_model_folder(BUNDLE, use_folds=(0, 1, 2, 3, 4))
    with load(BUNDLE) as mine:
        pipeline = mine.pipeline
        image = np.random.default_rng(0).integers(0, 256, (40, 30, pipeline.channels)).astype(np.float32)
        expected = mine.predict(image)
    found = predictor.predict_single_npy_array(np.moveaxis(image, -1, 0)[:, np.newaxis], {"spacing": (999, 1, 1)})
    np.testing.assert_array_equal(found, expected[np.newaxis])


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    """Nothing opened, an earlier stage, an image of another shape, a checkpoint of another name: one sentence each."""
    predictor = nnUNetPredictor()
    with pytest.raises(UsageError, match="call initialize_from_trained_model_folder"):
        predictor.predict_single_npy_array(np.zeros((1, 2, 3, 4)), {"spacing": (1, 1, 1)})
    predictor.initialize_from_trained_model_folder(BUNDLE)
    with pytest.raises(UsageError, match=r"an image must have the shape \(3, z, y, x\), got \(1, 1, 8, 8\)"):
        predictor.predict_single_npy_array(np.zeros((1, 1, 8, 8)), {"spacing": (1, 1, 1)})
    with pytest.raises(UsageError, match="cascades"):
        predictor.predict_single_npy_array(np.zeros((3, 1, 8, 8)), {"spacing": (1, 1, 1)}, np.zeros((1, 8, 8)))
    for properties in ({}, {"spacing": (1, 1)}, {"spacing": (0, 1, 1)}, {"spacing": "abc"}):
        with pytest.raises(UsageError, match="must have a spacing of three numbers"):
            predictor.predict_single_npy_array(np.zeros((3, 1, 8, 8)), properties)
    with pytest.raises(UsageError, match="must be a folder of images, it is not there"):
        predictor.predict_from_files(tmp_path / "nowhere", None)
    with pytest.raises(UsageError, match="it holds none"):
        predictor.predict_from_files(tmp_path, None)
    with pytest.raises(WorkloadError, match="holds no model of nnU-Net"):
        predictor.initialize_from_trained_model_folder(tmp_path)
    with pytest.raises(UsageError, match="checkpoint_name must be one of checkpoint_final"):
        predictor.initialize_from_trained_model_folder(tmp_path, None, "mine.pth")


def test_lists_of_files_are_named_as_nnunet_names_them(tmp_path: Path) -> None:
    """A point in a name is a part of it; two cases of one name are refused before one replaces the other's answer."""
    predictor = nnUNetPredictor()
    predictor.initialize_from_trained_model_folder(BUNDLE)
    for folder, name in (("a", "p1.left"), ("a", "p1.right"), ("b", "p1.left")):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(tmp_path / folder / f"{name}_0000.png")
    lists = [[tmp_path / "a" / f"p1.{side}_0000.png"] for side in ("left", "right")]
    predictor.predict_from_files(lists, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p1.left.png", "p1.right.png"]
    predictor.predict_from_files(lists, tmp_path / "out", save_probabilities=True, overwrite=False)
    assert (tmp_path / "out" / "p1.left.npz").exists()
    with pytest.raises(UsageError, match=r"1 names, such as p1\.left, are those of several cases"):
        predictor.predict_from_files([*lists, [tmp_path / "b" / "p1.left_0000.png"]], tmp_path / "out")
    with pytest.raises(UsageError, match="one list is empty"):
        predictor.predict_from_files([[]], None)
    with pytest.raises(UsageError, match="cannot be used with a tile_step_size of 0"):
        nnUNetPredictor(tile_step_size=0).initialize_from_trained_model_folder(BUNDLE)
