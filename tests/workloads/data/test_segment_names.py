"""Labels that files name are matched by these names, whatever number a file gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData, DataError
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.segment_names import NO_NAMES, segment_names

A, B = Source(Path("a.seg.nrrd")), Source(Path("b.seg.nrrd"))


def test_a_name_means_one_label_in_every_file() -> None:
    """The liver is one label though it is 1 in one file and 2 in the next; two segments of one name are one label."""
    swapped = segment_names([(A, {1: "Liver", 2: "tumour"}), (B, {1: "tumour", 2: "liver", 3: "liver"})])
    assert swapped.names == ("Liver", "tumour")
    values = np.array([0, 1, 2, 3])
    assert swapped.by_name(B, values, {1: "tumour", 2: "liver", 3: "liver"}).tolist() == [0, 2, 1, 1]
    agreed = segment_names([(A, {7: "tumour"}), (B, {3: "liver"})])
    assert agreed.names == ("liver", "tumour")  # by their numbers, which no two files use for different things
    assert agreed.by_name(A, np.array([7, 0]), {7: "tumour"}).tolist() == [2, 0]
    assert not NO_NAMES and NO_NAMES.by_name(A, values, None) is values


def test_what_is_not_named_is_refused() -> None:
    """A value without a name, files without names beside others, and labels that leave a segment out are named."""
    names = segment_names([(A, {1: "liver"})])
    with pytest.raises(BadData, match=r"b\.seg\.nrrd must name each of its labels, it holds 5"):
        names.by_name(B, np.array([5]), {1: "liver"})
    with pytest.raises(DataError, match=r"b\.seg\.nrrd must name its labels as a\.seg\.nrrd does"):
        segment_names([(A, {1: "liver"}), (B, None)])
    with pytest.raises(DataError, match=r"a\.seg\.nrrd has the segment 'liver', which --option labels must name"):
        names.ordered(["background", "tumour"])
    assert names.ordered(["air", "spleen", "LIVER"]).by_name(A, np.array([1]), {1: "liver"}).tolist() == [2]
