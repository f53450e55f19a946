"""Metrics of the user's own: scored with the others, and a fault is named with the case instead of being a score."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoopt.errors import BadData, WorkloadError
from autoopt.measure import quality
from autoopt.measure.metrics import Compared
from autoopt.workloads.checks import check_workload
from autoopt.workloads.contract import Sample, Workload
from autoopt.workloads.own_metrics import OwnMetric
from tests import tiny


def with_metric(function: Callable[[Any], Any], *names: str, **settings: Any) -> Workload:
    """The tiny workload with a metric of one's own called `mine`, the primary one."""
    return replace(tiny.workload(), metrics=("mine", *names), own_metrics=(OwnMetric("mine", function, **settings),))


def predictions(workload: Workload) -> list[np.ndarray]:
    return [np.asarray(case.read().reference) for case in workload.splits.val]


def test_it_is_scored_per_case_beside_the_others() -> None:
    """The function has reference, prediction and labels of each case; None leaves a case out and is counted."""
    seen: list[Compared] = []

    def wrong(compared: Compared) -> float | None:
        seen.append(compared)
        return None if len(seen) == 1 else float(np.sum(compared.reference != compared.prediction))

    workload = with_metric(wrong, "dice_macro", larger_is_better=False)
    answers = predictions(workload)
    answers[1] = 1 - answers[1]
    scored = quality.score(workload, "val", answers)
    assert scored.primary == "mine" and scored.less_is_better and scored.worth == -scored.value < 0
    assert scored.cases[1].scores["mine"] == answers[1].size and scored.undefined == {"mine": 1, "dice_macro": 0}
    assert seen[1].reference.shape == answers[1].shape and seen[1].labels == 2


def test_a_classification_has_its_probabilities() -> None:
    """A metric of a classification sees what was decided and the probabilities behind it."""
    pipeline = replace(tiny.PIPELINE, task="classification", fit="resize")
    cases = tuple(
        replace(case, read=lambda: Sample(np.zeros((16, 16, 3)), np.array(1))) for case in tiny.workload().splits.val
    )
    workload = replace(
        with_metric(lambda compared: compared.probabilities[int(compared.reference)]),
        task="classification",
        pipeline=pipeline,
        splits=replace(tiny.workload().splits, val=cases),
    )
    scored = quality.score(workload, "val", [np.array([0.25, 0.75], np.float32)] * len(cases))
    assert scored.value == 0.75


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda compared: 1 / 0, "must score case {case}, it failed with ZeroDivisionError: division by zero"),
        (lambda compared: sys.exit(0), "must score case {case}, it failed with SystemExit: 0"),
        (lambda compared: float("nan"), "must give a finite number for case {case}, it gave nan"),
        (lambda compared: np.inf, "must give a finite number for case {case}, it gave inf"),
        (
            lambda compared: np.zeros(2),
            r"must give one number, or None, for case {case}, it gave an array of shape \(2,\)",
        ),
        (lambda compared: "0.5", "must give one number, or None, for case {case}, it gave '0.5'"),
        (lambda compared: 1j, "must give one number, or None, for case {case}"),
    ],
)
def test_a_fault_names_the_metric_and_the_case(gives: Callable[[Any], Any], said: str) -> None:
    """What it raises, NaN, infinity and what is no number are an error, before the first trial and in each."""
    workload = with_metric(gives, "dice_macro")
    message = f"the metric mine {said.format(case=workload.splits.val[0].id)}"
    with pytest.raises(BadData, match=message):
        quality.score(workload, "val", predictions(workload))
    with pytest.raises(WorkloadError, match=message):
        quality.try_own_metrics(workload)


def test_a_metric_that_fails_where_nothing_is_found_is_told_before_the_first_trial() -> None:
    """The usual division by zero, of an empty prediction, is tried as well as the perfect one."""
    workload = with_metric(lambda compared: 1.0 / int((compared.prediction > 0).sum()))
    with pytest.raises(WorkloadError, match=r"the metric mine must score case .* ZeroDivisionError"):
        quality.try_own_metrics(workload)
    quality.try_own_metrics(with_metric(lambda compared: 0.5))


def test_a_metric_that_is_defined_for_no_case_is_told_before_the_first_trial() -> None:
    """None for all cases of val is refused; a metric that is defined for one of them, or only where something wrong is
    found, is not."""
    workload = with_metric(lambda compared: None, "dice_macro")
    count = len(workload.splits.val)
    with pytest.raises(WorkloadError, match=f"the metric mine must give a number .* it gave None for all {count}"):
        quality.try_own_metrics(workload)
    calls: list[int] = []

    def late(compared: Any) -> float | None:
        calls.append(1)
        return 0.5 if len(calls) > 3 else None  # three predictions of the first case

    quality.try_own_metrics(with_metric(late))

    def only_false_finds(compared: Any) -> float | None:
        false = (compared.prediction > 0) & (compared.reference == 0)
        return float(false.sum()) if false.any() else None

    quality.try_own_metrics(with_metric(only_false_finds))


def test_its_name_is_its_own_and_is_used() -> None:
    """Names of other metrics, names that are none, twice the same and metrics that are not asked for are refused."""
    own = OwnMetric("dice_macro", lambda compared: 0.0)
    with pytest.raises(WorkloadError, match="'dice_macro' is the name of another metric"):
        quality.chosen_metrics(replace(tiny.workload(), own_metrics=(own,)))
    bad = replace(own, name="no name")
    problems = replace(
        tiny.workload(), metrics=("dice_macro", "no name"), own_metrics=(bad, bad, replace(own, name="b"))
    )
    with pytest.raises(WorkloadError) as caught:
        check_workload(problems)
    said = "\n".join(caught.value.problems)
    assert "got 'no name'" in said and "two metrics of your own are called 'no name'" in said
    assert "the metric b of your own must be among the metrics, they are dice_macro, no name" in said
