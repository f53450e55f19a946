"""The public contract suites: kept by a good workload, and clear about a bad one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoopt.testing import WorkloadContract, workload_problems
from autoopt.workloads.contract import Case, Sample, Splits, Workload
from tests import tiny


class TestTinyWorkload(WorkloadContract):
    """The contract holds for the workload of the other tests."""

    def workload(self) -> Workload:
        """The tiny workload."""
        return tiny.workload()


def _with_val(case: Case) -> Workload:
    workload = tiny.workload()
    splits = workload.splits
    return replace(workload, splits=Splits(splits.train, splits.calibration, (case, *splits.val), splits.test))


def _sample(image: np.ndarray, reference: np.ndarray) -> Case:
    return Case("odd", "odd-patient", lambda: Sample(image, reference))


IMAGE = np.zeros((16, 16, 3), np.float32)


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (_with_val(_sample(IMAGE, np.zeros((8, 8), np.uint8))), "must have shape"),
        (_with_val(_sample(IMAGE, np.zeros((16, 16), np.float32))), "must have whole numbers from 0 to 1"),
        (_with_val(_sample(IMAGE, np.full((16, 16), 7, np.uint8))), "from 7 to 7"),
        (_with_val(_sample(IMAGE[..., :2], np.zeros((16, 16), np.uint8))), "cannot be read and prepared"),
        (_with_val(tiny.workload().splits.train[0]), "is in train and again in val"),
        (replace(tiny.workload(), metrics=("dice_of_doom",)), "is not one of a segmentation task"),
        (replace(tiny.workload(), labels=("a", "b", "c")), "the pipeline has 2 classes, the labels are a, b, c"),
    ],
)
def test_a_broken_workload_is_told_what_is_wrong(workload: Workload, words: str) -> None:
    """Every way to break the contract is named in a sentence."""
    assert any(words in problem for problem in workload_problems(workload))


def test_a_good_workload_has_no_problems() -> None:
    """The list of problems of a workload that keeps the contract is empty."""
    assert workload_problems(tiny.workload()) == []
