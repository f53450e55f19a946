"""Masks where people keep them: beside their images, in other folders, in those of splits; several files of a case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.layouts import (
    beside,
    classes,
    find_items,
    pair_folders,
    pairs,
    several_files,
    split_folders,
)
from autoopt.workloads.data.wishes import Wishes
from tests.workloads.data import folders


def pair(image: Path, mask: Path, index: int) -> None:
    folders.picture(image, index)
    folders.mask(mask, index)


def in_splits(folder: Path) -> None:
    for split in ("Training", "val", "test"):
        for index in range(3):
            pair(folder / split / "images" / f"{index}.png", folder / split / "masks" / f"{index}_mask.png", index)


def splits_inside(folder: Path) -> None:
    for split in ("train", "valid", "test"):
        for index in range(3):
            pair(folder / "imgs" / split / f"{index}.png", folder / "Labels" / split / f"{index}.png", index)


def in_classes(folder: Path) -> None:
    for kind in ("COVID", "Normal"):
        for index in range(6):
            pair(folder / kind / "images" / f"{index}.png", folder / kind / "masks" / f"{index}.png", index)


def in_names(folder: Path) -> None:
    for split in ("train", "val", "test"):
        for index in range(3):
            pair(folder / f"{split}_images" / f"{index}.png", folder / f"{split}_masks" / f"{index}.png", index)


@pytest.mark.parametrize(
    ("write", "names", "splits"),
    [
        (in_names, {"train/0", "val/2", "test/1"}, {"train", "val", "test"}),
        (in_splits, {"Training/0", "val/2", "test/1"}, {"train", "val", "test"}),
        (splits_inside, {"train/0", "valid/2", "test/1"}, {"train", "val", "test"}),
        (in_classes, {"COVID/0", "Normal/5"}, {None}),
    ],
)
def test_masks_in_other_folders(
    tmp_path: Path, write: Callable[[Path], None], names: set[str], splits: set[str | None]
) -> None:
    """Folders of images and masks have usual names, and may lie in those of splits or others, or hold these."""
    write(tmp_path)
    found = find_items(tmp_path, "segmentation")
    assert found.items and names <= {item.name for item in found.items}
    assert {item.split for item in found.items} == splits
    assert all(item.images[0].path.stem == item.label.path.stem.removesuffix("_mask") for item in found.items)  # type: ignore[union-attr]


def test_folders_without_masks_are_said(tmp_path: Path) -> None:
    """Images that have no masks beside those that do are not read, and that is said; a second folder of masks too."""
    in_splits(tmp_path)
    folders.picture(tmp_path / "more" / "images" / "x.png", 0)
    folders.mask(tmp_path / "val" / "labels" / "0.png", 0)
    found = pairs.read(tmp_path, "segmentation")
    left = [text.split(" is not read")[0] for text in found.remarks if "is not read: it is no folder of images" in text]
    assert left == [str(tmp_path / "more"), str(tmp_path / "val" / "labels")]
    (tmp_path / "manifest.csv").write_text(
        "name,split\n" + "".join(f"{item.name},val\n" for item in found.items if item.split)
    )
    with pytest.raises(DataError, match=r"must be in one split, its folder is of train and the table says val"):
        pairs.read(tmp_path, "segmentation")


def test_classes_with_masks(tmp_path: Path) -> None:
    """The masks of a classification are no images: neither those beside them, nor those in masks/ beside images/."""
    in_classes(tmp_path / "a")
    for kind in ("benign", "normal"):
        for index in range(4):
            folders.picture(tmp_path / "b" / kind / f"{kind} ({index}).png", index)
            folders.mask(tmp_path / "b" / kind / f"{kind} ({index})_mask.png", index)
    folders.mask(tmp_path / "b" / "benign" / "benign (1)_mask_1.png", 1)
    for name, count, masks in (("a", 12, 12), ("b", 8, 9)):
        found = classes.read(tmp_path / name, "classification")
        assert len(found.items) == count and len({item.label for item in found.items}) == 2
        assert any(
            f"{masks} files are masks of images, by their names, and are not read" in text for text in found.remarks
        )
    with pytest.raises(
        DataError, match=r"benign \(1\)\.png must have one mask, it has .*_mask\.png, .*_mask_1\.png: join"
    ):
        find_items(tmp_path / "b", "segmentation")


def test_masks_beside_their_images(tmp_path: Path) -> None:
    """NAME and NAME_mask lie side by side; many folders are patients, which is said, few may be anything."""
    for index in range(20):
        place = tmp_path / "many" / f"P{index // 2}"
        pair(place / f"scan {index}.tif", place / f"scan {index}_mask.tif", index)
        place = tmp_path / "few" / f"site{index % 2}"
        pair(place / f"{index}.png", place / f"{index}-labelled.png", index)
    many, few = (find_items(tmp_path / name, "segmentation") for name in ("many", "few"))
    assert {(item.name, item.group) for item in many.items} == {
        (f"P{index // 2}/scan {index}", f"P{index // 2}") for index in range(20)
    }
    assert many.remarks == (
        f"{tmp_path / 'many'}: each of the 10 folders is taken for a patient, whose images stay in one split",
    )
    assert all(item.group == item.name for item in few.items) and "counts as a patient of its own" in few.remarks[0]
    folders.picture(tmp_path / "few" / "site0" / "alone.png", 0)
    with pytest.raises(DataError, match=r"alone\.png has no mask beside it, such as alone_mask\.\*"):
        find_items(tmp_path / "few", "segmentation")


def brats(folder: Path, count: int = 6) -> Path:
    """A folder for each case with a file for each channel, all of other values."""
    for case in range(count):
        name = f"BraTS_{case:03d}"
        for place, ending in enumerate(("t1", "t1ce", "flair")):
            values = np.full((5, 6, 4), 10 * case + place, np.int16)
            folders.volume(folder / name / f"{name}_{ending}.nii.gz", values)
        label = folders.random_of(case).integers(0, 2, (5, 6, 4)).astype(np.uint8)
        folders.volume(folder / name / f"{name}_seg.nii.gz", label)
    return folder


def test_several_files_of_a_case_are_its_channels(tmp_path: Path) -> None:
    """The files that end with the suffixes are channels in that order; what ends with none of them is said."""
    folder = brats(tmp_path)
    asked = Wishes.of({"suffixes": "_flair, _t1,_t1ce"})
    found = read_dataset(folder, "segmentation", wishes=asked)
    for case in folders.all_cases(found):
        number = 10 * int(case.id[-3:])
        assert case.read().image[0, 0, 0].tolist() == [number + 2, number, number + 1]
    assert found.channels == found.reading.files == 3
    other = read_dataset(folder, "segmentation", wishes=Wishes.of({"suffixes": "_t1,_flair"}))
    assert any("6 files end with none of the suffixes and are not read" in text for text in other.remarks)
    turned = read_dataset(folder, "segmentation", wishes=Wishes.of({"suffixes": "_flair,_t1"}))
    assert turned.digest != other.digest


def test_channels_in_images_and_masks_folders(tmp_path: Path) -> None:
    """images/NAME-t1n.* and masks/NAME.* are of one case, whatever the case of the letters."""
    for index in range(2):
        for ending in ("-t1n", "-T2F"):
            folders.picture(tmp_path / "images" / f"c{index}{ending}.png", index)
        folders.mask(tmp_path / "masks" / f"c{index}.png", index)
    found = several_files.read_several(tmp_path, "segmentation", ("-t1n", "-t2f"))
    assert [(item.name, [source.path.name for source in item.images]) for item in found.items] == [
        (f"c{index}", [f"c{index}-t1n.png", f"c{index}-T2F.png"]) for index in range(2)
    ]


@pytest.mark.parametrize(
    ("spoil", "suffixes", "says"),
    [
        (
            "BraTS_002/BraTS_002_t1ce.nii.gz",
            "_t1,_t1ce",
            r"BraTS_002_t1\.nii\.gz must have beside it .* end with _t1ce",
        ),
        ("BraTS_001/BraTS_001_seg.nii.gz", "_t1", r"BraTS_001_t1\.nii\.gz has no mask, such as BraTS_001_seg"),
        ("", "_t1,_T1", r"--option suffixes must differ, got _t1,_T1"),
        ("", "_dwi", r"must hold files that end with _dwi, as --option suffixes says"),
    ],
)
def test_files_that_are_missing_are_named(tmp_path: Path, spoil: str, suffixes: str, says: str) -> None:
    """A case without one of its channels or without its mask is refused, and endings that no file has."""
    folder = brats(tmp_path, 3)
    if spoil:
        (folder / spoil).unlink()
    with pytest.raises(DataError, match=says):
        find_items(folder, "segmentation", suffixes.split(","))


def test_what_no_layout_reads_says_so(tmp_path: Path) -> None:
    """Without suffixes files of channels are refused with what to say; a classification does not take suffixes."""
    with pytest.raises(DataError, match=r"must have one layout .* in the order of channels: _flair,_t1,_t1ce"):
        find_items(brats(tmp_path / "a", 3), "segmentation")
    for index in range(2):
        for ending in ("-t1n", "-t2f"):
            folders.picture(tmp_path / "b" / "images" / f"c{index}{ending}.png", index)
        folders.mask(tmp_path / "b" / "masks" / f"c{index}.png", index)
    with pytest.raises(DataError, match=r"must have one image for each mask; .* in the order of channels: -t1n,-t2f"):
        find_items(tmp_path / "b", "segmentation")
    with pytest.raises(DataError, match=r"--option suffixes is for images with masks"):
        find_items(tmp_path, "classification", ("_t1",))
    assert not beside.fits(tmp_path / "a", "segmentation") and not pair_folders.parts_of(tmp_path / "a")
    assert split_folders.with_splits([], {}, []) == []
