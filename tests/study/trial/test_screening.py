"""The check on a few cases: which they are, what they let expect, and when they end a trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.study import limits, uncertainty
from autoopt.study.trial import screening
from autoopt.workloads.contract import Case, Sample


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
    chosen = screening.drawn(cases(groups))
    enough = (
        len(set(groups)) >= screening.SCREENING_CASES
        and len(groups) >= screening.LEAST_SAVING * screening.SCREENING_CASES
    )
    assert len(chosen) == len({groups[index] for index in chosen}) == (screening.SCREENING_CASES if enough else 0)
    assert chosen == screening.drawn(cases(groups))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(-0.05, 0.3))
def test_what_all_lose_alike_is_estimated_exactly(seed: int, loss: float) -> None:
    """However much easier the few are than the rest, a loss that is the same for all patients is what is estimated."""
    values = np.random.default_rng(seed).uniform(0.3, 1.0, 60).tolist()
    before, after = quality(values), quality([value - loss for value in values])
    found = screening.estimated(part(after, screening.drawn(cases(list(range(60))))), before)
    assert found.value == pytest.approx(after.value)
    assert found.left_out == 60 - screening.SCREENING_CASES
    drop = uncertainty.drop(before, found)
    assert drop is not None
    assert drop.value == pytest.approx(loss, abs=1e-9)
    assert drop.groups == screening.SCREENING_CASES


def test_a_patient_counts_by_the_cases_that_were_predicted() -> None:
    """Where patients have easy and hard cases, a few are compared with the same cases of the reference."""
    easy_first = [value for _ in range(30) for value in (0.95, 0.5)]
    owners = [index // 2 for index in range(60)]

    def scored(values: list[float]) -> Quality:
        whole = quality(values)
        return replace(whole, cases=tuple(replace(c, group=f"p{g}") for c, g in zip(whole.cases, owners, strict=True)))

    before, after = scored(easy_first), scored([value - 0.02 for value in easy_first])
    drop = uncertainty.drop(before, screening.estimated(part(after, screening.drawn(cases(owners))), before))
    assert drop is not None
    assert drop.value == pytest.approx(0.02)


def check(losses: list[float], max_drop: float | None = 0.01) -> tuple[screening.Screening, Quality | None]:
    """The screening of cases that lose so much, and what it estimates where it ends the trial."""
    before, after = quality([0.9] * len(losses)), quality([0.9 - loss for loss in losses])
    found = screening.screening_of(cases(list(range(len(losses)))), before, max_drop)
    return found, found.failed(part(after, list(found.cases))) if found.cases else None


def test_a_sure_loss_ends_the_trial() -> None:
    """Losing 0.1 of each patient is told by a few; losing nothing, or 0.3 of every tenth patient, is not."""
    wild = check([0.3 if index % 10 == 0 else 0.0 for index in range(100)])
    for (found, failed), goes_on in ((check([0.1] * 100), False), (check([0.0] * 100), True), (wild, True)):
        assert len(found.cases) == screening.SCREENING_CASES
        assert (failed is None) is goes_on


def test_an_ended_trial_has_the_estimate_of_the_whole_split() -> None:
    """What the screening cases lost is taken off the reference's quality, and the cases not scored are counted."""
    found, failed = check([0.1] * 100)
    assert failed is not None
    assert failed.value == pytest.approx(0.8)
    assert failed.left_out == 100 - len(found.cases)


def test_where_nothing_can_be_told_nothing_is_checked() -> None:
    """Without a limit, with a small split, without a reference, or with a metric of whole splits, all are scored."""
    assert check([0.1] * 100, None)[0].cases == ()
    assert check([0.1] * 20)[0].cases == ()
    hundred = cases(list(range(100)))
    assert screening.screening_of(hundred, None, 0.01).cases == ()
    whole = replace(quality([0.9] * 100), primary="auroc")
    assert screening.screening_of(hundred, whole, 0.01).cases == ()


def test_a_trial_of_a_few_cases_is_never_feasible() -> None:
    """Also when the limit is widened later: nobody knows what the trial does to the other cases."""
    reference = TrialRecord(
        Configuration.of({"runtime": {"name": "fake"}}), Status.COMPLETE, quality=quality([0.9] * 60)
    )
    partly = replace(reference, quality=replace(quality([0.88] * 12), left_out=48))
    for limit in (0.01, 0.05):
        assert limits.judge(partly, reference, {"drop": limit}).status is Status.INFEASIBLE
