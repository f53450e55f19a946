"""Anyone's data folder: every layout is read as what it means, what is wrong is named with its file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import AutooptError, BadData, DataError
from autoopt.workloads.contract import IGNORED, SPLITS, Case
from autoopt.workloads.data.dataset import Dataset, read_dataset

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
        lines.append(
            f"P{index // 2 if index < 6 else index},t1/s{index}.nii.gz,t2/s{index}.nii.gz,"
            f"seg/s{index}.nii.gz,{split},{index % 2}"
        )
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
    one.write_text(
        "Channel_0,Label_oedema,Label_fracture\n"
        + "\n".join(",".join([row.split(",")[0], *row.split(",")[2:]]) for row in rows)
        + "\n"
    )
    multilabel = read_dataset(tmp_path, "classification")
    assert multilabel.multilabel and multilabel.labels == ("oedema", "fracture")
    assert {case.id: case.read().reference.tolist() for case in all_cases(multilabel)}["3.png"] == [1, 1]


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


def test_a_label_nobody_knows_stays_unknown(tmp_path: Path) -> None:
    """Beside masks of 0, 1, 2 the value 255 is ignored, also in a mask of nothing but 0 and 255."""
    for index in range(12):
        picture(tmp_path / "images" / f"{index}.png", index)
        mask(tmp_path / "masks" / f"{index}.png", index, high=3, factor=1)
    unknown = np.zeros(SIZE, np.uint8)
    unknown[0] = 255
    dataset = read_dataset(tmp_path, "segmentation")
    name = dataset.splits.train[0].id
    Image.fromarray(unknown).save(tmp_path / "masks" / f"{name}.png")
    dataset = read_dataset(tmp_path, "segmentation")
    assert len(dataset.labels) == 3
    reference = next(case for case in all_cases(dataset) if case.id == name).read().reference
    assert np.array_equal(reference, np.where(unknown == 255, IGNORED, 0))


def test_arrays_are_volumes_or_have_channels(tmp_path: Path) -> None:
    """The label map tells whether the last axis of an array is depth or channels; alone, a short one is channels."""
    shapes = {
        "volume": ((6, 5, 7), (6, 5, 7), 3, 1),
        "colour": ((6, 5, 3), (6, 5), 2, 3),
        "spectra": ((6, 5, 9), (6, 5), 2, 9),
        "both": ((6, 5, 7, 2), (6, 5, 7), 3, 2),
        "map of one": ((6, 5, 3), (6, 5, 1), 2, 3),
    }
    for name, (shape, label_shape, dimensions, channels) in shapes.items():
        for index in range(6):
            label = random_of(index).integers(0, 2, label_shape)
            label.flat[:2] = (0, 1)
            npy(tmp_path / name / "images" / f"{index}.npy", random_of(index).normal(size=shape))
            npy(tmp_path / name / "masks" / f"{index}.npy", label)
        dataset = read_dataset(tmp_path / name, "segmentation")
        assert (dataset.dimensions, dataset.channels, dataset.multilabel) == (dimensions, channels, False), name
        sample = dataset.splits.test[0].read()
        assert sample.image.shape == (*shape[:dimensions], channels), name
        assert sample.reference.shape == shape[:dimensions], name
    for last, dimensions in ((3, 2), (9, 3)):
        for index in range(12):
            npy(tmp_path / f"c{last}" / "ab"[index % 2] / f"{index}.npy", np.zeros((6, 5, last)))
        assert read_dataset(tmp_path / f"c{last}", "classification").dimensions == dimensions


def test_grey_beside_colour_becomes_colour(tmp_path: Path) -> None:
    """Where some pictures have colours the grey ones get three equal channels."""
    for index in range(12):
        picture(tmp_path / "ab"[index % 2] / f"{index}.png", index, mode="RGB" if index == 11 else "L")
    dataset = read_dataset(tmp_path, "classification")
    assert dataset.channels == 3 and {case.read().image.shape for case in all_cases(dataset)} == {(*SIZE, 3)}


@pytest.mark.parametrize("column", ["Patient", "patient_id", "GROUP", "case"])
def test_a_patient_stays_in_one_split(tmp_path: Path, column: str) -> None:
    """The column of the patient is found however it is written, and goes before the subject."""
    lines = [f"SubjectID,Channel_0,Label,{column}".replace("SubjectID", "x" if column == "case" else "SubjectID")]
    for index in range(12):
        picture(tmp_path / f"{index}.png", index)
        lines.append(f"s{index},{index}.png,{index % 2},P{index // 4}")
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    dataset = read_dataset(tmp_path, "classification")
    assert sorted({case.group for case in all_cases(dataset)}) == ["P0", "P1", "P2"]


def test_names_of_labels_never_change_their_meaning(tmp_path: Path) -> None:
    """Asked-for labels order the classes by name; a name that no class has is refused, numbers take names in order."""
    classes(tmp_path / "a")
    with pytest.raises(DataError, match="must name the classes benign, malignant in some order, got malign, benign"):
        read_dataset(tmp_path / "a", "classification", ("malign", "benign"))
    lines = ["Channel_0,Label_oedema,Label_fracture"]
    for index in range(24):
        picture(tmp_path / "b" / f"{index}.png", index)
        picture(tmp_path / "c" / str(index % 2) / f"{index}.png", index)
        lines.append(f"{index}.png,{index % 2},{'True' if index % 3 else 'False'}")
    (tmp_path / "b" / "cases.csv").write_text("\n".join(lines))
    multilabel = read_dataset(tmp_path / "b", "classification", ("fracture", "oedema"))
    assert {case.id: case.read().reference.tolist() for case in all_cases(multilabel)}["3.png"] == [0, 1]
    numbered = read_dataset(tmp_path / "c", "classification", ("healthy", "ill"))
    assert all(int(case.read().reference) == int(case.id[0]) for case in all_cases(numbered))


def test_the_digest_follows_the_answers(tmp_path: Path) -> None:
    """Other classes for the same pictures are other data; a further column that means nothing is not."""
    digests = []
    for header, shift, more in (("", 0, ""), ("", 1, ""), (",note", 0, ",x")):
        lines = [f"Channel_0,Label{header}"]
        for index in range(12):
            picture(tmp_path / f"{index}.png", index)
            lines.append(f"{index}.png,{'ab'[(index // 6 + shift) % 2]}{more}")
        (tmp_path / "cases.csv").write_text("\n".join(lines))
        digests.append(read_dataset(tmp_path, "classification").digest)
    assert digests[0] == digests[2] != digests[1]


def test_no_image_is_decoded_when_a_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a folder looks at headers and label maps; pixels and voxels of images wait for the case."""
    volumes(tmp_path / "a")
    np.savez_compressed(tmp_path / "all.npz", images=np.zeros((9, 4, 4, 3), np.uint8), labels=np.arange(9) % 2)
    picture(tmp_path / "d" / "x" / "0.png", 0)
    classes(tmp_path / "c")
    (tmp_path / "one").mkdir()
    (tmp_path / "all.npz").rename(tmp_path / "one" / "all.npz")

    def refuse(source: Any, *_: Any) -> None:
        raise AssertionError(f"{source} was read")

    for name in ("read_picture", "read_volume", "read_array"):
        monkeypatch.setattr(f"autoopt.workloads.data.dataset.{name}", refuse)
    assert len(all_cases(read_dataset(tmp_path / "a", "segmentation"))) == 6
    assert len(all_cases(read_dataset(tmp_path / "c", "classification"))) == 20
    cases = all_cases(read_dataset(tmp_path / "one", "classification"))
    with pytest.raises(AssertionError, match=r"all\.npz \(images\) case \d was read"):
        cases[0].read()


