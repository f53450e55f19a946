"""Packed cases: once per data, as they are, references beside images; by name where one cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.store import Store
from autoopt.errors import BadData, DataError
from autoopt.measure.files import case_ids
from autoopt.measure.pack import PackedReferences, pack_cases
from autoopt.workloads.contract import Case, Sample, Workload
from tests import tiny


def test_packing_is_done_once(tmp_path: Path) -> None:
    """The same data is packed once, whatever reads it; the arrays keep their type and order."""
    store, workload = Store(tmp_path), tiny.workload()
    first = pack_cases(workload, "val", store)
    broken = tuple(replace(case, read=_raising(ValueError("not read again"))) for case in workload.splits.val)
    again = pack_cases(_with_val(workload, broken), "val", store)
    assert again.key == first.key
    assert case_ids(first.path) == [case.id for case in workload.splits.val]
    for index, case in enumerate(workload.splits.val):
        stored = np.load(first.path / f"{index:05d}.npy", allow_pickle=False)
        assert stored.dtype == case.read().image.dtype
        assert np.array_equal(stored, case.read().image)


def test_packing_depends_on_data_and_split(tmp_path: Path) -> None:
    """Another split or another data digest is another artifact."""
    store, workload = Store(tmp_path), tiny.workload()
    keys = {pack_cases(workload, "val", store).key, pack_cases(workload, "test", store).key}
    keys.add(pack_cases(replace(workload, data_digest="other"), "val", store).key)
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("error", "kind"), [(DataError("a.png is broken"), DataError), (ValueError("a.png is broken"), BadData)]
)
def test_a_case_that_cannot_be_read(tmp_path: Path, error: Exception, kind: type[Exception]) -> None:
    """A case that cannot be read ends the packing with its name, and nothing half-written stays."""
    workload = tiny.workload()
    cases = (*workload.splits.val[:1], replace(workload.splits.val[1], read=_raising(error)))
    with pytest.raises(kind, match=r"a\.png is broken"):
        pack_cases(_with_val(workload, cases), "val", Store(tmp_path))
    assert list(tmp_path.rglob("*.npy")) == []


def test_objects_are_not_packed(tmp_path: Path) -> None:
    """An image of Python objects, which would have to be pickled, is refused."""
    workload = tiny.workload()
    case = replace(workload.splits.val[0], read=lambda: Sample(np.array([None]), np.zeros(1, int)))
    with pytest.raises(BadData, match="real numbers"):
        pack_cases(_with_val(workload, (case,)), "val", Store(tmp_path))


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


def _raising(error: Exception) -> Callable[[], Sample]:
    def read() -> Sample:
        raise error

    return read


def _with_val(workload: Workload, cases: tuple[Case, ...]) -> Workload:
    return replace(workload, splits=replace(workload.splits, val=cases))
