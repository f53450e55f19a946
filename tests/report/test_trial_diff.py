"""Two trials held against each other."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.core.urls import sqlite_url
from autoopt.errors import StorageError, UsageError
from autoopt.report.trial_diff import Setting, Side, read_trials, settings_between, trial_diff
from autoopt.study import uncertainty
from autoopt.study.named import named_study
from autoopt.study.result import StudyResult
from autoopt.study.storage import open_storage
from tests.report.page.planted import planted_study, trial
from tests.worlds import HOST, space_of

STUDY = planted_study()


def side(number: int, study: StudyResult = STUDY) -> Side:
    record = study.by_number(number)
    assert record is not None
    return Side(study, record)


def of_scores(number: int, *scores: float | None, errors: tuple[str, ...] = ()) -> TrialRecord:
    """A trial whose cases, each of its own patient, have these scores."""
    cases = tuple(CaseScore(f"c{place}", f"p{place}", {"dice_macro": score}) for place, score in enumerate(scores))
    known = [score for score in scores if score is not None]
    value = {"dice_macro": sum(known) / len(known)}
    return trial(number, 0.01, 0.9, quality=Quality("val", "dice_macro", "mean", value, cases, errors=errors))


def stored(folder: Path, study: StudyResult) -> StudyResult:
    """The study in the storage of a home folder."""
    folder.mkdir(exist_ok=True)
    space = space_of(folder)
    with open_storage(sqlite_url(folder / "study.db"), study.card, space) as storage:
        for record in study.records:
            storage.add(record, next(space.points(1))[0], None, {})
    return study


def test_the_ratio_is_that_of_the_study_and_the_drop_is_paired() -> None:
    """What is told of two trials of a study is what the study knows: latency with all its noise, quality by patient."""
    found = trial_diff(side(1), side(4))
    one, other = found.before.record, found.after.record
    assert one.quality is not None and other.quality is not None
    assert found.latency == uncertainty.slower(other.measured, one.measured, STUDY.sigma)
    assert math.isclose(found.latency.ratio, 0.006 / 0.05, rel_tol=0.01)
    assert found.drop == uncertainty.drop(one.quality, other.quality) and found.drop is not None
    assert found.drop.groups == 6 and math.isclose(found.drop.value, 0.008, abs_tol=1e-3)
    assert found.test_drop is None, "#1 was not scored on test"
    tested = trial_diff(side(0), side(4))
    assert tested.test_drop is not None and math.isclose(tested.test_drop.value, 0.01, abs_tol=1e-3)


def test_cases_are_paired_by_name_and_the_worst_come_first() -> None:
    """Better, worse, equal and undefined cases are counted; five at most that lost are told, the largest loss first."""
    before = of_scores(20, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, None)
    after = of_scores(21, 0.8, 0.7, 0.89, 0.6, 0.88, 0.85, 0.95, 0.9, 0.5)
    cases = after.quality.cases if after.quality else ()
    after = replace(after, quality=replace(after.quality, cases=cases[::-1]))  # type: ignore[type-var]
    found = trial_diff(Side(STUDY, before), Side(STUDY, after))
    assert found.tally == {"better": 1, "worse": 6, "equal": 1, "undefined": 1}
    assert [case.id for case in found.worst] == ["c3", "c1", "c0", "c5", "c4"]
    errors = ("dice_macro",)
    turned = [of_scores(20, 0.2, 0.2, errors=errors), of_scores(21, 0.1, 0.4, errors=errors)]
    found = trial_diff(Side(STUDY, turned[0]), Side(STUDY, turned[1]))
    assert [case.id for case in found.worst] == ["c1"], "of an error more is worse"
    assert found.drop is not None and math.isclose(found.drop.value, 0.05)


def test_settings_are_told_where_they_differ() -> None:
    """A setting that differs is told with both values; a step that is off in one of them is one line."""
    before = Configuration.of({"runtime": {"name": "a", "threads": 1}, "quantize": None, "prune": {"ratio": 0.5}})
    after = Configuration.of({"runtime": {"name": "a", "threads": 2}, "quantize": {"scheme": "int8"}})
    assert list(settings_between(before, after)) == [
        Setting("prune", "ratio 0.5", "off"),
        Setting("quantize", "off", "scheme int8"),
        Setting("runtime.threads", 1, 2),
    ]
    assert list(settings_between(before, before)) == []
    other = replace(side(2).record, measurement=replace(side(2).record.measured, effective={"threads": 1}))
    found = trial_diff(side(1), Side(STUDY, other)).effective
    assert found[:2] == (Setting("precision", "f32", None), Setting("threads", 2, 1))


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ({"host": replace(HOST, cores=8)}, "different hosts"),
        ({"latency": "case"}, "one call there, one case here"),
        ({"name": "other"}, "of two studies"),
    ],
)
def test_a_ratio_that_cannot_be_told_says_why(card: dict[str, object], why: str) -> None:
    """Latencies of other hosts, of another thing or of another study have no ratio; the quality is compared anyway."""
    found = trial_diff(side(1), side(4, planted_study(**card)))  # type: ignore[arg-type]
    assert found.latency is None and why in found.no_latency and found.drop is not None


def test_trials_that_ran_the_same_have_no_ratio() -> None:
    """Where both ran the same files with the same settings the difference is noise, and that is said."""
    first, again = trial(20, 0.01, 0.9), trial(21, 0.02, 0.9)
    again = replace(first, number=21, measurement=replace(again.measured, content=first.measured.content))
    study = StudyResult(STUDY.card, (*STUDY.records[:2], first, again))
    assert "the same files" in trial_diff(side(20, study), side(21, study)).no_latency


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (side(1), side(7), "#7 of study planted failed in measure: the worker died"),
        (side(1), side(1), "two different trials"),
        (side(1), side(2, planted_study(data_digest="0")), "on the same data"),
        (side(1), side(2, planted_study(primary="other")), "by the same metric"),
        (side(1), side(2, planted_study(own_metrics={"dice_macro": "new"})), "scored otherwise"),
    ],
)
def test_what_cannot_be_compared_is_refused(before: Side, after: Side, why: str) -> None:
    """A failed trial, one trial twice, other data and another metric are refused in one sentence."""
    with pytest.raises(UsageError, match=why) as caught:
        trial_diff(before, after)
    assert len(caught.value.problems) == 1


def test_trials_are_found_in_this_and_other_homes(tmp_path: Path) -> None:
    """A mere number is of the study that the other one names; HOME/STUDY/NUMBER is of another folder."""
    stored(tmp_path, planted_study(12))
    stored(tmp_path, planted_study(12, name="later"))
    stored(tmp_path / "far", planted_study(12, name="far"))
    names = [("planted/1", "11"), ("1", "planted/11"), ("later/1", "planted/11")]
    found = [read_trials(one, other, home=tmp_path) for one, other in names]
    studies = [(item.before.study.card.name, item.after.study.card.name) for item in found]
    assert studies == [("planted", "planted"), ("planted", "planted"), ("later", "planted")]
    found = [read_trials(f"{tmp_path}/far/far/4", "2", home=tmp_path, study="later")]
    assert [found[0].before.study.card.name, found[0].after.study.card.name] == ["far", "later"]
    with pytest.raises(StorageError, match="has no trial 12: its trials are 0 to 11"):
        read_trials("later/12", "later/1", home=tmp_path)
    with pytest.raises(StorageError, match="must follow the home folder"):
        named_study(f"{tmp_path}/", sqlite_url(tmp_path / "study.db"))
