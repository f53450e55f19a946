"""Packed cases: once per data, as they are, and by name where one cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.store import Store
from autoopt.errors import BadData, DataError
from autoopt.measure.files import case_ids
from autoopt.measure.pack import pack_cases
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


def _raising(error: Exception) -> Callable[[], Sample]:
    def read() -> Sample:
        raise error

    return read


def _with_val(workload: Workload, cases: tuple[Case, ...]) -> Workload:
    return replace(workload, splits=replace(workload.splits, val=cases))
