"""What a workload must keep: no patient in two splits, no empty split, labels that fit, references of these labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autoopt.errors import WorkloadError
from autoopt.workloads.checks import check_workload, reference_problem
from autoopt.workloads.contract import IGNORED, Case, Splits
from tests import tiny


def case(name: str, group: str) -> Case:
    return Case(name, group, tiny.workload().splits.val[0].read)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: replace(s, calibration=()), "the split 'calibration' has no cases"),
        (lambda s: replace(s, test=(*s.test, s.val[0])), "case 'case-06' is in val and again in test"),
        (
            lambda s: replace(s, test=(case("x", "patient-0"),)),
            "group 'patient-0' is in train and in test: patients must not leak",
        ),
        (lambda s: replace(s, val=(*s.val, s.val[0])), "case 'case-06' is in val and again in val"),
    ],
)
def test_splits_must_be_disjoint(change: Callable[[Splits], Splits], says: str) -> None:
    """An empty split, a case twice and a patient in two splits are each named."""
    workload = tiny.workload()
    check_workload(workload)
    with pytest.raises(WorkloadError, match=says):
        check_workload(replace(workload, splits=change(workload.splits)))


def test_all_problems_at_once_but_not_thousands() -> None:
    """All problems come together; a list too long to read is cut and says so."""
    workload = tiny.workload()
    with pytest.raises(WorkloadError) as caught:
        check_workload(replace(workload, labels=("one",), metrics=(), build=None))
    assert len(caught.value.problems) == 4
    many = tuple(case(f"{index}", "g") for index in range(30))
    with pytest.raises(WorkloadError, match=r"\.\.\. and 13 more"):
        check_workload(replace(workload, splits=Splits(many, (), many[:1], many[:29])))


def test_train_and_calibration_may_share_a_patient() -> None:
    """Both are training data: a patient in both is no leak, one in train and val is."""
    splits = tiny.workload().splits
    one = replace(splits.train[0], group="p")
    other = replace(splits.calibration[0], group="p")
    check_workload(replace(tiny.workload(), splits=replace(splits, train=(one,), calibration=(other,))))
    with pytest.raises(WorkloadError, match="patients must not leak"):
        check_workload(replace(tiny.workload(), splits=replace(splits, train=(one,), val=(other,), calibration=())))


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (np.zeros((2, 2), np.float32), r"must have whole numbers from 0 to 1, .* got float32 \(2, 2\)"),
        (np.zeros((0, 2), np.uint8), r"got uint8 \(0, 2\)"),
        (np.array([[0, 2]]), "from 0 to 2"),
        (np.array([[-1, 1]]), "from -1 to 1"),
    ],
)
def test_references_have_known_labels(reference: np.ndarray, says: str) -> None:
    """A reference of another dtype, without voxels or with other labels is named; what is ignored may be anywhere."""
    assert re.search(says, reference_problem(tiny.workload(), reference) or "")
    assert reference_problem(tiny.workload(), np.array([[0, 1, IGNORED]])) is None


def test_multilabel_references_have_an_axis_of_labels() -> None:
    """Where the pipeline decides by sigmoid, the last axis of a reference has 0 or 1 for each label."""
    pipeline = replace(tiny.PIPELINE, activation="sigmoid")
    workload = replace(tiny.workload(), pipeline=pipeline)
    assert reference_problem(workload, np.array([[0, 1], [1, 1]])) is None
    assert "must have a last axis of 2 labels" in (reference_problem(workload, np.zeros((4, 3), np.uint8)) or "")
    assert "from 0 to 1" in (reference_problem(workload, np.array([[0, 2]])) or "")
