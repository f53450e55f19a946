"""A primary metric of which less is better decides everything as its mirror image, of which more is, would."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality, quality_from_json
from autoopt.deploy.pick import choose
from autoopt.deploy.policies import PICKS
from autoopt.report.front_picture import draw, view_of
from autoopt.report.tables import front_notes
from autoopt.study import intervals, uncertainty
from autoopt.study.limits import judge, violations
from autoopt.study.result import StudyResult
from autoopt.study.trial import screening
from autoopt.tracking.runs import study_metrics, study_params
from tests.deploy.studies import CARD, record

VALUES = (0.90, 0.88, 0.86, 0.895, 0.70)
LATENCIES_S = (0.1, 0.05, 0.02, 0.06, 0.01)
METRIC = "dice_macro"


def mirrored(quality: Quality | None) -> Quality | None:
    """The same with 1 less the metric, an error, in its place."""
    if quality is None:
        return None
    cases = tuple(replace(case, scores={METRIC: 1 - (case.scores[METRIC] or 0)}) for case in quality.cases)
    return replace(quality, values={METRIC: 1 - quality.value}, cases=cases, errors=(METRIC,))


def patients(value: float, seed: int) -> Quality:
    """A split of ten patients who score `value` on average."""
    scores = value + 0.01 * np.random.default_rng(seed).normal(size=10)
    cases = tuple(
        CaseScore(f"c{i}", f"p{i}", {METRIC: float(one)}, {"scanner": "ab"[i % 2]}) for i, one in enumerate(scores)
    )
    return Quality("val", METRIC, "mean", {METRIC: float(scores.mean())}, cases)


def studies() -> tuple[StudyResult, StudyResult]:
    """One study by a metric of which more is better, and by the mirror image of that."""
    trials = [
        replace(
            record(number, latency_s, value, label="torch f32" if number == 0 else ""),
            quality=patients(value, number),
            test=replace(patients(value, number), split="test"),
        )
        for number, (latency_s, value) in enumerate(zip(LATENCIES_S, VALUES, strict=True))
    ]
    limits = {"drop": 0.05, "worst_decile": 0.1, "subgroup:scanner": 0.1}
    more = StudyResult(replace(CARD, limits=limits), tuple(trials))
    less = tuple(replace(one, quality=mirrored(one.quality), test=mirrored(one.test)) for one in trials)
    return more, StudyResult(replace(CARD, limits=limits, less_is_better=True), less)


def test_the_study_is_the_same_in_the_mirror() -> None:
    """Front, statuses, by how much limits are broken, drops, ties and chances are those of the mirrored metric."""
    more, less = studies()
    assert {record.status for record in more.judged} == {Status.COMPLETE, Status.INFEASIBLE}
    assert [r.number for r in more.front] == [r.number for r in less.front] and len(more.front) > 1
    assert [r.status for r in more.judged] == [r.status for r in less.judged]
    for one, other in zip(more.judged, less.judged, strict=True):
        assert one.violated == pytest.approx(other.violated)
        numbers, mirror = more.headline(one), less.headline(other)
        assert numbers.pop(METRIC) == pytest.approx(1 - mirror.pop(METRIC))
        drops = [name for name in numbers if "drop" in name or "front" in name]
        assert len(drops) > 4 and [numbers[name] for name in drops] == pytest.approx([mirror[name] for name in drops])
        assert more.confirmed_on_test(one) == less.confirmed_on_test(other)
    picks = [choose(more, pick=pick).record.number for pick in PICKS]
    assert picks == [choose(less, pick=pick).record.number for pick in PICKS]


def test_what_people_see_says_which_way_is_better() -> None:
    """Tables, the picture and MLflow say that less is better; the best is the least."""
    more, less = studies()
    assert any(f"Less {METRIC} is better" in note for note in front_notes(less))
    assert draw(less).axes[0].get_ylabel().endswith("(less is better)")
    assert study_params(less.card)["primary_better"] == "less"
    assert study_metrics(less)[f"best_{METRIC}"] == pytest.approx(1 - study_metrics(more)[f"best_{METRIC}"])
    seen, mirror = view_of(more), view_of(less)
    assert seen is not None and mirror is not None
    assert mirror.quality == pytest.approx((1 - seen.quality[1], 1 - seen.quality[0]))


def test_limits_of_an_error() -> None:
    """--min-quality is the largest error and --max-drop a share of the reference's; an error of 0 may not rise."""
    _, less = studies()
    asked = {"min_quality": 0.13, "max_drop": 0.5}
    chosen = choose(less, pick="fastest", **asked)  # type: ignore[arg-type]
    assert (
        chosen.limits is not None and {"error", "relative_drop"} <= set(chosen.limits) and "drop" not in chosen.limits
    )
    assert chosen.record.number == 1 and "error (upper bound) <= 0.13" in chosen.explanation
    faultless = error_of(0.0)
    for value, status in ((0.0, Status.COMPLETE), (0.001, Status.INFEASIBLE)):
        assert judge(error_of(value), faultless, {"relative_drop": 0.01}).status is status
    assert violations(error_of(0.3), None, {"quality": 0.1}) == {}


def error_of(value: float) -> TrialRecord:
    """A trial whose error is `value`."""
    made = record(1, 0.1, value)
    assert made.quality is not None
    return replace(made, quality=replace(made.quality, errors=(METRIC,)))


def test_a_rising_error_ends_a_trial_early() -> None:
    """The screening cases tell that an error rose, and a stored quality stays one of an error."""
    good, bad = mirrored(patients(0.9, 0)), mirrored(patients(0.7, 0))
    assert good is not None and bad is not None
    assert screening.loses_too_much(bad, good, 0.05) and not screening.loses_too_much(good, bad, 0.05)
    assert screening.estimated(bad, good).value == pytest.approx(bad.value)
    assert quality_from_json(json.loads(json.dumps(asdict(good)))) == good
    found = intervals.drop(good, bad)
    assert not isinstance(found, str) and found[0] > 0.15 and uncertainty.same_quality(good, good)
