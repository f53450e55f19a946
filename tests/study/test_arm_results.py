"""Where the arms of a study stand beside its front."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.records import ARM, TrialRecord
from autoopt.study.arm_results import ArmStatus, arm_results
from autoopt.study.proposals import Proposal
from autoopt.study.result import StudyResult
from autoopt.study.space import load_space, named_arms
from autoopt.study.storage import read_study
from autoopt.study.study import open_study
from tests.report.page.planted import planted_study, trial
from tests.study.test_result import HOST

STUDY = planted_study(12)
BY_NUMBER = {record.number: record for record in STUDY.records}


def with_arms(*extra: TrialRecord, **numbers: int) -> StudyResult:
    """The planted study in which trials have these names, and `extra` ones."""
    named = {name: BY_NUMBER[number].configuration.digest for name, number in numbers.items()}
    named |= {record.label: record.configuration.digest for record in extra}
    return replace(STUDY, card=replace(STUDY.card, arms=named), records=(*STUDY.records, *extra))


def test_each_arm_is_told_by_its_trial() -> None:
    """A seed, a member, one beyond a limit, a failed one and one that was not tried, each by its name, in order."""
    study = with_arms(plain=0, best=4, too_bad=6, crashed=7)
    study = replace(study, card=replace(study.card, arms={**study.card.arms, "later": "0" * 64}))
    found = {arm.name: (arm.status, arm.record and arm.record.number) for arm in arm_results(study)}
    assert list(found.items()) == [
        ("plain", (ArmStatus.DOMINATED, 0)),
        ("best", (ArmStatus.ON_FRONT, 4)),
        ("too_bad", (ArmStatus.BREAKS_LIMIT, 6)),
        ("crashed", (ArmStatus.FAILED, 7)),
        ("later", (ArmStatus.NOT_TRIED, None)),
    ]


def test_noise_is_no_domination() -> None:
    """What a member is ahead of by less than noise is tied with it; by more, it says by how much."""
    near = trial(40, 0.01202, 0.9279, origin=ARM, label="near")
    far = trial(41, 0.024, 0.925, origin=ARM, label="far")
    first, second = arm_results(with_arms(near, far))
    assert (first.status, first.by and first.by.number) == (ArmStatus.TIED, 2)
    assert (second.status, second.by and second.by.number) == (ArmStatus.DOMINATED, 2)
    assert second.slower is not None and second.slower.ratio == pytest.approx(2.0, rel=0.02)
    assert second.lost is not None and second.lost.value == pytest.approx(0.003, abs=0.001)


def test_an_exact_objective_tells_two_apart() -> None:
    """Of two that latency and quality do not tell apart, the larger file is dominated where size is an objective."""
    near = trial(40, 0.01202, 0.9279, origin=ARM, label="near")
    study = with_arms(near)
    assert arm_results(study)[0].status is ArmStatus.TIED
    sized = replace(study, card=replace(study.card, objectives=("latency", "quality", "size")))
    assert arm_results(sized)[0].status is ArmStatus.DOMINATED


def test_an_arm_that_runs_an_earlier_trial_stands_where_that_does() -> None:
    """The same files with the same settings under two configurations are one trial."""
    same = trial(40, 0.0119, 0.928, origin=ARM, label="same")
    content = replace(same.measured, content=BY_NUMBER[2].measured.content)
    found = arm_results(with_arms(replace(same, measurement=content, configuration=trial(2, 1, 1).configuration)))
    assert found[0].status is ArmStatus.ON_FRONT and found[0].record is not None and found[0].record.number == 2


def test_a_study_of_before_knows_its_arms_by_their_trials() -> None:
    """Where the card names none, the trials that were proposed as arms are the arms."""
    arm = trial(40, 0.024, 0.925, origin=ARM, label="far")
    study = replace(STUDY, records=(*STUDY.records, arm))
    assert [(item.name, item.status) for item in arm_results(study)] == [("far", ArmStatus.DOMINATED)]
    assert arm_results(STUDY) == ()


def test_arms_are_stored_and_more_of_them_are_added(tmp_path: Path) -> None:
    """A study knows the arms of all files that it was continued with; trials that are measured again add none."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    names: dict[str, str] = {}
    for name in ("one", "two"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"runtime: {{name: fake, threads: [1, 2]}}\narms: {{{name}: {{runtime: {{name: fake}}}}}}\n")
        space = load_space(file, HOST)
        names |= named_arms(space)
        with open_study(url, replace(STUDY.card, space=space.text), space) as study:
            assert dict(study.card.arms) == names
        given = [Proposal(BY_NUMBER[0].configuration, None, "seed")]
        with open_study(url, replace(STUDY.card, name="again", space=space.text), space, given=given) as study:
            assert not study.card.arms
    assert list(read_study(url, "planted").card.arms) == ["one", "two"]