def test_one_file_of_many_cases_gives_each_its_own(tmp_path: Path) -> None:
    """Stored and compressed, in either order of axes, case i is row i; a changed file is read again."""
    images = random_of(0).integers(0, 255, (8, 9, 7, 3)).astype(np.uint8)
    labels = np.array([[0], [1]] * 4)  # one class a case, in a column
    for name, write, order in (
        ("stored", np.savez, "C"),
        ("packed", np.savez_compressed, "C"),
        ("turned", np.savez, "F"),
        ("packed", np.savez_compressed, "C"),
    ):
        images = images[::-1]
        (tmp_path / name).mkdir(exist_ok=True)
        write(tmp_path / name / "all.npz", images=np.asarray(images, order=order), labels=labels)
        for case in all_cases(read_dataset(tmp_path / name, "classification")):
            index = int(case.id[-5:])
            sample = case.read()
            assert np.array_equal(sample.image, images[index]) and int(sample.reference) == index % 2


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


def npy(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values, allow_pickle=True)


def arrays(folder: Path) -> Path:
    for index in range(6):
        npy(folder / "images" / f"{index}.npy", random_of(index).normal(size=(6, 8, 9)))
        npy(folder / "masks" / f"{index}.npy", random_of(index).integers(0, 2, (6, 8, 9)))
    return folder


