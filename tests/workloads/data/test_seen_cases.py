"""No case that a model was trained on is in val or test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.layouts.nnunet import is_training_case
from autoopt.workloads.data.seen_cases import find_splits, read_splits, without_seen
from tests.workloads.data import folders
from tests.workloads.data.layouts.test_nnunet import ids


def splits_of(folder: Path, folds: Sequence[str], splits: str | None = None) -> dict[str, set[str]]:
    path = find_splits(folder, splits)
    dataset = read_dataset(
        folder,
        "segmentation",
        adapt=lambda found: without_seen(
            found, folder, folds, path, [item for item in found.items if is_training_case(folder, item)]
        ),
    )
    assert any("seen by" in remark for remark in dataset.remarks)
    return ids(dataset)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Nine training cases with a split into three folds in nnUNet_preprocessed."""
    folder = folders.raw_nnunet(tmp_path / "nnUNet_raw" / "Dataset001_x", 9)
    folders.nnunet_splits(tmp_path / "nnUNet_preprocessed" / "Dataset001_x" / "splits_final.json", 9)
    return folder


def test_val_and_test_are_what_the_fold_left_out(raw: Path) -> None:
    """Of fold 1 the cases that it left out are in val and test, all others in train."""
    found = splits_of(raw, ["1"])
    assert found["val"] | found["test"] == {"c1", "c4", "c7"} and found["val"] and found["test"]
    assert found["train"] == {f"c{index}" for index in range(9)} - {"c1", "c4", "c7"}


def test_with_a_test_set_the_rest_is_val(tmp_path: Path) -> None:
    """With imagesTs and labelsTs these are the test, and what the fold left out is val."""
    folder = folders.raw_nnunet(tmp_path / "Dataset001_x", 6, test=2)
    splits = folders.nnunet_splits(tmp_path / "my_splits.json")
    found = splits_of(folder, ["0"], str(splits))
    assert (found["val"], found["test"]) == ({"c0", "c3"}, {"t0", "t1"})


@pytest.mark.parametrize("folds", [["0", "1", "2"], ["all"]])
def test_where_all_was_seen_the_test_set_serves_for_both(tmp_path: Path, folds: list[str]) -> None:
    """Of models that have seen all of imagesTr, val and test are drawn from imagesTs; no case of Tr is in them."""
    folder = folders.raw_nnunet(tmp_path / "Dataset001_x", 6, test=4)
    folders.nnunet_splits(folder / "splits_final.json")
    found = splits_of(folder, folds)
    assert found["val"] | found["test"] == {"t0", "t1", "t2", "t3"} and found["val"] and found["test"]


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (["0", "1"], "folds 0, 1 were trained on every one of them: choose fewer with --option folds=0"),
        (["all"], "fold all was trained on every one"),
        (["7"], "must say what fold 7 was trained on, it has 3 folds"),
    ],
)
def test_what_leaves_no_unseen_case_is_refused(raw: Path, folds: list[str], said: str) -> None:
    """Folds that have seen every case between them are refused in words where there is no test set."""
    with pytest.raises(DataError, match=said):
        splits_of(raw, folds)


def test_without_splits_nobody_knows(tmp_path: Path) -> None:
    """Without splits_final.json and a test set it is refused, with where nnU-Net keeps that file."""
    folder = folders.raw_nnunet(tmp_path / "Dataset001_x", 6)
    with pytest.raises(DataError, match=r"--option splits=PATH \(it lies in nnUNet_preprocessed/Dataset001_x\)"):
        splits_of(folder, ["0"])
    with pytest.raises(DataError, match=r"there is no 'none\.json'"):
        find_splits(folder, "none.json")


def test_splits_of_other_data_are_refused(raw: Path, tmp_path: Path) -> None:
    """A splits_final.json that names cases which are not there is of another data set; one that is none is named."""
    other = folders.nnunet_splits(tmp_path / "other.json", 12)
    with pytest.raises(DataError, match="of which c10, c11, c9 is none"):
        splits_of(raw, ["0"], str(other))
    for text in ("{", "[1]", '[{"train": [], "val": [3]}]'):
        other.write_text(text)
        with pytest.raises(DataError, match=r"other\.json"):
            read_splits(other)
