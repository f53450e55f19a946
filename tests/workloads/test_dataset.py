"""Anyone's data folder: every layout is read, everything that is wrong is named with its file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import AutooptError, BadData, DataError
from autoopt.workload import SPLITS, Case
from autoopt.workloads.arrays import Source, read_image, read_labels
from autoopt.workloads.dataset import Dataset, read_dataset

nibabel = pytest.importorskip("nibabel")
SIZE = (12, 10)


def random_of(index: int) -> np.random.Generator:
    return np.random.default_rng(index)


def picture(path: Path, index: int, mode: str = "RGB", size: tuple[int, int] = SIZE) -> Path:
    shape = (*size, 3) if mode == "RGB" else size
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_of(index).integers(0, 256, shape).astype(np.uint8), mode=mode).save(path)
    return path


def mask(path: Path, index: int, high: int = 2, factor: int = 255, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = random_of(index).integers(0, high, size)
    values.flat[:high] = np.arange(high)
    Image.fromarray((values * factor).astype(np.uint8)).save(path)
    return path


def volume(path: Path, values: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])), path)
    return path


def pairs(folder: Path, count: int = 12) -> Path:
    for index in range(count):
        picture(folder / "images" / f"p{index:02d}.png", index)
        mask(folder / "masks" / f"p{index:02d}.png", index)
    return folder


def volumes(folder: Path, count: int = 6) -> Path:
    for index in range(count):
        label = random_of(index).integers(0, 3, (6, 5, 4)).astype(np.uint8)
        volume(folder / "images" / f"v{index}.nii.gz", label.astype(np.float32) * 10)
        volume(folder / "masks" / f"v{index}.nii.gz", label)
    return folder


def table(folder: Path, count: int = 12) -> Path:
    lines = ["SubjectID,Channel_0,Channel_1,Label,Split,site"]
    for index in range(count):
        for part in ("t1", "t2"):
            volume(folder / part / f"s{index}.nii.gz", random_of(index).normal(size=(5, 6, 4)).astype(np.float32))
        volume(folder / "seg" / f"s{index}.nii.gz", random_of(index).integers(0, 2, (5, 6, 4)).astype(np.uint8))
        split = "train" if index < 6 else "valid" if index < 9 else "test"
        lines.append(f"P{index // 2 if index < 6 else index},t1/s{index}.nii.gz,t2/s{index}.nii.gz,"
                     f"seg/s{index}.nii.gz,{split},{index % 2}")  # fmt: skip
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder


def classes(folder: Path, count: int = 10) -> Path:
    for name in ("benign", "malignant"):
        for index in range(count):
            picture(folder / name / f"{name}{index}.jpg", index, size=(14, 11 + index % 2))
    return folder


def all_cases(dataset: Dataset) -> list[Case]:
    return [case for split in SPLITS for case in dataset.splits[split]]


def test_pairs_of_pictures(tmp_path: Path) -> None:
    """images/ and masks/ of equal names; masks of 0 and 255 are a background and one label."""
    dataset = read_dataset(pairs(tmp_path), "segmentation")
    assert (dataset.channels, dataset.dimensions, dataset.value_range) == (3, 2, 255.0)
    assert dataset.labels == ("background", "label_1") and len(all_cases(dataset)) == 12
    sample = dataset.splits.val[0].read()
    assert sample.image.shape == (*SIZE, 3) and set(np.unique(sample.reference)) == {0, 1}


def test_pairs_of_volumes(tmp_path: Path) -> None:
    """NIfTI pairs come with their affine; labels are named as asked for."""
    dataset = read_dataset(volumes(tmp_path), "segmentation", ("air", "liver", "tumour"))
    assert (dataset.dimensions, dataset.channels, dataset.has_affine) == (3, 1, True)
    assert dataset.labels == ("air", "liver", "tumour") and dataset.value_range == 1.0
    sample = dataset.splits.test[0].read()
    assert sample.affine is not None and sample.affine[2, 2] == 2.0
    assert np.array_equal(sample.reference, sample.image[..., 0] / 10)


def test_a_table_in_gandlfs_style(tmp_path: Path) -> None:
    """Channels are stacked, the subject is the group, splits and tags come from the columns."""
    dataset = read_dataset(table(tmp_path), "segmentation")
    assert dataset.channels == 2 and "train.csv" in dataset.layout
    assert [len(dataset.splits[name]) for name in SPLITS] == [4, 2, 3, 3]
    assert {case.group for case in dataset.splits.val} == {"P6", "P7", "P8"}
    assert dataset.splits.val[0].read().image.shape == (5, 6, 4, 2)


def test_classes_from_folders(tmp_path: Path) -> None:
    """Folder names are the classes; with folders of splits above them those are kept."""
    dataset = read_dataset(classes(tmp_path / "a"), "classification")
    assert dataset.labels == ("benign", "malignant") and len(dataset.sizes) == 2
    case = next(case for case in all_cases(dataset) if "malignant" in case.id)
    assert int(case.read().reference) == 1
    for split in ("train", "val", "test"):
        classes(tmp_path / "b" / split, 3)
    given = read_dataset(tmp_path / "b", "classification", ("malignant", "benign"))
    assert given.labels == ("malignant", "benign")
    assert all(case.id.startswith("val/") for case in given.splits.val)
    assert int(next(case for case in given.splits.val if "benign" in case.id).read().reference) == 1


def test_classes_and_several_labels_from_a_table(tmp_path: Path) -> None:
    """A class column of numbers or names is a classification; 0 / 1 columns are several labels at once."""
    for index in range(12):
        picture(tmp_path / f"{index}.png", index, mode="L")
    rows = [f"{index}.png,{10 - index % 2 * 8},{index % 2},{int(index % 3 == 0)}" for index in range(12)]
    one = tmp_path / "one.csv"
    one.write_text("Channel_0,ValueToPredict\n" + "\n".join(",".join(row.split(",")[:2]) for row in rows) + "\n")
    dataset = read_dataset(tmp_path, "classification")
    assert dataset.labels == ("2", "10") and dataset.channels == 1
    one.write_text("Channel_0,Label_oedema,Label_fracture\n"
                   + "\n".join(",".join([row.split(",")[0], *row.split(",")[2:]]) for row in rows) + "\n")  # fmt: skip
    several = read_dataset(tmp_path, "classification")
    assert several.multilabel and several.labels == ("oedema", "fracture")
    assert {case.id: case.read().reference.tolist() for case in all_cases(several)}["3.png"] == [1, 1]


def test_arrays(tmp_path: Path) -> None:
    """npz files of one case each, and one npz with all cases, groups and splits."""
    for index in range(6):
        label = random_of(index).integers(0, 2, (6, 8, 7)).astype(np.uint8)
        np.savez(tmp_path / f"c{index}.npz", image=label.astype(np.float32), label=label)
    dataset = read_dataset(tmp_path, "segmentation")
    assert (dataset.dimensions, dataset.channels) == (3, 1)
    (tmp_path / "one").mkdir()
    splits = np.array(["train"] * 4 + ["val"] * 2 + ["test"] * 2)
    images = random_of(0).integers(0, 255, (8, 9, 9, 3)).astype(np.uint8)
    np.savez(tmp_path / "one" / "all.npz", images=images, labels=np.arange(8) % 2, groups=np.arange(8), splits=splits)
    flat = read_dataset(tmp_path / "one", "classification")
    assert [len(flat.splits[name]) for name in SPLITS] == [3, 1, 2, 2] and flat.labels == ("0", "1")
    assert np.array_equal(flat.splits.test[1].read().image, images[7])


def test_several_labels_of_a_segmentation(tmp_path: Path) -> None:
    """A label map with a last axis of 0 / 1 is several labels at once."""
    for index in range(6):
        label = random_of(index).integers(0, 2, (8, 8, 3)).astype(np.uint8)
        np.savez(tmp_path / f"c{index}.npz", image=random_of(index).normal(size=(8, 8, 1)), label=label)
    dataset = read_dataset(tmp_path, "segmentation")
    assert dataset.multilabel and dataset.labels == ("label_0", "label_1", "label_2")


def test_unusual_pictures(tmp_path: Path) -> None:
    """16 bits stay 16, palettes are colours of an image and numbers of a mask, photos are turned upright."""
    deep = (random_of(0).integers(0, 65536, SIZE)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(Source(tmp_path / "deep.png"))[0][..., 0], deep)
    indices = random_of(1).integers(0, 3, SIZE).astype(np.uint8)
    coloured = Image.fromarray(indices, mode="P")
    coloured.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0])
    coloured.save(tmp_path / "palette.png")
    assert np.array_equal(read_labels(Source(tmp_path / "palette.png"))[0], indices)
    assert np.array_equal(read_image(Source(tmp_path / "palette.png"))[0][indices == 1][0], [200, 0, 0])
    photo = Image.fromarray(random_of(2).integers(0, 256, (*SIZE, 3)).astype(np.uint8))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(Source(tmp_path / "photo.jpg"))[0].shape == (SIZE[1], SIZE[0], 3)


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


def _one_malignant(folder: Path) -> None:
    for path in sorted((folder / "malignant").glob("*"))[1:]:
        path.unlink()


def _read_all(folder: Path, task: Any) -> None:
    for case in all_cases(read_dataset(folder, task)):
        case.read()


def _nan(folder: Path) -> None:
    values = np.full((6, 5, 4), np.nan, np.float32)
    volume(folder / "images" / "v1.nii.gz", values)


BAD: list[tuple[Callable[[Path], Path], Callable[[Path], Any], str, str]] = [
    (pairs, _cut("images/p03.png"), "segmentation", r"p03\.png must be"),
    (pairs, _write("masks/p03.png", b""), "segmentation", r"p03\.png must be"),
    (pairs, lambda f: (f / "masks/p03.png").unlink(), "segmentation", r"p03\.png has no mask in masks/"),
    (pairs, lambda f: mask(f / "masks/p03.png", 3, size=(5, 5)), "segmentation", r"p03\.png must be as large as"),
    (pairs, lambda f: (f / "manifest.csv").write_text("name,patient,split\n" + "\n".join(
        f"p{i:02d},one,{'train' if i < 6 else 'val' if i < 9 else 'test'}" for i in range(12)) + "\n"),
     "segmentation", r"'one' is in train and, with p06, in val: give all cases of a patient one split"),
    (pairs, lambda f: (f / "manifest.csv").write_text("name,patient\n" + "\n".join(
        f"p{i:02d},one" for i in range(12)) + "\n"), "segmentation", r"at least three patients .* it has 12 of 1"),
    (pairs, lambda f: classes(f), "classification", r"it fits pairs and classes|which is a segmentation"),
    (volumes, _short_gzip, "segmentation", r"v1\.nii\.gz must be a whole NIfTI file"),
    (volumes, _nan, "segmentation", r"v1\.nii\.gz must hold finite numbers, 120 of its 120"),
    (volumes, lambda f: volume(f / "masks/v1.nii.gz", np.zeros((6, 5, 4), np.uint8), (1.0, 1.0, 2.5)),
     "segmentation", r"v1\.nii\.gz must lie where its image"),
    (volumes, lambda f: volume(f / "images/v1.nii.gz", np.zeros((6, 5, 4, 3), np.float32)), "segmentation",
     r"v1\.nii\.gz must hold one 3D volume"),
    (volumes, lambda f: volume(f / "masks/v1.nii.gz", np.full((6, 5, 4), 0.5, np.float32)), "segmentation",
     r"v1\.nii\.gz must hold whole numbers"),
    (table, _edit("train.csv", "t1/s0.nii.gz", "../s0.nii.gz"), "segmentation", r"line 2: a file must be named by"),
    (table, _edit("train.csv", "t1/s0.nii.gz", "/etc/passwd"), "segmentation", r"line 2: a file must be named by"),
    (table, _edit("train.csv", "seg/s1.nii.gz", "seg/none.nii.gz"), "segmentation", r"line 3: there is no file"),
    (table, _edit("train.csv", "valid", "vaild"), "segmentation", r"split must be one of .*, got 'vaild'"),
    (table, _edit("train.csv", "Label", "Mask"), "segmentation", r"must have the column Label for a segmentation"),
    (classes, _one_malignant, "classification", r"must have cases of every class, it has none of malignant"),
    (classes, _cut("benign/benign3.jpg"), "classification", r"benign3\.jpg must be"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "spoil", "task", "message"), BAD)
def test_what_is_wrong_is_named(
    tmp_path: Path, layout: Callable[[Path], Path], spoil: Callable[[Path], Any], task: Any, message: str
) -> None:
    """Bad data is refused when the folder or the case is read, with the file and what must hold."""
    folder = layout(tmp_path)
    spoil(folder)
    with pytest.raises((DataError, BadData), match=message):
        _read_all(folder, task)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 4)), "must not be empty"),
        (np.array([["a", "b"]]), "must hold real numbers"),
        (np.array([[1.0, np.inf]]), "must hold finite numbers, 1 of its 2"),
        (np.array([[None, {}]], dtype=object), "without objects"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, array: np.ndarray, message: str) -> None:
    """Empty arrays, text, infinities and pickled objects are refused with the name of the file."""
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(BadData, match=rf"x\.npy.*{message}"):
        read_image(Source(tmp_path / "x.npy"))


def test_an_empty_folder_says_what_is_possible(tmp_path: Path) -> None:
    """Where nothing fits, the message lists the layouts and what is there."""
    with pytest.raises(AutooptError, match=r"must have one layout .*: it holds nothing\. See docs/workloads\.md"):
        read_dataset(tmp_path, "segmentation")
    with pytest.raises(DataError, match="must be a folder"):
        read_dataset(tmp_path / "none", "segmentation")
