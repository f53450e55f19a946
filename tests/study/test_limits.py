"""Limits and guards: each reads the number it says, breaks where it is exceeded, and is never passed unseen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import DISAGREEMENT, CaseScore, Quality
from autoopt.study import limits, uncertainty
from tests.worlds import measured

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


@pytest.mark.parametrize("name", ["worst_decile", "disagreement", "subgroup:scanner", "label:lv"])
def test_guards_have_names(name: str) -> None:
    """The guards are known by name, with a text that says what they are; limits of the command line are not guards."""
    assert limits.is_guard(name)
    assert limits.limit(name).text
    assert not any(limits.is_guard(other) for other in ("drop", "size_bytes", "subgroup:", "label:NAME", "worst"))


def test_unmeasured_trials_break_nothing() -> None:
    """A failed trial has no numbers and keeps its status."""
    lost = replace(REFERENCE, quality=None, status=Status.FAILED)
    assert limits.violations(lost, REFERENCE, {"drop": 0.0, "worst_decile": 0.0, "latency_s": 1.0}) == {}
    assert limits.judge(lost, REFERENCE, {"drop": 0.0}).status is Status.FAILED


def measured_trial(latency_s: float = 0.02, value: float = 0.9, *, spread: float = 0.0, **changes: Any) -> TrialRecord:
    """A trial that was measured in three processes; its twenty patients lie around the value."""
    record = trial([0.9 - value + spread * (1 if index % 2 else -1) for index in range(20)])
    return replace(record, measurement=replace(measured(latency_s, processes=3), **changes))


def test_memory_and_size_are_what_was_measured() -> None:
    """The largest process and the graph files are held against their limits, in bytes."""
    record = measured_trial(peak_rss_bytes=500_000_001, artifact_bytes=20_000_000)
    bounds = {"memory_bytes": 5e8, "size_bytes": 2e7}
    assert limits.violations(record, None, bounds) == {"memory_bytes": 1.0, "size_bytes": 0.0}
    assert limits.judge(record, None, bounds).violated == {"memory_bytes": 1.0}


def test_the_least_quality_is_compared_with_the_lower_bound() -> None:
    """A mean above the least quality does not pass while its patients leave open that it is below; a sure one does.

    The bound is that of one side, as the upper one of the drop is: Student's quantile of 95 % at 19 degrees is 1.729.
    """
    wide = measured_trial(value=0.86, spread=0.1)
    bound = 0.86 - 1.729 * 0.1 * math.sqrt(20 / 19) / math.sqrt(20)
    assert limits.quality_bound(wide, None) == pytest.approx(bound, abs=1e-4)
    assert limits.judge(wide, None, {"quality": 0.85}).status is Status.INFEASIBLE
    assert limits.judge(measured_trial(value=0.86), None, {"quality": 0.85}).status is Status.COMPLETE
    alone = trial([0.05])
    assert limits.violations(alone, None, {"quality": 0.86}) == {"quality": pytest.approx(0.01)}


def test_a_relative_drop_is_a_share_of_the_reference() -> None:
    """4 % of a reference of 0.9 are 0.036: 0.035 lost on every patient keeps it, 0.037 does not."""
    kept, lost = (trial([loss] * 20) for loss in (0.035, 0.037))
    assert excess(kept, relative_drop=0.04)["relative_drop"] == pytest.approx(0.035 / 0.9 - 0.04)
    assert limits.judge(lost, REFERENCE, {"relative_drop": 0.04}).status is Status.INFEASIBLE
    assert limits.drop_limit({"relative_drop": 0.04}, REFERENCE.quality) == pytest.approx(0.036)
    assert limits.drop_limit({"relative_drop": 0.04, "drop": 0.01}, REFERENCE.quality) == 0.01
    assert limits.drop_limit({"relative_drop": 0.04}, None) is None
    assert limits.judge(kept, None, {"relative_drop": 0.04}).status is Status.UNKNOWN


def test_the_upper_bound_of_the_latency_is_limited_as_far_as_the_noise_is_known() -> None:
    """A latency just below its limit does not pass when processes differ by 5 %, and passes when they do not; a study
    that was stored before is judged by the latency itself."""
    record = measured_trial(0.0199)
    assert limits.judge(record, None, {"latency_bound_s": 0.02}, 0.05).status is Status.INFEASIBLE
    assert limits.judge(record, None, {"latency_bound_s": 0.02}, 0.0001).status is Status.COMPLETE
    assert limits.judge(record, None, {"latency_s": 0.02}, 0.05).status is Status.COMPLETE
    bound = limits.latency_bound_s(record, None, 0.05)
    assert bound == uncertainty.latency_interval(record.measured, 0.05, 0.90)[1] and 0.0202 < bound < 0.0210


def test_the_drop_of_a_label_is_guarded() -> None:
    """What one label loses breaks its guard though the primary metric keeps its limit; a label without scores is
    unknown."""

    def with_label(losses: list[float], dice: float) -> TrialRecord:
        record = trial(losses)
        assert record.quality is not None
        cases = tuple(replace(case, scores={**case.scores, "dice_lv": dice}) for case in record.quality.cases)
        return replace(record, quality=replace(record.quality, cases=cases))

    before, after = with_label([0.0] * 4, 0.8), with_label([0.0] * 4, 0.75)
    bounds = {"label:lv": 0.03, "drop": 0.01}
    assert limits.judge(after, before, bounds).violated == {"label:lv": pytest.approx(0.02)}
    assert limits.unknown_of(trial([0.0] * 4), before, bounds) == ["label:lv"]


def test_the_least_throughput_is_compared_with_the_lower_bound() -> None:
    """Calls per second just above the least do not pass while the noise leaves open that they are fewer; what was not
    measured is unknown."""
    turns = {"concurrent_s": (((0.0099,), (0.0099,)),), "concurrent_reference_s": (((0.1,), (0.1,)),)}
    record = measured_trial(0.02, **turns)
    assert limits.throughput_bound(record, None, 0.0) == pytest.approx(101.01, abs=0.01)
    assert limits.judge(record, None, {"concurrent_per_s": 100.0}, 0.0).status is Status.COMPLETE
    assert limits.judge(record, None, {"concurrent_per_s": 100.0}, 0.02).status is Status.INFEASIBLE
    assert limits.judge(measured_trial(), None, {"concurrent_per_s": 1.0}).status is Status.UNKNOWN


def test_limits_are_said_in_their_units() -> None:
    """Each limit is written as people read it: milliseconds, megabytes, percent; what is least with its own sign."""
    assert limits.in_words({}) == ""
    bounds = {"latency_bound_s": 0.0125, "relative_drop": 0.04, "quality": 0.85, "size_bytes": 2e7, "label:lv": 0.03}
    assert limits.in_words(bounds) == (
        "label:lv <= 0.03 and p25 latency (upper bound) <= 12.5 ms and quality (lower bound) >= 0.85 and "
        "drop (relative) <= 4% and size <= 20 MB"
    )
