"""Anyone's data folder: every layout is read as what it means, what is wrong is named with its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import AutooptError, BadData, DataError
from autoopt.workloads.contract import IGNORED, SPLITS
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.image_file import ImageFile, Source
from autoopt.workloads.data.readers import open_image
from tests.workloads.data.folders import (
    SIZE,
    all_cases,
    classes,
    mask,
    npy,
    pairs,
    picture,
    random_of,
    table,
    volumes,
)


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


def test_time_series(tmp_path: Path) -> None:
    """`series` has its channels first: many in one npz, one in each, with a class or a label at every time."""
    series = random_of(0).normal(size=(12, 3, 40)).astype(np.float32)
    (tmp_path / "all").mkdir()
    np.savez(tmp_path / "all" / "all.npz", series=series, labels=np.arange(12) % 2)
    dataset = read_dataset(tmp_path / "all", "classification")
    assert (dataset.dimensions, dataset.channels, dataset.sizes) == (1, 3, ((40,),))
    case = dataset.splits.test[0]
    assert np.array_equal(case.read().image, series[int(case.id[-5:])].T)
    for index in range(6):
        np.savez(tmp_path / f"c{index}.npz", series=series[index], label=(series[index, 0] > 0).astype(np.uint8))
    each = read_dataset(tmp_path, "segmentation")
    assert (each.dimensions, each.channels, each.labels) == (1, 3, ("background", "label_1"))
    sample = each.splits.val[0].read()
    assert sample.image.shape == (40, 3) and np.array_equal(sample.reference, sample.image[:, 0] > 0)


def test_a_series_without_channels_is_refused(tmp_path: Path) -> None:
    """An empty one is named with its shape before anything is read of it."""
    np.savez(tmp_path / "a.npz", series=np.zeros((0, 40)), label=0)
    with pytest.raises(DataError, match=r"a\.npz \(series\) must not be empty, its shape is \(0, 40\)"):
        read_dataset(tmp_path, "classification")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"series": np.zeros((12, 40))}, r"\(series\) case 0 must have the axes \(n, channels, time\)"),
        (
            {"series": np.zeros((12, 3, 40)), "images": np.zeros((12, 9, 9))},
            "must hold images or series, it holds both",
        ),
        ({"series": np.zeros((11, 3, 40))}, "as many labels, groups and splits as series"),
    ],
)
def test_time_series_of_other_axes_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    """What cannot be (n, channels, time) is named with its shape; so is a file that holds pictures as well."""
    np.savez(tmp_path / "all.npz", labels=np.arange(12) % 2, **arrays)
    with pytest.raises(DataError, match=words):
        read_dataset(tmp_path, "classification")


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


def test_no_image_is_decoded_when_a_folder_is_read(tmp_path: Path) -> None:
    """Reading a folder looks at headers and label maps; pixels and voxels of images wait for the case."""
    volumes(tmp_path / "a")
    np.savez_compressed(tmp_path / "all.npz", images=np.zeros((9, 4, 4, 3), np.uint8), labels=np.arange(9) % 2)
    picture(tmp_path / "d" / "x" / "0.png", 0)
    classes(tmp_path / "c")
    (tmp_path / "one").mkdir()
    (tmp_path / "all.npz").rename(tmp_path / "one" / "all.npz")

    def undecodable(source: Source) -> ImageFile:
        opened = open_image(source)

        def read() -> np.ndarray:
            raise AssertionError(f"{source} was read")

        return replace(opened, read=read, read_labels=opened.labels)

    assert len(all_cases(read_dataset(tmp_path / "a", "segmentation", opener=undecodable))) == 6
    assert len(all_cases(read_dataset(tmp_path / "c", "classification", opener=undecodable))) == 20
    cases = all_cases(read_dataset(tmp_path / "one", "classification", opener=undecodable))
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


def test_a_label_that_was_not_seen_is_refused_when_it_comes(tmp_path: Path) -> None:
    """Of many masks some are looked at; a case with a label that those lack is bad data, not a wrong number."""
    pairs(tmp_path)
    mask(tmp_path / "masks" / "p01.png", 1, high=4, factor=1)
    cases = all_cases(read_dataset(tmp_path, "segmentation", scanned_maps=6))
    case = next(case for case in cases if case.id == "p01")
    with pytest.raises(BadData, match=r"p01\.png must hold 0 and 255 as other masks do, it holds 1, 2, 3"):
        case.read()


def test_an_empty_folder_says_what_is_possible(tmp_path: Path) -> None:
    """Where nothing fits, the message lists the layouts and what is there."""
    with pytest.raises(AutooptError, match=r"must have one layout .*: it holds nothing\. See docs/workloads\.md"):
        read_dataset(tmp_path, "segmentation")
    with pytest.raises(DataError, match="must be a folder"):
        read_dataset(tmp_path / "none", "segmentation")
