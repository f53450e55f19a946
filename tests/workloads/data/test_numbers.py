"""The numbers of a regression, from tables and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.dataset import Dataset, read_dataset
from autoopt.workloads.data.numbers import as_number

LINES = "image,patient,age,weight,site\n" + "".join(
    f"x{i}.npy,p{i // 2},{20 + i}.5,{60 - i},{'ab'[i % 2]}\n" for i in range(12)
)


def table(folder: Path, text: str = LINES) -> Path:
    for index in range(12):
        np.save(folder / f"x{index}.npy", np.full((8, 8, 1), index, np.float32))
    (folder / "cases.csv").write_text(text)
    return folder


def references(dataset: Dataset) -> dict[str, list[float]]:
    splits = dataset.splits
    cases = {case.id: case for split in (splits.train, splits.calibration, splits.val, splits.test) for case in split}
    return {name: np.asarray(case.read().reference).tolist() for name, case in cases.items()}


def test_columns_are_chosen_by_name_and_order(tmp_path: Path) -> None:
    """`labels` names the columns in the order of the model's answers; what is a text stays a tag."""
    dataset = read_dataset(table(tmp_path), "regression", ["weight", "age"])
    found = references(dataset)
    assert dataset.labels == ("weight", "age") and not dataset.multilabel
    assert found["x3.npy"] == [57.0, 23.5] and len(found) == 12
    assert dict(dataset.splits.val[0].tags).keys() == {"site"}
    one = read_dataset(tmp_path, "regression", ["age"])
    assert one.digest != dataset.digest  # other references


def test_what_is_to_be_predicted_must_be_known(tmp_path: Path) -> None:
    """Several columns of numbers without a usual name, an unknown name and a cell that is no number are refused."""
    with pytest.raises(DataError, match="which number is to be predicted must be known, there are age, weight"):
        read_dataset(table(tmp_path), "regression")
    with pytest.raises(DataError, match="got height: they have age, weight"):
        read_dataset(tmp_path, "regression", ["height"])
    (tmp_path / "cases.csv").write_text(LINES.replace(",weight", ",target"))
    assert read_dataset(tmp_path, "regression").labels == ("target",)


@pytest.mark.parametrize(("cell", "came"), [("unknown", "'unknown'"), ("nan", "'nan'"), ("", "nothing")])
def test_a_line_without_its_number_is_named(tmp_path: Path, cell: str, came: str) -> None:
    """A column with one wrong cell is refused with its line, and no other column is predicted in its place."""
    table(tmp_path, LINES.replace("24.5", cell))
    for labels, says in ((["age"], f"line 6: age must be a finite number to be predicted, got {came}"), (None, "age")):
        with pytest.raises(DataError, match=says):
            read_dataset(tmp_path, "regression", labels)
    assert read_dataset(tmp_path, "regression", ["weight"]).labels == ("weight",)
    (tmp_path / "cases.csv").write_text(LINES.replace("24.5", cell).replace(",age", ",target"))
    with pytest.raises(DataError, match="line 6: target must be a finite number"):
        read_dataset(tmp_path, "regression")
    lines = [",".join(line.split(",")[:3]) for line in LINES.replace("24.5", cell).splitlines()]
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="another with a number in every line"):
        read_dataset(tmp_path, "regression")


def test_arrays_have_their_numbers_as_labels(tmp_path: Path) -> None:
    """One npz with all cases, and one npz each, have the numbers in their labels; NaN is refused with its place."""
    whole, each, wrong = (tmp_path / name for name in ("whole", "each", "wrong"))
    for folder in (whole, each, wrong):
        folder.mkdir()
    images, labels = np.zeros((12, 8, 8, 1), np.float32), np.arange(24.0).reshape(12, 2) / 7
    np.savez(whole / "all.npz", images=images, labels=labels)
    dataset = read_dataset(whole, "regression", ["volume", "mass"])
    assert dataset.labels == ("volume", "mass") and references(dataset)["all-00005"] == labels[5].tolist()
    for index in range(12):
        np.savez(each / f"c{index}.npz", image=images[index], label=labels[index, 0])
    assert references(read_dataset(each, "regression"))["c4"] == [labels[4, 0]]
    np.savez(wrong / "all.npz", images=images, labels=np.where(labels > 3, np.nan, labels))
    with pytest.raises(DataError, match="must be one or several finite numbers"):
        read_dataset(wrong, "regression")


@pytest.mark.parametrize(
    ("text", "number"), [("1e3", 1000.0), (" -2 ", -2.0), ("nan", None), ("inf", None), ("", None)]
)
def test_only_finite_numbers_are_numbers(text: str, number: float | None) -> None:
    """A cell holds a finite number or none."""
    assert as_number(text) == number
