"""How a data folder is laid out: tables, pairs, class folders and archives, told apart by what they look like."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.layouts import LAYOUTS, archives, classes, find_items, pairs, tables
from autoopt.workloads.data.readers import open_image
from tests.workloads.data import folders


def test_each_layout_is_told_by_what_is_there(tmp_path: Path) -> None:
    """Exactly one layout fits each folder, and its name says which."""
    made = {
        "a table": (folders.table(tmp_path / "table"), "segmentation"),
        "pairs": (folders.pairs(tmp_path / "pairs"), "segmentation"),
        "class folders": (folders.classes(tmp_path / "classes"), "classification"),
        "npz files": (folders.archive(tmp_path / "npz"), "classification"),
    }
    for name, (folder, task) in made.items():
        fitting = [layout for layout in LAYOUTS if LAYOUTS.load(layout).fits(folder, task)]
        assert fitting == [name]
        assert find_items(folder, task).items  # type: ignore[arg-type]


def test_files_of_a_table_are_no_layout_beside_it(tmp_path: Path) -> None:
    """A table may name files in folders of any name, also images/ and masks/ or those of classes."""
    folder = folders.pairs(tmp_path)
    lines = [f"images/p{index:02d}.png,masks/p{index:02d}.png" for index in range(12)]
    (folder / "cases.csv").write_text("\n".join(["Channel_0,Label", *lines]))
    assert tables.names_files_in(folder, ("images",), "segmentation") and not pairs.fits(folder, "segmentation")
    assert find_items(folder, "segmentation").description == "cases from the table cases.csv"
    (folder / "cases.csv").write_text("Channel_0,Label\nelsewhere/a.png,elsewhere/b.png\n")
    with pytest.raises(DataError, match="it fits a table and pairs, leave one of them in it"):
        find_items(folder, "segmentation")


def test_pairs_by_name(tmp_path: Path) -> None:
    """Mask and image are of one name and any format; a mask may have an ending that its image lacks."""
    for name in ("b", "a"):
        folders.picture(tmp_path / "images" / f"{name}.png", 0)
        folders.mask(tmp_path / "masks" / f"{name}_brainmask.bmp", 0)
    problems: list[str] = []
    items = pairs.find_pairs(tmp_path, problems, mask_endings=("_brainmask", ""))
    assert not problems and [item.name for item in items] == ["a", "b"]
    assert [source.path.name for source in items[0].sources] == ["a.png", "a_brainmask.bmp"]
    pairs.find_pairs(tmp_path, problems, suffixes=(".png",))
    assert [text.removeprefix(str(tmp_path)) for text in problems] == [
        "/images/a.png has no mask masks/a.*",
        "/images/b.png has no mask masks/b.*",
    ]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("ISIC_{0:07d}.jpg", "ISIC_{0:07d}_segmentation.png"),
        ("slide {0}.svs [x=0,y=0,w=512,h=512].jpg", "slide {0}.svs [x=0,y=0,w=512,h=512]-labelled.png"),
        ("{0}.png", "{0}_Mask.png"),
        ("{0}_training.png", "{0}_manual1.png"),
        ("img_{0}0.png", "mask_{0}0.png"),
        ("case{0}_0000.png", "case{0}.png"),
        ("La\u0308sion {0}.png", "L\u00e4sion {0}.png"),
    ],
)
def test_masks_by_what_their_names_add(tmp_path: Path, image: str, mask: str) -> None:
    """A usual ending, a common beginning or ending and the other Unicode form are understood, and said."""
    for index in range(1, 13):
        folders.picture(tmp_path / "images" / image.format(index), index)
        folders.mask(tmp_path / "masks" / mask.format(index), index)
    found = pairs.read(tmp_path, "segmentation")
    assert {(item.images[0].path.name, Path(str(item.label)).name) for item in found.items} == {
        (image.format(index), mask.format(index)) for index in range(1, 13)
    }
    assert any("paired by a part of their names" in text for text in found.remarks) == (
        "sion" not in mask or "ISIC" in mask
    )


def test_masks_of_other_numbers_are_no_pairs(tmp_path: Path) -> None:
    """A digit that all names share is part of their numbers; two masks for one image are not chosen from."""
    problems: list[str] = []
    for index in range(1, 5):
        folders.picture(tmp_path / "a" / "images" / f"{index}0.png", index)
        folders.mask(tmp_path / "a" / "masks" / f"{index}.png", index)
    assert not pairs.find_pairs(tmp_path / "a", problems) and "10.png has no mask" in problems[-4]
    folders.picture(tmp_path / "b" / "images" / "a.png", 0)
    for ending in ("mask", "seg"):
        folders.mask(tmp_path / "b" / "masks" / f"a_{ending}.png", 0)
    assert not pairs.find_pairs(tmp_path / "b", problems)


def test_two_names_that_look_alike(tmp_path: Path) -> None:
    """Two files whose names differ in the form of an accent are one name, which is said."""
    for name in ("e\u0301.png", "\u00e9.png"):
        folders.picture(tmp_path / "images" / name, 0)
        folders.mask(tmp_path / "masks" / name, 0)
    with pytest.raises(DataError, match="names differ in the Unicode form of their accents alone"):
        pairs.read(tmp_path, "segmentation")


def test_archives_are_listed_without_being_opened(tmp_path: Path) -> None:
    """A file that is no archive is found by its name; what is wrong with it is said when it is read."""
    (tmp_path / "a.npz").write_text("no archive")
    problems: list[str] = []
    (item,) = archives.find_archives(tmp_path, problems)
    assert [source.key for source in item.sources] == ["image", "label"] and not problems
    with pytest.raises(DataError, match=r"a\.npz must be a whole npz file"):
        archives.read(tmp_path, "segmentation")


@pytest.mark.parametrize(("images", "labels"), [("{}_images", "{}_labels"), ("x_{}", "y_{}")])
@pytest.mark.parametrize("several", [False, True])
def test_an_archive_of_splits(tmp_path: Path, images: str, labels: str, several: bool) -> None:
    """The arrays of each split in one npz, as MedMNIST and Keras have them, give splits and classes, or 0 / 1 each."""
    arrays: dict[str, np.ndarray] = {}
    for place, split in enumerate(("train", "val", "test")):
        arrays[images.format(split)] = np.full((4, 5, 6), place, np.uint8)
        arrays[labels.format(split)] = np.arange(12).reshape(4, 3) % 2 if several else np.arange(4).reshape(4, 1) % 2
    np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    found = archives.read(tmp_path, "classification")
    assert [item.split for item in found.items] == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert found.items[5].name == "bloodmnist-val-00001" and "each counts as a patient of its own" in found.remarks[0]
    assert found.items[5].label == ((1, 0, 1) if several else "1")
    assert open_image(found.items[5].images[0]).read().tolist() == np.ones((5, 6)).tolist()
    np.savez_compressed(tmp_path / "bloodmnist.npz", **{images.format("train"): np.zeros((4, 5, 6))})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=rf"must hold {labels.format('train')} beside {images.format('train')}"):
        archives.read(tmp_path, "classification")


def test_splits_above_class_folders(tmp_path: Path) -> None:
    """train/CLASS, val/CLASS and test/CLASS give the splits, however they are spelt."""
    for split in ("Training", "valid", "test"):
        folders.classes(tmp_path / split, 3)
    found = classes.read(tmp_path, "classification")
    assert {item.split for item in found.items} == {"train", "val", "test"}
    assert {item.label for item in found.items} == {"benign", "malignant"}


LAYOUT = """
from autoopt.workloads.data.cases import Found, Item
from autoopt.workloads.data.image_file import Source

DESCRIPTION = "scans/ with a letter per class in front of the name"

def fits(folder, task):
    return (folder / "scans").is_dir()

def read(folder, task):
    paths = sorted((folder / "scans").iterdir())
    return Found([Item(path.stem, path.stem, None, (Source(path),), path.stem[0]) for path in paths], "scans")
"""


def test_a_layout_of_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One module and one line in the table make another layout readable."""
    (tmp_path / "my_layout.py").write_text(LAYOUT)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = tmp_path / "data"
    for index in range(6):
        folders.npy(data / "scans" / f"{'ab'[index % 2]}{index}.npy", np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"must have one layout .*: it holds scans"):
        find_items(data, "classification")
    LAYOUTS["scans"] = "my_layout"
    try:
        assert {item.label for item in find_items(data, "classification").items} == {"a", "b"}
    finally:
        del LAYOUTS["scans"]
        sys.modules.pop("my_layout", None)
