"""Which class is which answer of the model: by name, by what the model says, never by a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.cases import Found, Item
from autoopt.workloads.data.class_names import class_names
from autoopt.workloads.data.image_file import Source


def found(*labels: str, from_folders: bool = True) -> Found:
    items = [Item(label, label, None, (Source(Path(label)),), label) for label in labels]
    return Found(items, "classes", from_folders=from_folders)


TWELVE = [str(number) for number in range(12)]


def test_folders_called_by_numbers_have_no_order_of_their_own() -> None:
    """0, 1, 10, 11, 2 as text is not 0, 1, 2: without a word on it the folders are refused, with it each is one."""
    with pytest.raises(
        DataError, match=r"as text, .* \(0, 1, 10, 11, 2, 3, \.\.\.\), .*order=text or --option order=nu"
    ):
        class_names(found(*TWELVE), None)
    assert class_names(found(*TWELVE), None, "text").names == tuple(sorted(TWELVE))
    assert class_names(found(*TWELVE), None, "number").names == tuple(TWELVE)
    assert class_names(found(*TWELVE), sorted(TWELVE)).numbers["10"] == 2
    with pytest.raises(DataError, match="order=text"):
        class_names(found("1", "2", "10", "other"), None)


@pytest.mark.parametrize("labels", [TWELVE[:10], ["01", "02", "10"], ["b", "a", "C"], ["nan", "inf", "2"]])
def test_one_order_needs_no_word(labels: list[str]) -> None:
    """Where both orders are one, nothing is asked."""
    assert class_names(found(*labels), None).names == tuple(sorted(labels))


def test_numbers_in_a_table_are_numbers() -> None:
    """A column of whole numbers is sorted by number everywhere, unlike the names of folders."""
    assert class_names(found("2", "10", from_folders=False), None).names == ("2", "10")


def test_names_for_numbers() -> None:
    """Names that are given take the numbers in the order that is given; numbers alone would have to be guessed."""
    names = [f"class {number}" for number in TWELVE]
    with pytest.raises(DataError, match="order=text"):
        class_names(found(*TWELVE), names)
    assert class_names(found(*TWELVE), names, "number").numbers["10"] == 10
    assert class_names(found(*TWELVE), names, "text").numbers["10"] == 2
    assert class_names(found("0", "1"), ["healthy", "ill"]).numbers == {"0": 0, "1": 1}


def test_the_order_that_the_model_says() -> None:
    """Its names are matched however they are written; folders called by numbers are the numbers of its answers."""
    said = class_names(found("Benign", "Basal_cell"), None, said=["benign", "basal cell", "other"])
    assert said.numbers == {"Benign": 0, "Basal_cell": 1} and said.names == ("Benign", "Basal_cell", "other")
    assert class_names(found(*TWELVE), None, said=sorted(TWELVE)).numbers["10"] == 2
    assert class_names(found(*TWELVE), None, said=[f"class {name}" for name in TWELVE]).numbers["10"] == 10
    with pytest.raises(
        DataError, match="the model calls its answers cat, dog, the classes of the data are called a, b"
    ):
        class_names(found("a", "b"), None, said=["cat", "dog"])
    assert class_names(found("a", "b"), ["b", "a"], said=["cat", "dog"]).names == ("b", "a")
