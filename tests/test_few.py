"""The check on a few cases: which they are, what they let expect, and when they end a trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt import few, limits, standing
from autoopt.records import CaseScore, Configuration, Quality, Status, TrialRecord
from autoopt.workload import Case, Sample


def unread() -> Sample:
    raise AssertionError("which cases are drawn does not hang on their images")


def cases(groups: list[int]) -> list[Case]:
    return [Case(f"c{index}", f"p{group}", unread) for index, group in enumerate(groups)]


def quality(values: list[float]) -> Quality:
    scores = tuple(CaseScore(f"c{index}", f"p{index}", {"dice": value}) for index, value in enumerate(values))
    return Quality("val", "dice", "mean", {"dice": 0.0}, scores).among(scores)


def part(whole: Quality, chosen: list[int]) -> Quality:
    return whole.among([whole.cases[index] for index in chosen])


@given(st.lists(st.integers(0, 60), max_size=200))
def test_the_few_are_of_different_patients(groups: list[int]) -> None:
    """The few are as many as planned, of as many patients; none where there are too few of either to save anything."""
    chosen = few.drawn(cases(groups))
    enough = len(set(groups)) >= few.FEW and len(groups) >= few.WORTH * few.FEW
    assert len(chosen) == len({groups[index] for index in chosen}) == (few.FEW if enough else 0)
    assert chosen == few.drawn(cases(groups))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(-0.05, 0.3))
def test_what_all_lose_alike_is_estimated_exactly(seed: int, loss: float) -> None:
    """However much easier the few are than the rest, a loss that is the same for all patients is what is estimated."""
    values = np.random.default_rng(seed).uniform(0.3, 1.0, 60).tolist()
    before, after = quality(values), quality([value - loss for value in values])
    found = few.estimated(part(after, few.drawn(cases(list(range(60))))), before)
    assert found.value == pytest.approx(after.value)
    assert found.left_out == 60 - few.FEW
    drop = standing.drop(before, found)
    assert drop is not None
    assert drop.value == pytest.approx(loss, abs=1e-9)
    assert drop.groups == few.FEW


def test_a_patient_counts_by_the_cases_that_were_predicted() -> None:
    """Where patients have easy and hard cases, a few are compared with the same cases of the reference."""
    easy_first = [value for _ in range(30) for value in (0.95, 0.5)]
    owners = [index // 2 for index in range(60)]

    def scored(values: list[float]) -> Quality:
        whole = quality(values)
        return replace(whole, cases=tuple(replace(c, group=f"p{g}") for c, g in zip(whole.cases, owners, strict=True)))

    before, after = scored(easy_first), scored([value - 0.02 for value in easy_first])
    drop = standing.drop(before, few.estimated(part(after, few.drawn(cases(owners))), before))
    assert drop is not None
    assert drop.value == pytest.approx(0.02)


def check(losses: list[float], max_drop: float | None = 0.01) -> few.Few:
    before = quality([0.9] * len(losses))
    after = quality([0.9 - loss for loss in losses])
    return few.few_of(cases(list(range(len(losses)))), before, max_drop, lambda _, only: part(after, list(only)))


def test_a_sure_loss_ends_the_trial() -> None:
    """Losing 0.1 of each patient is told by a few; losing nothing, or 0.3 of every tenth patient, is not."""
    wild = check([0.3 if index % 10 == 0 else 0.0 for index in range(100)])
    for checked, goes_on in ((check([0.1] * 100), False), (check([0.0] * 100), True), (wild, True)):
        assert len(checked.cases) == few.FEW
        assert checked.go_on([]) is goes_on
        assert (checked.quality is None) is goes_on


def test_where_nothing_can_be_told_nothing_is_checked() -> None:
    """Without a limit, with a small split, or with a primary metric that only a whole split has, all are predicted."""
    assert check([0.1] * 100, None).cases == ()
    assert check([0.1] * 20).cases == ()
    whole = replace(quality([0.9] * 100), primary="auroc")
    assert few.few_of(cases(list(range(100))), whole, 0.01, lambda _, only: whole).cases == ()


def test_a_trial_of_a_few_cases_is_never_feasible() -> None:
    """Also when the limit is widened later: nobody knows what the trial does to the other cases."""
    reference = TrialRecord(
        Configuration.of({"runtime": {"name": "fake"}}), Status.COMPLETE, quality=quality([0.9] * 60)
    )
    partly = replace(reference, quality=replace(quality([0.88] * 12), left_out=48))
    for limit in (0.01, 0.05):
        assert limits.judge(partly, reference, {"drop": limit}).status is Status.INFEASIBLE