def archive(folder: Path, **more: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "all.npz", images=np.zeros((9, 6, 5)), labels=np.arange(9) % 2, **more)
    return folder


def pictures(folder: Path) -> Path:
    for index in range(12):
        picture(folder / f"{index}.png", index)
    lines = [f"P{index},{index}.png,{index % 2}" for index in range(12)]
    (folder / "cases.csv").write_text("\n".join(["SubjectID,Channel_0,Label", *lines]))
    return folder


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
        r"manifest\.csv: 'p03' is there twice",
    ),
    (
        pairs,
        _manifest("name,Patient", *(f"p{i:02d},{i if i else ''}" for i in range(12))),
        "segmentation",
        r"manifest\.csv, p00: Patient must not be empty",
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
        r"v1\.nii\.gz must hold one 3D volume",
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
    (pictures, _edit("cases.csv", "P3,3.png", "P3,2.png"), "classification", r"cases\.csv: 2\.png is there twice"),
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
    (arrays, lambda f: npy(f / "images/1.npy", np.zeros((6, 8, 9, 2, 2))), "segmentation", r"1\.npy must be 2D or 3D"),
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
        r"case 8: split must be one of .*, got 'tset'",
    ),
    (
        archive,
        lambda f: np.savez(f / "all.npz", image=np.zeros((9, 6, 5))),
        "segmentation",
        r"all\.npz must hold the array\(s\) label, it holds image",
    ),
    (classes, lambda f: (f / "unclear").mkdir(), "classification", r"unclear must hold the images of a class"),
    (table, _edit("train.csv", "valid", "vaild"), "segmentation", r"split must be one of .*, got 'vaild'"),
    (table, _edit("train.csv", "Label", "Mask"), "segmentation", r"must have the column Label for a segmentation"),
    (classes, _one_malignant, "classification", r"must have cases of every class and label, it has none of malignant"),
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
        _read_all(folder, task)


def test_a_label_that_was_not_seen_is_refused_when_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many masks some are looked at; a case with a label that those lack is bad data, not a wrong number."""
    pairs(tmp_path)
    mask(tmp_path / "masks" / "p01.png", 1, high=4, factor=1)
    monkeypatch.setattr("autoopt.workloads.data.layouts.maps.SCANNED_MAPS", 6)
    case = next(case for case in all_cases(read_dataset(tmp_path, "segmentation")) if case.id == "p01")
    with pytest.raises(BadData, match=r"p01\.png must hold 0 and 255 as other masks do, it holds 1, 2, 3"):
        case.read()


def test_an_empty_folder_says_what_is_possible(tmp_path: Path) -> None:
    """Where nothing fits, the message lists the layouts and what is there."""
    with pytest.raises(AutooptError, match=r"must have one layout .*: it holds nothing\. See docs/workloads\.md"):
        read_dataset(tmp_path, "segmentation")
    with pytest.raises(DataError, match="must be a folder"):
        read_dataset(tmp_path / "none", "segmentation")
