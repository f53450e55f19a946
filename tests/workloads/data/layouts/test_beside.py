"""A table that lies beside class folders, pairs or archives: its patients and splits are kept, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.layouts import classes, find_items
from tests.workloads.data import folders


def patient(index: int) -> str:
    return f"P{index // 2}"


def write(folder: Path, header: str, names: list[str], name: str = "manifest.csv", encoding: str = "utf-8") -> None:
    """A table with a line per file: its name, its patient (two files each)."""
    mark = ";" if ";" in header else "\t" if "\t" in header else ","
    lines = [header, *(f"{file}{mark}{patient(index)}" for index, file in enumerate(names))]
    (folder / name).write_text("\n".join(lines) + "\n", encoding=encoding)


def groups(folder: Path, task: Any) -> dict[str, str]:
    dataset = read_dataset(folder, task)
    found = {case.id: case.group for case in folders.all_cases(dataset)}
    tested = {case.group for case in dataset.splits.val} | {case.group for case in dataset.splits.test}
    assert not tested & {case.group for case in (*dataset.splits.train, *dataset.splits.calibration)}
    return found


@pytest.mark.parametrize(
    ("header", "called", "encoding"),
    [
        ("name,patient", "{0}/{1}.jpg", "utf-8"),
        ("File Name;Patient ID", "{1}.jpg", "utf-16"),
        ("image_id\tSubjectID", "{1}", "utf-8-sig"),
        ("path, PatientID", "C:\\export\\{0}\\{1}.jpg", "utf-8"),
        ("IMAGE, case_id", "../data/{0}/{1}.jpg".removeprefix("../"), "utf-16-le"),
    ],
)
@pytest.mark.parametrize("name", ["manifest.csv", "patients.CSV"])
def test_patients_beside_class_folders(tmp_path: Path, header: str, called: str, encoding: str, name: str) -> None:
    """Whatever the columns are called and however files are named, all images of a patient are in one split."""
    folder = folders.classes(tmp_path, 12)
    files = [(kind, f"{kind}{index}") for kind in ("benign", "malignant") for index in range(12)]
    write(folder, header, [called.format(*file) for file in files], name, encoding)
    found = groups(folder, "classification")
    assert found == {f"{kind}/{file}.jpg": patient(index) for index, (kind, file) in enumerate(files)}


def test_patients_beside_pairs_and_archives(tmp_path: Path) -> None:
    """Tables of any name and form are read beside images with masks, and beside files of arrays."""
    write(folders.pairs(tmp_path / "a"), "Image;Patient", [f"images/p{i:02d}.png" for i in range(12)], "cases.csv")
    assert groups(tmp_path / "a", "segmentation") == {f"p{i:02d}": patient(i) for i in range(12)}
    (tmp_path / "b").mkdir()
    for index in range(8):
        label = np.eye(6, dtype=np.uint8)
        np.savez(tmp_path / "b" / f"c{index}.npz", image=label.astype(np.float32), label=label)
    write(tmp_path / "b", "filename,subject", [f"c{i}.npz" for i in range(8)], "t.tsv")
    assert groups(tmp_path / "b", "segmentation") == {f"c{i}": patient(i) for i in range(8)}


def test_splits_of_a_table(tmp_path: Path) -> None:
    """A column whose cells name splits gives them, however it is called; folders of splits must agree with it."""
    for split in ("train", "val", "test"):
        folders.classes(tmp_path / split, 2)
    files = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.glob("*/*/*.jpg"))]
    lines = [f"{file},{file.split('/')[0]},{index}" for index, file in enumerate(files)]
    (tmp_path / "t.csv").write_text("\n".join(["file,Subset,set", *lines]))
    found = classes.read(tmp_path, "classification")
    assert [item.split for item in found.items] == [file.split("/")[0] for file in files]
    assert found.items[3].tags == {"set": "3"} and "the split in Subset" in found.remarks[0]
    (tmp_path / "t.csv").write_text("\n".join(["file,Subset,set", *lines]).replace(",val,", ",train,"))
    with pytest.raises(DataError, match=r"must be in one split, its folder is of val and the table says train"):
        classes.read(tmp_path, "classification")


def table(**files: bytes | str) -> Any:
    def write_all(folder: Path) -> None:
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_csv", ".csv").replace("_xlsx", ".xlsx")
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write_all


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            table(notes_csv="epoch,loss\n1,2\n"),
            r"notes\.csv must have the columns name; name missing, it has epoch, loss",
        ),
        (table(a_csv="name\n", b_csv="name\n"), r"must hold one table of cases, it holds a\.csv, b\.csv: call the one"),
        (table(patients_xlsx=b"PK"), r"patients\.xlsx must be CSV text, it is a spreadsheet: save it as manifest\.csv"),
        (table(benign__t_csv="name\n"), r"benign/t\.csv is a table among images, where it is not read: move it to"),
        (table(t_csv="name,patient\nbenign0,p\n"), r"t\.csv must list every file, benign/benign1\.jpg is missing"),
        (table(t_csv="name,patient\n"), r"t\.csv must list every file, it has no lines"),
        (table(t_csv=b"name,patient\n\xff\n"), r"t\.csv must be CSV text in UTF-8 or UTF-16"),
    ],
)
def test_a_table_is_never_passed_over(tmp_path: Path, spoil: Any, says: str) -> None:
    """A table that cannot be used is refused with what is wrong with it."""
    folder = folders.classes(tmp_path)
    spoil(folder)
    with pytest.raises(DataError, match=says):
        read_dataset(folder, "classification")


def test_a_name_of_two_files_is_no_name(tmp_path: Path) -> None:
    """A table that names files without their folders must mean one of each."""
    for index in range(10):
        folders.picture(tmp_path / "ab"[index % 2] / f"{index // 2}.png", index)
    write(tmp_path, "name,patient", [f"{index // 2}.png" for index in range(10)])
    with pytest.raises(
        DataError, match=r"line 2: name '0.png' must name one file, it may be a/0.png, b/0.png: write its"
    ):
        read_dataset(tmp_path, "classification")


def test_a_class_in_the_table_and_another_in_the_folders(tmp_path: Path) -> None:
    """Folders of sites with a column of classes are refused; finer names of the same classes are tags."""
    folder = folders.classes(tmp_path)
    files = [f"{kind}/{kind}{index}.jpg" for kind in ("benign", "malignant") for index in range(10)]
    (folder / "t.csv").write_text("\n".join(["name,label", *(f"{file},{i % 2}" for i, file in enumerate(files))]))
    with pytest.raises(
        DataError, match=r"line 12: the class must be one thing, .* calls '0' lie in the folders benign and"
    ):
        read_dataset(folder, "classification")
    fine = [f"{file},{file[0]}{i % 2}" for i, file in enumerate(files)]
    (folder / "t.csv").write_text("\n".join(["name,diagnosis", *fine]))
    assert find_items(folder, "classification").items[1].tags == {"diagnosis": "b1"}


@pytest.mark.parametrize(
    "header",
    ["subjectid,channel_0,label", "SubjectID,Modality_0,Label", "Patient ID, File Name, Class", "patient;image;target"],
)
def test_a_table_alone_by_any_usual_header(tmp_path: Path, header: str) -> None:
    """A table that names images and classes needs no folders; an image may be named by its name alone."""
    mark = ";" if ";" in header else ","
    for index in range(24):
        folders.picture(tmp_path / "scans" / f"i{index}.png", index)
    folder = "scans/" if "_0" in header else ""
    lines = [mark.join((f"P{index // 2}", f"{folder}i{index}.png", "ab"[index // 12])) for index in range(24)]
    (tmp_path / "cases.csv").write_text("\n".join([header, *lines]), encoding="utf-16")
    assert sorted(groups(tmp_path, "classification").values()) == sorted(patient(index) for index in range(24))


def test_masks_by_a_table_with_usual_columns(tmp_path: Path) -> None:
    """The columns image and mask with paths are a table of cases, also where the folders are images/ and masks/."""
    folder = folders.pairs(tmp_path)
    lines = [f"images/p{i:02d}.png,masks/p{(i + 1) % 12:02d}.png,{patient(i)}" for i in range(12)]
    (folder / "t.csv").write_text("\n".join(["image,mask,patient", *lines]))
    found = find_items(folder, "segmentation")
    assert str(found.items[0].label).endswith("masks/p01.png") and found.items[3].group == "P1"


def test_what_a_table_alone_lacks(tmp_path: Path) -> None:
    """A table that does not say everything, without another layout, is named with its columns."""
    folders.picture(tmp_path / "scans" / "a.png", 0)
    (tmp_path / "t.csv").write_text("file,age\na.png,3\n")
    with pytest.raises(
        DataError, match=r"t\.csv alone would need .*Label with the file of the label map, it has file, ag"
    ):
        find_items(tmp_path, "segmentation")
