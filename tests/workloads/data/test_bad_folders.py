"""What is wrong with somebody's data folder is named with its file and what must hold, whatever the layout."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import BadData, DataError
from autoopt.workloads.data.dataset import read_dataset
from tests.workloads.data.folders import (
    SIZE,
    all_cases,
    archive,
    arrays,
    classes,
    mask,
    npy,
    pairs,
    picture,
    pictures,
    table,
    volume,
    volumes,
)


def _write(name: str, data: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(data)


def _cut(name: str) -> Callable[[Path], Any]:
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) * 2 // 3])

    return cut


def _edit(name: str, old: str, new: str) -> Callable[[Path], Any]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return edit


def _short_gzip(folder: Path) -> None:
    path = folder / "images" / "v1.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-40]))


def _manifest(*lines: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def _all_but_one_label(folder: Path) -> None:
    """Label 2 is in train alone."""
    for index in range(12):
        mask(folder / "masks" / f"p{index:02d}.png", index, high=3 if index < 6 else 2, factor=1)
    _manifest("name,split", *(f"p{i:02d},{'train' if i < 6 else 'val' if i < 9 else 'test'}" for i in range(12)))(
        folder
    )


def _one_malignant(folder: Path) -> None:
    for path in sorted((folder / "malignant").glob("*"))[1:]:
        path.unlink()


def read_all(folder: Path, task: Any) -> None:
    for case in all_cases(read_dataset(folder, task)):
        case.read()


def _nan(folder: Path) -> None:
    values = np.full((6, 5, 4), np.nan, np.float32)
    volume(folder / "images" / "v1.nii.gz", values)


BAD: list[tuple[Callable[[Path], Path], Callable[[Path], Any], str, str]] = [
    (pairs, _cut("images/p03.png"), "segmentation", r"p03\.png must be"),
    (pairs, _write("masks/p03.png", b""), "segmentation", r"p03\.png must be"),
    (pairs, lambda f: (f / "masks/p03.png").unlink(), "segmentation", r"p03\.png has no mask masks/p03\.\*"),
    (pairs, lambda f: mask(f / "masks/p03.png", 3, size=(5, 5)), "segmentation", r"p03\.png must be as large as"),
    (
        pairs,
        lambda f: (f / "manifest.csv").write_text(
            "name,patient,split\n"
            + "\n".join(f"p{i:02d},one,{'train' if i < 6 else 'val' if i < 9 else 'test'}" for i in range(12))
            + "\n"
        ),
        "segmentation",
        r"'one' is in train and, with p06, in val: give all cases of a patient one split",
    ),
    (
        pairs,
        lambda f: (f / "manifest.csv").write_text(
            "name,patient\n" + "\n".join(f"p{i:02d},one" for i in range(12)) + "\n"
        ),
        "segmentation",
        r"at least three patients .* it has 12 of 1",
    ),
    (pairs, lambda f: classes(f), "classification", r"it fits pairs and class folders, leave one of them in it"),
    (pairs, lambda f: archive(f), "segmentation", r"it fits pairs and npz files"),
    (pairs, lambda f: None, "classification", r"which is a segmentation; a classification needs classes"),
    (pairs, lambda f: picture(f / "images/p03.bmp", 3), "segmentation", r"one file of each name, it holds p03\.bmp"),
    (
        pairs,
        _manifest("name,split", *(f"p{i:02d},test" for i in range(12)), "p03,train"),
        "segmentation",
        r"manifest\.csv line 14: name 'p03' is there twice",
    ),
    (
        pairs,
        _manifest("name,Patient", *(f"p{i:02d},{i if i else ''}" for i in range(12))),
        "segmentation",
        r"manifest\.csv line 2: Patient must not be empty",
    ),
    (
        pairs,
        lambda f: mask(f / "masks/p03.png", 3, high=3, factor=85),
        "segmentation",
        r"without a gap; .*p03\.png holds 170, none holds 1, 2, ",
    ),
    (pairs, _all_but_one_label, "segmentation", r"val must have cases of every .*, it has none of label_2"),
    (
        pairs,
        lambda f: Image.new("L", SIZE[::-1], 0).save(f / "masks/p03.jpg") or (f / "masks/p03.png").unlink(),
        "segmentation",
        r"p03\.jpg must keep its labels",
    ),
    (
        pairs,
        lambda f: Image.fromarray(np.zeros(SIZE, np.uint16)).save(f / "images/p03.png"),
        "segmentation",
        r"p03\.png must have pixels of the type that .*p00\.png has",
    ),
    (volumes, _short_gzip, "segmentation", r"v1\.nii\.gz must be a whole NIfTI file"),
    (volumes, _nan, "segmentation", r"v1\.nii\.gz must hold finite numbers, 120 of its 120"),
    (
        volumes,
        lambda f: volume(f / "masks/v1.nii.gz", np.zeros((6, 5, 4), np.uint8), (1.0, 1.0, 2.5)),
        "segmentation",
        r"v1\.nii\.gz must lie where its image",
    ),
    (
        volumes,
        lambda f: volume(f / "images/v1.nii.gz", np.zeros((6, 5, 4, 3), np.float32)),
        "segmentation",
        r"v1\.nii\.gz must have 1 channel\(s\) as others have, it has 3",
    ),
    (
        volumes,
        lambda f: volume(f / "images" / "v1.nii.gz", np.zeros((6, 5, 4, 2, 2), np.float32)),
        "segmentation",
        r"v1\.nii\.gz must hold one 3D volume, or one axis of them",
    ),
    (
        volumes,
        lambda f: (f / "images" / "v1.nii.gz").write_bytes(gzip.decompress((f / "images" / "v1.nii.gz").read_bytes())),
        "segmentation",
        r"v1\.nii\.gz must be packed by gzip as its name says, it is plain NIfTI: call it v1\.nii$",
    ),
    (
        volumes,
        lambda f: (f / "images" / "v1.nii.gz").rename(f / "images" / "v1.nii"),
        "segmentation",
        r"v1\.nii must be plain NIfTI as its name says, it is packed by gzip: call it v1\.nii\.gz$",
    ),
    (
        volumes,
        lambda f: volume(f / "masks/v1.nii.gz", np.full((6, 5, 4), 0.5, np.float32)),
        "segmentation",
        r"v1\.nii\.gz must hold whole numbers",
    ),
    (table, _edit("train.csv", "t1/s0.nii.gz", "../s0.nii.gz"), "segmentation", r"line 2, Channel_0: a file must be"),
    (table, _edit("train.csv", "t1/s0.nii.gz", "/etc/passwd"), "segmentation", r"line 2, Channel_0: a file must be"),
    (table, _edit("train.csv", "seg/s1.nii.gz", "seg/none.nii.gz"), "segmentation", r"line 3, Label: there is no file"),
    (table, _edit("train.csv", "t2/s0.nii.gz", ""), "segmentation", r"line 2, Channel_1: a file must be named by"),
    (table, _edit("train.csv", "t2/s0.nii.gz", "."), "segmentation", r"line 2, Channel_1: a file must be named by"),
    (
        table,
        lambda f: volume(f / "t2/s0.nii.gz", np.zeros((5, 6, 3), np.float32)),
        "segmentation",
        r"t2/s0\.nii\.gz must be as large as its image .*, 5x6x4, it is 5x6x3",
    ),
    (
        table,
        lambda f: volume(f / "t2/s0.nii.gz", np.zeros((5, 6, 4), np.float32), (1.0, 2.0, 2.0)),
        "segmentation",
        r"t2/s0\.nii\.gz must lie where its image",
    ),
    (
        table,
        lambda f: (f / "other.csv").write_bytes((f / "train.csv").read_bytes()),
        "segmentation",
        r"one table of cases, it holds other\.csv, train\.csv: call the one to read manifest\.csv",
    ),
    (pictures, _edit("cases.csv", "3.png,1", "3.png,"), "classification", r"line 5: Label must name the class"),
    (
        pictures,
        _edit("cases.csv", "P3,3.png", "P3,2.png"),
        "classification",
        r"cases\.csv line 5: 2\.png is there twice",
    ),
    (
        pictures,
        lambda f: _edit("cases.csv", "Label", "Label_x")(f) or _edit("cases.csv", ",1", ",yes")(f),
        "classification",
        r"line 3: Label_x must be 0 or 1, got 'yes'",
    ),
    (arrays, lambda f: npy(f / "images/1.npy", np.zeros((6, 0, 9))), "segmentation", r"1\.npy must not be empty"),
    (arrays, lambda f: npy(f / "images/1.npy", np.full((6, 8, 9), "x")), "segmentation", r"1\.npy must hold real numb"),
    (arrays, lambda f: npy(f / "images/1.npy", np.full((6, 8, 9), None)), "segmentation", r"1\.npy .* without objects"),
    (arrays, lambda f: npy(f / "images/1.npy", np.full((6, 8, 9), np.nan)), "segmentation", r"1\.npy .*432 of its 432"),
    (
        arrays,
        lambda f: npy(f / "images/1.npy", np.zeros((6, 8, 9, 2, 2))),
        "segmentation",
        r"1\.npy must be 1D, 2D or 3D",
    ),
    (arrays, lambda f: npy(f / "masks/1.npy", np.zeros((6, 8, 8))), "segmentation", r"1\.npy must be as large as its"),
    (arrays, lambda f: npy(f / "masks/1.npy", np.full((6, 8, 9), -1)), "segmentation", r"1\.npy must hold labels"),
    (arrays, _cut("images/1.npy"), "segmentation", r"1\.npy must be a whole npy file"),
    (archive, _cut("all.npz"), "classification", r"all\.npz must be a whole npz file"),
    (
        archive,
        lambda f: np.savez(f / "all.npz", images=np.zeros((9, 6, 5)), labels=np.arange(8)),
        "classification",
        r"as many labels, groups and splits as images, it holds 9 images, 8 labels",
    ),
    (
        archive,
        lambda f: archive(f, splits=np.array(["train"] * 8 + ["tset"])),
        "classification",
        r"case 8: split must be train, val, test or calibration, got 'tset'",
    ),
    (
        archive,
        lambda f: np.savez(f / "all.npz", image=np.zeros((9, 6, 5))),
        "segmentation",
        r"all\.npz must hold the array\(s\) label, it holds image",
    ),
    (classes, lambda f: (f / "unclear").mkdir(), "classification", r"unclear must hold the images of a class"),
    (
        table,
        _edit("train.csv", "valid", "vaild"),
        "segmentation",
        r"split must be train, val, test or calibration, got 'vaild'",
    ),
    (table, _edit("train.csv", "Label", "Reader"), "segmentation", r"must have the column Label for a segmentation"),
    (
        classes,
        _one_malignant,
        "classification",
        r"malignant must be in cases of at least 3 patients, .*, it has 1 case\(s\) of 1 patient",
    ),
    (classes, _cut("benign/benign3.jpg"), "classification", r"benign3\.jpg must be"),
]


@pytest.mark.parametrize(("layout", "spoil", "task", "message"), BAD)
def test_what_is_wrong_is_named(
    tmp_path: Path, layout: Callable[[Path], Path], spoil: Callable[[Path], Any], task: Any, message: str
) -> None:
    """Bad data is refused when the folder or the case is read, with the file and what must hold."""
    folder = layout(tmp_path)
    spoil(folder)
    with pytest.raises((DataError, BadData), match=message):
        read_all(folder, task)
