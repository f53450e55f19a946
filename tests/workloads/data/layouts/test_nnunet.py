"""The raw data of nnU-Net as a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import DataError
from autoopt.workloads.contract import IGNORED
from autoopt.workloads.data.dataset import Dataset, read_dataset
from tests.workloads.data import folders


def ids(dataset: Dataset) -> dict[str, set[str]]:
    splits = dataset.splits
    return {
        "train": {case.id for case in (*splits.train, *splits.calibration)},
        "val": {case.id for case in splits.val},
        "test": {case.id for case in splits.test},
    }


def test_files_of_a_case_are_its_channels(tmp_path: Path) -> None:
    """CASE_0000 and CASE_0001 are two channels of one case; labels have the names of dataset.json."""
    found = read_dataset(folders.raw_nnunet(tmp_path / "Dataset001_x", channels=2), "segmentation")
    assert (found.channels, found.dimensions, found.labels) == (2, 3, ("background", "a", "b"))
    sample = found.splits.val[0].read()
    assert sample.image.shape == (6, 7, 5, 2)
    assert np.array_equal(sample.image[..., 1], sample.reference * 10.0 + 1)


def test_imagests_with_labels_is_the_test(tmp_path: Path) -> None:
    """imagesTs with labelsTs is the test split, val is drawn from imagesTr; without labels it is not read, as said."""
    folder = folders.raw_nnunet(tmp_path / "Dataset001_x", 8, test=3)
    assert ids(read_dataset(folder, "segmentation"))["test"] == {"t0", "t1", "t2"}
    for path in (folder / "labelsTs").iterdir():
        path.unlink()
    (folder / "labelsTs").rmdir()
    found = read_dataset(folder, "segmentation")
    assert {case.id[0] for case in folders.all_cases(found)} == {"c"}
    assert any("imagesTs is not read" in remark for remark in found.remarks)


def test_the_label_that_is_ignored_is_not_scored(tmp_path: Path) -> None:
    """`ignore` in label maps is read as a voxel that nobody labelled, also where a map has nothing but that."""
    labels = {"background": 0, "a": 1, "ignore": 2}
    folder = folders.raw_nnunet(tmp_path / "Dataset001_x", labels=labels)
    only = np.zeros((6, 7, 5), np.int8)
    only[:2] = 2
    folders.volume(folder / "labelsTr" / "c0.nii.gz", only)
    found = read_dataset(folder, "segmentation")
    assert found.labels == ("background", "a")
    values = {case.id: set(np.unique(case.read().reference)) for case in folders.all_cases(found)}
    assert values["c0"] == {0, IGNORED} and values["c1"] == {0, 1, IGNORED}


def test_colour_pictures_have_three_channels(tmp_path: Path) -> None:
    """A single coloured picture has all channels of dataset.json; masks of 0 and 1 are read as they are."""
    names = {str(index): "rgb_to_0_1" for index in range(3)}
    folder = folders.raw_nnunet(
        tmp_path / "Dataset003_x", 0, channel_names=names, labels={"background": 0, "road": 1}, file_ending=".png"
    )
    for index in range(6):
        folders.picture(folder / "imagesTr" / f"p{index}_0000.png", index)
        folders.mask(folder / "labelsTr" / f"p{index}.png", index, factor=1)
    found = read_dataset(folder, "segmentation")
    assert (found.channels, found.dimensions, found.labels) == (3, 2, ("background", "road"))
    assert Image.open(folder / "labelsTr" / "p0.png").getextrema() == (0, 1)
    assert set(np.unique(found.splits.val[0].read().reference)) == {0, 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no channel", r"c1_0001 is missing"),
        ("no label", r"c1_0000 has no label map labelsTr/c1"),
        ("no image", r"odd.nii.gz has no image in imagesTr/"),
        ("no number", r"plain.nii.gz must be called CASE_0000"),
        ("twice", r"c0 is in both"),
    ],
)
def test_odd_names_are_refused(tmp_path: Path, change: str, said: str) -> None:
    """A missing channel, label or image, a name without a channel, and a case in both parts are named."""
    folder = folders.raw_nnunet(tmp_path / "Dataset001_x", 4, channels=2)
    whole = np.zeros((6, 7, 5), np.uint8)
    if change == "no channel":
        (folder / "imagesTr" / "c1_0001.nii.gz").unlink()
    elif change == "no label":
        (folder / "labelsTr" / "c1.nii.gz").unlink()
    elif change == "no image":
        folders.volume(folder / "labelsTr" / "odd.nii.gz", whole)
    elif change == "no number":
        folders.volume(folder / "imagesTr" / "plain.nii.gz", whole)
    else:
        for name in ("imagesTs/c0_0000", "imagesTs/c0_0001", "labelsTs/c0"):
            folders.volume(folder / f"{name}.nii.gz", whole)
    with pytest.raises(DataError, match=said):
        read_dataset(folder, "segmentation")


@pytest.mark.parametrize(
    ("facts", "said"),
    [({"file_ending": ".xyz"}, "file_ending must be one of"), ({"labels": {"a": 1}}, "background is 0")],
)
def test_odd_dataset_json_is_refused(tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    """A dataset.json that cannot be followed is refused with its path."""
    folder = folders.raw_nnunet(tmp_path / "Dataset001_x", 1, **facts)
    with pytest.raises(DataError, match=said):
        read_dataset(folder, "segmentation")


def test_it_is_no_classification(tmp_path: Path) -> None:
    """imagesTr and labelsTr are no folders of two classes."""
    with pytest.raises(DataError, match="a classification needs classes"):
        read_dataset(folders.raw_nnunet(tmp_path / "Dataset001_x"), "classification")
