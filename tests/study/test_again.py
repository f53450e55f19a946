"""A study that is measured again: from what is stored, as a study of its own, with reasons for what goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.card import AGAIN
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.store import Store
from autoopt.errors import NothingFits
from autoopt.inference.runtimes import BASELINE_LABEL, REFERENCE_LABEL
from autoopt.study.again import MemberAgain, StudyAgain, measure_again
from autoopt.study.loop import search
from autoopt.study.request import SearchRequest, default_storage
from autoopt.study.result import StudyResult
from autoopt.study.storage import read_study, study_names
from tests import tiny
from tests.e2e.quick import LEAST
from tests.targets import HOST, RecordingTarget
from tests.worlds import card_of, measured, point, scored, space_of

SPACE = "runtime: {name: fake, precision: f32, threads: [1, 2], latency_ms: 1, error: [0.0, 0.02]}"


def searched(folder: Path) -> StudyResult:
    """A small search with the fake runtime, all points of its space."""
    pytest.importorskip("torch")
    space = folder / "space.yaml"
    space.write_text(SPACE)
    weights = tiny.weights(folder / "tiny.safetensors")
    asked = SearchRequest(tiny.SOURCE, weights=weights, space=str(space), home=folder / "home", budget=4)
    return search(asked, plan=LEAST).study


def test_a_front_is_measured_again_as_a_study_of_its_own(tmp_path: Path) -> None:
    """References and front, on the host that measures, from the stored artifacts; the first study stays as it is."""
    before, home = searched(tmp_path), tmp_path / "home"
    url, store = default_storage(home), Store(home / "store")
    models = {artifact.key for artifact in store.artifacts() if artifact.kind == "model"}
    found = measure_again(before, home, url, plan=LEAST, target=RecordingTarget(tmp_path / "target"))
    after = read_study(url, f"{before.card.name}-again")
    assert found.after.records == after.records and after.card.origin[AGAIN] == before.card.name
    assert after.card.host == HOST and {item.measured.host for item in after.records} == {HOST.fingerprint}
    wanted = [item for item in (before.reference, *before.front) if item is not None]
    assert {item.configuration for item in after.records} == {item.configuration for item in wanted}
    assert {item.artifacts[-1] for item in after.records} <= models
    assert {artifact.key for artifact in store.artifacts() if artifact.kind == "model"} == models
    assert after.reference is not None and all(item.quality and item.test for item in after.front)
    assert read_study(url, before.card.name).records == before.records
    assert [item.then.number for item in found.members] == [item.number for item in before.front]
    assert json.loads(json.dumps(found.to_json()))["again"] == after.card.name
    measure_again(before, home, url, plan=LEAST)
    assert study_names(url) == {before.card.name, after.card.name, f"{after.card.name}-2"}


def trial(number: int, latency_s: float, value: float, **changes: object) -> TrialRecord:
    """A trial of an invented study, whose configuration says its number."""
    made = TrialRecord(point(latency_ms=number), Status.COMPLETE, number, origin=AGAIN)
    made = replace(made, measurement=measured(latency_s, processes=3), quality=scored(value))
    return replace(made, **changes)  # type: ignore[arg-type]


def study_of(folder: Path, records: Sequence[TrialRecord]) -> StudyResult:
    seeds = (
        trial(0, 0.2, 0.9, origin="seed", label=REFERENCE_LABEL),
        trial(1, 0.1, 0.9, origin="seed", label=BASELINE_LABEL),
    )
    return StudyResult(card_of(space_of(folder)), (*seeds, *records))


def member(found: StudyAgain, number: int) -> MemberAgain:
    return next(item for item in found.members if item.then.number == number)


BEFORE = (trial(2, 0.010, 0.86), trial(3, 0.020, 0.87), trial(4, 0.030, 0.88), trial(5, 0.040, 0.89))


def test_members_go_for_a_reason(tmp_path: Path) -> None:
    """What fails, breaks a limit, is surely behind or was not reached goes and says why; the rest stays."""
    crash = Failure("unsupported", "look", "no such kernel")
    after = (
        trial(2, 0.010, 0.80),  # its drop is above the limit now
        replace(trial(3, 1, 1), status=Status.FAILED, measurement=None, quality=None, failure=crash),
        trial(4, 0.020, 0.88),
    )
    found = StudyAgain(study_of(tmp_path, BEFORE), study_of(tmp_path, after))
    reasons = {item.then.number: item.reasons for item in found.members}
    assert reasons[2] == ("it breaks drop <= 0.05",)
    assert reasons[3] == ("it failed (unsupported): no such kernel",)
    assert reasons[4] == ()
    assert reasons[5] == ("it was not measured again",)


def test_a_member_behind_another_one_goes_only_where_that_is_sure(tmp_path: Path) -> None:
    """Surely slower and no better is a reason; slower by less than the noise of processes is none."""
    for latency_s, reasons in ((0.060, ("#4 is surely faster here and no worse",)), (0.0202, ())):
        after = (*BEFORE[:2], trial(4, 0.020, 0.89), trial(5, latency_s, 0.89))
        found = StudyAgain(study_of(tmp_path, BEFORE), study_of(tmp_path, after))
        assert member(found, 5).reasons == reasons


def test_a_slower_host_is_told_apart_from_a_slower_member(tmp_path: Path) -> None:
    """A call is held against the reference beside it: a slowdown of one model shows, one of the whole host does not."""
    after = (*BEFORE[:2], trial(4, 0.090, 0.88), replace(BEFORE[3], measurement=measured(0.04, processes=3, slower=3)))
    found = StudyAgain(study_of(tmp_path, BEFORE), study_of(tmp_path, after))
    alone, whole = member(found, 4).slower, member(found, 5).slower
    assert alone is not None and alone.significant and alone.ratio == pytest.approx(3, rel=0.01)
    assert whole is not None and not whole.significant and whole.ratio == pytest.approx(1, rel=0.01)


def test_a_study_without_a_front_is_refused(tmp_path: Path) -> None:
    """There is nothing to measure again."""
    with pytest.raises(NothingFits, match="no front"):
        measure_again(StudyResult(card_of(space_of(tmp_path)), ()), tmp_path, default_storage(tmp_path))
