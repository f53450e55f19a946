"""Packed cases: references beside the images, as they were, checked once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.store import Store
from autoopt.errors import BadData
from autoopt.measure.pack import PackedReferences, pack_cases
from autoopt.workloads.contract import Sample, Workload
from tests import tiny


def with_reference(reference: np.ndarray) -> Workload:
    """The tiny workload whose first val case has this reference."""
    workload = tiny.workload()
    first, *others = workload.splits.val
    image = first.read().image
    changed = replace(first, read=lambda: Sample(image, reference, np.diag([2.0, 3.0, 4.0, 1.0])))
    return replace(workload, splits=replace(workload.splits, val=(changed, *others)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool])
def test_references_come_back_as_they_were(tmp_path: Path, dtype: type) -> None:
    """Dtype, values and affine of every case are kept."""
    reference = (np.arange(256).reshape(16, 16) % 2).astype(dtype)
    packed = PackedReferences(pack_cases(with_reference(reference), "val", Store(tmp_path)))
    stored, affine = packed.read(0)
    assert stored.dtype == reference.dtype and np.array_equal(stored, reference)
    assert affine is not None and affine.tolist() == np.diag([2.0, 3.0, 4.0, 1.0]).tolist()
    assert packed.read(1)[1] is None and packed.ids == [case.id for case in tiny.workload().splits.val]


def test_a_reference_with_other_labels_is_found_when_packed(tmp_path: Path) -> None:
    """What no trial could be scored against is said once, before the first trial, with the case."""
    with pytest.raises(BadData, match=r"case case-06 of tiny must have whole numbers from 0 to 1, .* from 0 to 7"):
        pack_cases(with_reference(np.arange(8).reshape(2, 4)), "val", Store(tmp_path))
    assert list(tmp_path.rglob("*.npy")) == []


def test_other_labels_are_another_pack(tmp_path: Path) -> None:
    """The same images with other names of labels, or as a multilabel task, have other references."""
    store, workload = Store(tmp_path), tiny.workload()
    renamed = replace(workload, labels=("background", "lesion"))
    assert pack_cases(workload, "val", store).key != pack_cases(renamed, "val", store).key
