"""The fronts of earlier studies come first in another search: what fits, what does not, and what that is told as."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.records import Status, TrialRecord
from autoopt.core.urls import sqlite_url
from autoopt.errors import UsageError
from autoopt.study.proposals import Proposal, Proposals
from autoopt.study.result import StudyResult
from autoopt.study.space import Space
from autoopt.study.study import open_study
from autoopt.study.warm_start import earlier_studies, first_points
from tests.worlds import HOST, card_of, measured, point, scored, space_of

QUANTIZED = Configuration.of({"runtime": point().runtime, "quantize": {"scheme": "int8"}})


def trial(configuration: Configuration, latency_s: float, quality: float) -> TrialRecord:
    return TrialRecord(configuration, Status.COMPLETE, measurement=measured(latency_s), quality=scored(quality))


def study_with(space: Space, *records: TrialRecord, **card: object) -> StudyResult:
    numbered = tuple(record.with_number(number) for number, record in enumerate(records))
    return StudyResult(card_of(space, limits={}, **card), numbered)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return space_of(tmp_path)


def test_the_front_comes_right_after_the_seeds(space: Space) -> None:
    """Members of an earlier front are tried before the sampler is asked, none twice, the dominated ones not."""
    slow, fast, behind = point(latency_ms=30, error=0.01), point(latency_ms=20, error=0.1), point(latency_ms=60)
    study = study_with(space, trial(slow, 0.03, 0.9), trial(fast, 0.02, 0.8), trial(behind, 0.06, 0.8))
    remarks: list[str] = []
    proposals = Proposals(space, 2, 0, 0, "random")
    proposals.start_with(first_points(space, [study, study], on_remark=remarks.append))
    found: list[Proposal] = []
    for proposal in proposals.until(5):
        found.append(proposal)
        proposals.tell(proposal.configuration, proposal.raw, [0.1, -0.9], {})
    assert [item.origin for item in found] == ["seed", "warm-start", "warm-start", "random", "random"]
    assert {item.configuration.flat()["runtime.latency_ms"] for item in found[1:3]} == {20, 30}
    assert behind not in [item.configuration for item in found[1:3]]
    assert remarks == [], "all of it fits"


@pytest.mark.parametrize("settings", [{"threads": 64}, {"threads": 2}])
def test_another_number_of_threads_becomes_the_nearest(space: Space, settings: dict[str, Scalar]) -> None:
    """A front of a host with more cores fits: its threads are as many as there are here."""
    study = study_with(space, trial(point(**settings), 0.01, 0.9))
    ((raw, configuration),) = first_points(space, [study], on_remark=pytest.fail)
    assert configuration == space.canonical(raw) and configuration.runtime.threads == 2


def test_what_does_not_fit_is_said_in_a_sentence(space: Space) -> None:
    """Values and steps that this space lacks are named, of each study once; a study without a front says so."""
    study = study_with(space, trial(point(latency_ms=15), 0.01, 0.8), trial(QUANTIZED, 0.02, 0.85))
    remarks: list[str] = []
    assert first_points(space, [study, study_with(space, name="empty")], on_remark=remarks.append) == ()
    assert len(remarks) == 2
    assert "2 of 2 members of the front of study s are no points of this space" in remarks[0]
    assert "runtime.latency_ms 15" in remarks[0] and "quantize.scheme int8" in remarks[0]
    assert "study empty has no front" in remarks[1]


def test_studies_are_found_here_and_in_other_homes(space: Space, tmp_path: Path) -> None:
    """STUDY is of this storage, HOME/STUDY of another folder; those of the same network and host come first."""
    other = card_of(space, name="far", workload="else", host=replace(HOST, cores=8))
    (tmp_path / "home").mkdir()
    for home, card in ((tmp_path, other), (tmp_path / "home", card_of(space, name="near"))):
        with open_study(sqlite_url(home / "study.db"), card, space):
            pass
    names = ["far", f"{tmp_path}/home/near", "far"]
    found = earlier_studies(names, sqlite_url(tmp_path / "study.db"), card_of(space))
    assert [study.card.name for study in found] == ["near", "far"]


def test_a_study_that_does_not_exist_is_one_clear_error(space: Space, tmp_path: Path) -> None:
    """Every name that leads nowhere is told at once, with what is there, and exit code 2; no file is made."""
    with open_study(sqlite_url(tmp_path / "study.db"), card_of(space, name="known"), space):
        pass
    with pytest.raises(UsageError) as caught:
        earlier_studies(["kown", "nowhere/s", "x/"], sqlite_url(tmp_path / "study.db"), card_of(space))
    first, second, third = caught.value.problems
    assert "--warm-start must name a stored study" in first and "'kown'" in first and "there: known" in first
    assert "nowhere/s" in second and "a name must follow" in third
    assert caught.value.exit_code == 2 and not Path("nowhere").exists()
