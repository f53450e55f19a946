"""Label maps: the labels a folder has, and what no map may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import IGNORED
from autoopt.workloads.data.cases import Item
from autoopt.workloads.data.headers import CaseFormat
from autoopt.workloads.data.image_file import ImageFile, Source
from autoopt.workloads.data.label_maps import absent_labels, rare_labels, read_label_maps

PLAIN = CaseFormat(2, (1,), None, 1.0, ((2, 2),), False, False)
MULTILABEL = CaseFormat(2, (1,), 2, 1.0, ((2, 2),), False, False)


def read(maps: list[object], form: CaseFormat = PLAIN, wanted: tuple[str, ...] | None = None, scanned: int = 200):  # type: ignore[no-untyped-def]
    items = [Item(str(index), "p", None, (), Source(Path(f"{index}.x"))) for index in range(len(maps))]
    return read_label_maps(
        items,
        form,
        wanted,
        scanned=scanned,
        opener=lambda source: ImageFile.of(np.asarray(maps[int(source.path.stem)])),
    )


def test_labels_are_the_numbers_that_are_there() -> None:
    """0, 1, 2 are a background and two labels; 255 is unknown beside them and the foreground beside 0 alone."""
    maps, present = read([[[0, 1], [2, 255]], [[0, 0], [0, 1]]])
    assert maps.names == ("background", "label_1", "label_2") and not maps.binary
    assert present == {"0": frozenset({0, 1, 2}), "1": frozenset({0, 1})}
    assert maps.read(Source(Path("0.x")))[1, 1] == IGNORED
    binary, present = read([[[0, 255], [0, 0]], [[0, 0], [0, 0]]])
    assert binary.binary and present == {"0": frozenset({0, 1}), "1": frozenset({0})}
    assert binary.read(Source(Path("0.x"))).tolist() == [[0, 1], [0, 0]]


def test_multilabel_maps_have_an_axis_of_labels() -> None:
    """0 / 1 for each label, or 0 / 255; a label is present where its plane has a voxel."""
    maps, present = read([[[[0, 1], [0, 0]], [[0, 1], [0, 0]]], [[[1, 1], [1, 0]], [[0, 0], [0, 0]]]], MULTILABEL)
    assert maps.names == ("label_0", "label_1")
    assert present == {"0": frozenset({1}), "1": frozenset({0, 1})}


@pytest.mark.parametrize(
    ("maps", "form", "wanted", "says"),
    [
        ([[[0, 0.5], [0, 1]]], PLAIN, None, "must hold whole numbers"),
        ([[[0, 300], [0, 1]]], PLAIN, None, "0.x must hold labels from 0 to 254, it holds 300"),
        ([[[0, 3], [0, 1]]], PLAIN, None, "without a gap; 0.x holds 3, none holds 2"),
        ([[[0, 0], [0, 0]]], PLAIN, None, "must have a foreground"),
        ([[[0, 2], [0, 1]]], PLAIN, ("a", "b"), "must name the 3 labels that the masks have, got a, b"),
        ([[[[0, 2], [0, 0]], [[0, 1], [0, 0]]]], MULTILABEL, None, "must hold 0 and 1, one axis for each label"),
    ],
)
def test_what_no_map_may_hold(maps: list[object], form: CaseFormat, wanted: tuple[str, ...] | None, says: str) -> None:
    """Broken numbers, numbers out of range and gaps are refused with the file that holds them."""
    with pytest.raises(DataError, match=says):
        read(maps, form, wanted)


def test_a_map_that_was_not_looked_at_is_checked_when_read() -> None:
    """Of many maps some are looked at; another label in the others is bad data, not a wrong number."""
    maps, present = read([[[0, 1], [0, 0]], [[0, 1], [7, 0]]], scanned=1)
    assert list(present) == ["0"]
    with pytest.raises(BadData, match=r"1\.x must hold 0 to 1 as other masks do, it holds 7: name all labels with"):
        maps.read(Source(Path("1.x")))


def test_masks_of_two_scales_are_refused() -> None:
    """0 / 1 in some maps and 0 / 255 in others is no unknown foreground; where a map has all three, 255 is unknown."""
    with pytest.raises(DataError, match=r"one scale, 1\.x holds 0 and 1, 0\.x holds 0 and 255: divide"):
        read([[[0, 255]], [[0, 1]], [[0, 0]]])
    maps, _ = read([[[0, 1]], [[0, 255]], [[1, 255]]])
    assert maps.read(Source(Path("1.x"))).tolist() == [[0, IGNORED]]
    unseen, _ = read([[[0, 1]], [[0, 255]]], scanned=1)
    with pytest.raises(BadData, match=r"1\.x must hold 0 and 1 as other masks do, it holds 0 and 255: divide"):
        unseen.read(Source(Path("1.x")))


def soft_disk(largest: int) -> np.ndarray:
    """A disk whose edge falls over some pixels, as after interpolation."""
    y, x = np.mgrid[:64, :64]
    return np.clip((14 - np.hypot(y - 30, x - 34)) / 4 + 0.5, 0, 1) * largest


def test_soft_edges_are_named_as_such() -> None:
    """A mask that was resized with interpolation is said to be, once; many labels are another thing."""
    soft = np.rint(soft_disk(255)).astype(np.uint8)
    with pytest.raises(DataError, match=r"0\.x .* has soft edges: \d+ values .* so have 1 more of the 2 masks"):
        read([soft, soft])
    with pytest.raises(
        DataError, match=r"must hold whole numbers, .* as probabilities or soft edges are: store 1 where"
    ):
        read([soft_disk(1)])
    labels = np.arange(64 * 64).reshape(64, 64) * 120 // (64 * 64)
    assert len(read([labels])[0].names) == 120


def test_labels_a_step_beside_whole_numbers_are_rounded() -> None:
    """What a scale of 8 bits or single precision leaves is the label; a visible step is said, more is refused."""
    maps, present = read([[[0, 0.99607843], [0, 1.9999999]], [[0, 1], [0, 2.0000002]]])
    assert present == {"0": frozenset({0, 1, 2}), "1": frozenset({0, 1, 2})}
    assert maps.read(Source(Path("0.x"))).tolist() == [[0, 1], [0, 2]]
    (remark,) = maps.remarks
    assert "0.x holds labels that are not whole, such as 0.996078, rounded; so are those of 0 more" in remark
    with pytest.raises(DataError, match=r"some are not, such as 0\.99"):
        read([[[0, 0.99], [0, 1]]])


def test_rare_labels_are_counted_by_patient() -> None:
    """A label with fewer patients than splits that need it is named with its cases and patients."""
    present = {case: frozenset({0} if case < "d" else {1}) for case in "abcdef"}
    groups = {case: case for case in "abc"} | {"d": "p", "e": "p", "f": "q"}
    assert [text[:99] for text in rare_labels(("nv", "df"), present, groups, ("train", "val", "test"))] == [
        "df must be in cases of at least 3 patients, one each for train, val, test, it has 3 case(s) of 2 pa"
    ]


def test_labels_that_a_split_lacks() -> None:
    """A label that any case has must be in every split; a split with a case that was not looked at is not judged."""
    present = {"a": frozenset({0, 1}), "b": frozenset({0})}
    assert absent_labels(("bg", "lung"), present, {"val": ["a"], "test": ["b"]}) == [
        "test must have cases of every class and label, it has none of lung: add some or give splits"
    ]
    assert absent_labels(("bg", "lung"), present, {"test": ["b", "unseen"]}) == []
