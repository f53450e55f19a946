"""Two studies held against each other."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autoopt.core.configuration import Configuration
from autoopt.report.compare_studies import StudyComparison, distance, nearest
from autoopt.study import uncertainty
from autoopt.study.result import StudyResult
from tests.report.page.planted import planted_study, trial
from tests.worlds import HOST

STUDY = planted_study()


def with_trials(*trials: tuple[int, float, float], **card: object) -> StudyResult:
    """The planted references and these trials: number, latency in seconds, quality."""
    study = planted_study(**card)  # type: ignore[arg-type]
    return StudyResult(study.card, (*study.records[:2], *(trial(*one) for one in trials)))


def test_a_study_is_as_good_as_itself() -> None:
    """Without a difference there is no doubt, the counterparts are the same configurations, and neither has more."""
    both = StudyComparison(STUDY, STUDY)
    assert both.doubts == () and both.one_reference
    for side in both.counterparts:
        assert [item.settings for item in side] == [()] * len(STUDY.front)
    assert [item.first.number for item in both.counterparts[0]] == [record.number for record in STUDY.front]
    assert both.dominance is not None and both.dominance.only == (0, 0) and both.dominance.both == 1
    assert {item.better for item in both.dominance.stretches} == {None}


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ({"host": replace(HOST, cpu="fast")}, "different hosts, cpu (2 cores) and fast (2)"),
        ({"host": replace(HOST, versions={"python": "3.12"})}, "other versions (python 3.11 and 3.12)"),
        ({"data_digest": "0"}, "on other data"),
        ({"weights_digest": "0"}, "trained otherwise"),
        ({"latency": "case"}, "one call in the first, one case in the second"),
        ({"primary": "other"}, "by other metrics"),
        ({"workload": "brain"}, "of two workloads"),
        ({"pipeline": {"scale": 1}}, "before and after the network"),
        ({"id": "1"}, "copies of one study"),
        ({"trials": 40}, "a longer search finds more"),
    ],
)
def test_what_makes_a_comparison_doubtful_is_said(card: dict[str, object], why: str) -> None:
    """Another host, other versions, data, weights and whatever else lets two studies differ are said in plain words."""
    (doubt,) = StudyComparison(planted_study(id="1"), planted_study(**card)).doubts  # type: ignore[arg-type]
    assert why in doubt


def test_another_reference_is_doubtful() -> None:
    """Studies with other references say so, and their latencies are no ratios over one."""
    records = tuple(record for record in STUDY.records if record.label != "torch f32")
    other = StudyResult(STUDY.card, records)
    both = StudyComparison(STUDY, other)
    assert "other references, torch f32 and openvino f32" in both.doubts[0] and not both.one_reference


def test_latencies_are_relative_where_the_reference_is_one() -> None:
    """On one host what it did meanwhile cancels; between hosts the latencies are taken as they are."""
    first, second = STUDY.front[0], trial(50, 0.02, 0.9)
    same = StudyComparison(STUDY, with_trials((50, 0.02, 0.9))).slower(first, second)
    assert same == uncertainty.slower(second.measured, first.measured, STUDY.sigma)
    measured = replace(second.measured, reference_latency_s=0.2)  # the host is half as fast
    slow = replace(second, measurement=measured)
    far = with_trials((50, 0.02, 0.9), host=replace(HOST, cpu="slow"))
    found = StudyComparison(STUDY, far).slower(first, slow)
    assert found is not None and same is not None
    assert math.isclose(found.ratio, 2 * same.ratio, rel_tol=0.02) and found.error == same.error
    assert StudyComparison(STUDY, with_trials(latency="case")).slower(first, second) is None


def test_which_study_is_better_where() -> None:
    """Over latency it is said who has a model at all, who is better, and where the patients tell no difference."""
    first = with_trials((50, 0.002, 0.91), (51, 0.02, 0.93))
    second = with_trials((60, 0.004, 0.92), (51, 0.02, 0.93))
    found = StudyComparison(first, second).dominance
    assert found is not None
    said = [
        (item.first and item.first.number, item.second and item.second.number, item.better) for item in found.stretches
    ]
    assert said == [(50, None, 0), (50, 60, 1), (51, 51, None)]
    ends = [(round(item.from_s, 3), round(item.to_s, 3)) for item in found.stretches]
    assert ends == [(0.002, 0.004), (0.004, 0.02), (0.02, math.inf)]
    assert all(share > 0.01 for share in found.only) and math.isclose(sum(found.only) + found.both, 1)
    wider = StudyComparison(first, with_trials((50, 0.002, 0.91), (60, 0.004, 0.92), (51, 0.02, 0.93))).dominance
    assert wider is not None and wider.only[0] == 0 < wider.only[1], "whoever has all of it and more is nowhere behind"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (planted_study(latency="case"), "what is timed differs"),
        (planted_study(primary="other"), "the metrics differ"),
        (planted_study(limits={"latency_s": 1e-6}), "study planted has no front"),
    ],
)
def test_where_neither_can_be_called_better_it_is_said_why(other: StudyResult, why: str) -> None:
    """Other metrics, another thing timed and an empty front leave no verdict, and a reason."""
    both = StudyComparison(STUDY, other)
    assert both.dominance is None and why in both.why_not


def test_the_nearest_configuration() -> None:
    """A step that is off counts more than a number that differs, and an equal configuration is the nearest."""
    base = {"runtime": {"name": "a", "threads": 2}, "quantize": {"scheme": "int8", "cases": 16}, "prune": None}
    near = {**base, "quantize": {"scheme": "int8", "cases": 24}}
    off, other = {**base, "quantize": None}, {**base, "runtime": {"name": "b", "threads": 2}}
    one, *others = (Configuration.of(sections) for sections in (base, near, off, other))
    assert [distance(one, item) for item in (one, *others)] == [0, pytest.approx(1 / 6), 1, 1]
    assert distance(one, Configuration.of({name: base[name] for name in ("runtime", "quantize")})) == 0
    member = STUDY.front[0]
    found = nearest(member, STUDY)
    assert found is not None and found.configuration == member.configuration
    assert nearest(member, StudyResult(STUDY.card, STUDY.records[7:8])) is None, "it failed"
