"""Limits and guards: each reads the number it says, breaks where it is exceeded, and is never passed unseen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import DISAGREEMENT, CaseScore, Quality
from autoopt.study import limits

SCANNERS = ("a", "b")


def trial(losses: list[float], *, disagreement: float | None = None) -> TrialRecord:
    """A trial whose patients, alternately of scanner a and b, lose so much of 0.9."""
    cases = tuple(
        CaseScore(f"c{index}", f"p{index}", {"dice": 0.9 - loss}, {"scanner": SCANNERS[index % 2]})
        for index, loss in enumerate(losses)
    )
    values = {"dice": 0.9 - sum(losses) / len(losses)}
    values |= {} if disagreement is None else {DISAGREEMENT: disagreement}
    configuration = Configuration.of({"runtime": {"name": "fake"}})
    return TrialRecord(configuration, Status.COMPLETE, quality=Quality("val", "dice", "mean", values, cases))


REFERENCE = trial([0.0] * 20)


def excess(record: TrialRecord, **bounds: float) -> dict[str, float]:
    return limits.violations(record, REFERENCE, bounds)


def test_the_worst_decile_is_what_the_worst_hit_patients_lose() -> None:
    """Two of twenty patients that lose 0.2 and 0.1 break a guard of 0.1 that the mean drop of 0.015 would keep."""
    hit = trial([0.2, 0.1, *[0.0] * 18])
    assert excess(hit, worst_decile=0.1) == {"worst_decile": pytest.approx(0.05)}
    assert excess(REFERENCE, worst_decile=0.0) == {"worst_decile": 0.0}
    few = limits.worst_decile(trial([0.03, 0.01, 0.02]), trial([0.0] * 3))
    assert few == pytest.approx(0.03)


def test_a_subgroup_may_not_lose_more() -> None:
    """What all patients of one scanner lose breaks a guard that the mean over all scanners would keep."""
    biased = trial([0.0, 0.02] * 10)
    assert limits.subgroup_drops("scanner", biased, REFERENCE) == {"a": 0.0, "b": pytest.approx(0.02)}
    assert excess(biased, **{"subgroup:scanner": 0.015}) == {"subgroup:scanner": pytest.approx(0.005)}
    judged = limits.judge(biased, REFERENCE, {"subgroup:scanner": 0.015})
    assert judged.status is Status.INFEASIBLE and list(judged.violated) == ["subgroup:scanner"]


def test_disagreement_with_the_source_model() -> None:
    """The share of voxels that the trial labels unlike the source model is held against its guard."""
    assert excess(trial([0.0] * 4, disagreement=0.03), disagreement=0.01) == {DISAGREEMENT: pytest.approx(0.02)}


def test_what_a_trial_does_not_tell_is_named() -> None:
    """A guard that a stored trial tells nothing of is named, so that nobody takes it for kept."""
    bounds = {"drop": 0.01, DISAGREEMENT: 0.01, "subgroup:site": 0.1, "subgroup:scanner": 0.1}
    assert limits.unknown_of(trial([0.0] * 4), REFERENCE, bounds) == [DISAGREEMENT, "subgroup:site"]


@pytest.mark.parametrize("name", ["worst_decile", "disagreement", "subgroup:scanner"])
def test_guards_have_names(name: str) -> None:
    """The guards are known by name, with a text that says what they are; limits of the command line are not guards."""
    assert limits.is_guard(name)
    assert limits.limit(name).text
    assert not any(limits.is_guard(other) for other in ("drop", "latency_s", "subgroup:", "subgroup:COLUMN", "worst"))


def test_unmeasured_trials_break_nothing() -> None:
    """A failed trial has no numbers and keeps its status."""
    lost = replace(REFERENCE, quality=None, status=Status.FAILED)
    assert limits.violations(lost, REFERENCE, {"drop": 0.0, "worst_decile": 0.0, "latency_s": 1.0}) == {}
    assert limits.judge(lost, REFERENCE, {"drop": 0.0}).status is Status.FAILED
