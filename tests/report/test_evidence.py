"""Evidence of a study whose artifacts were put into the store by hand: pictures, profiles, and what is missing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.core.store import KIND
from autoopt.inference.runtimes import REFERENCE_LABEL
from autoopt.report.evidence import NOT_ASKED, NOT_MADE, gather
from autoopt.report.evidence_cases import WORST_CASES, WorstCases
from autoopt.report.evidence_predictions import answered
from autoopt.report.evidence_profile import PROFILES, KeptProfile
from autoopt.study.prepare import Prepared, prepare
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from tests import tiny
from tests.worlds import REFERENCE_S, measured

ERROR = {0: 0.0, 1: 0.3}
"""Share of wrong pixels by trial: the reference and the only member of the front beside it."""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder, and so a measuring lock, of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyResult, Path]:
    """A study of two trials of the fake runtime, and its home folder."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("made")
    (folder / "space.yaml").write_text("description: d\nruntime:\n  name: fake\n  threads: 1\n")
    request = SearchRequest(
        workload=tiny.SOURCE,
        weights=tiny.weights(folder / "tiny.safetensors"),
        space=folder / "space.yaml",
        home=folder / "mlruns",
    )
    prepared = prepare(request)
    return StudyResult(
        replace(prepared.card, limits={}), tuple(record(number, prepared) for number in ERROR)
    ), folder / "mlruns"


def record(number: int, prepared: Prepared) -> TrialRecord:
    """A trial whose artifact is stored, and whose planted scores are worse the later the case."""

    def build(folder: Path) -> Mapping[str, Any]:
        layers = [{"name": "a", "type": "Conv", "kernel": "k", "precision": "f32", "seconds": 1e-3}]
        (folder / "fake.json").write_text(json.dumps({"classes": 2, "layers": layers}))
        return {}

    key = f"{number:064d}"
    prepared.store.put(KIND, key, {"number": number}, build)
    cases = [
        (case.id, case.group, 0.9 - number * index / 100) for index, case in enumerate(prepared.workload.splits.val)
    ]
    scores = tuple(CaseScore(name, group, {"dice_macro": value}) for name, group, value in cases)
    primary = prepared.workload.metrics[0]
    assert primary == "dice_macro"
    runtime = {"name": "fake", "precision": "f32", "threads": 1, "latency_ms": 0.1, "error": ERROR[number]}
    return TrialRecord(
        Configuration.of({"runtime": {**runtime, "failure": None}}),
        Status.COMPLETE,
        number,
        origin="seed" if number == 0 else "model",
        label=REFERENCE_LABEL if number == 0 else "",
        artifacts=(key,),
        measurement=measured(REFERENCE_S / (1 + number), processes=2),
        quality=Quality("val", primary, "mean", {primary: float(np.mean([c[2] for c in cases]))}, scores),
    )


@pytest.fixture
def world(made: tuple[StudyResult, Path], tmp_path: Path) -> tuple[StudyResult, Path]:
    """The study and a copy of its home folder."""
    return made[0], shutil.copytree(made[1], tmp_path / "home")


def worst_of(evidence: Mapping[str, Any]) -> WorstCases:
    found = evidence[WORST_CASES]
    assert isinstance(found, WorstCases), found
    return found


def test_the_worst_cases_are_answered_again_once(world: tuple[StudyResult, Path]) -> None:
    """The cases that lose most are shown with pictures that differ; a second report reads what the first one kept."""
    result, home = world
    stages: list[str] = []
    found = worst_of(gather(result, home, images=True, on_stage=stages.append))
    assert (found.number, found.reference, stages) == (1, 0, ["predict"])
    assert result.reference is not None and result.reference.quality is not None
    assert [row.id for row in found.rows] == [case.id for case in result.reference.quality.cases][::-1]
    for row in found.rows:
        _, reference, source, chosen, difference = row.pictures
        assert reference.data == source.data != chosen.data and difference.words.endswith("% of the pixels")
    assert worst_of(gather(result, home, images=True, on_stage=stages.append)) == found
    assert stages == ["predict"]


def test_patients_are_shown_only_when_asked(world: tuple[StudyResult, Path]) -> None:
    """Without `images` there is no picture of a patient, also where one is kept; demo data are always shown."""
    result, home = world
    gather(result, home, images=True)
    assert gather(result, home, images=False)[WORST_CASES] == NOT_ASKED
    demo = replace(result, card=replace(result.card, demo=True))
    assert gather(demo, home, images=False)[WORST_CASES] != NOT_ASKED


def test_pictures_that_nobody_waits_for_are_not_made(world: tuple[StudyResult, Path]) -> None:
    """Without time to wait only pictures that are kept are shown, and what makes them is said."""
    result, home = world
    assert gather(result, home, images=True, wait_s=None)[WORST_CASES] == NOT_MADE
    found = worst_of(gather(result, home, images=True))
    assert worst_of(gather(result, home, images=True, wait_s=None)) == found


def test_what_is_missing_is_said(world: tuple[StudyResult, Path]) -> None:
    """Lost artifacts, changed data and a runtime that fails are sentences of the report, not its end."""
    result, home = world
    changed = replace(result, card=replace(result.card, data_digest="other"))
    assert "changed since study" in gather(changed, home, images=True)[WORST_CASES]
    failing = replace(
        result.records[1], configuration=Configuration.of({"runtime": {"name": "fake", "failure": "raise"}})
    )
    assert (
        "could not be made"
        in gather(replace(result, records=(result.records[0], failing)), home, images=True)[WORST_CASES]
    )
    shutil.rmtree(home / "store" / KIND / result.records[1].artifacts[-1])
    told = gather(result, home, images=True, profile=False)[WORST_CASES]
    assert told.startswith(
        "Pictures of the worst cases of #1 could not be made: the files of trial #1 are no longer in"
    )


def test_a_profile_is_taken_when_asked(world: tuple[StudyResult, Path]) -> None:
    """The chosen member is profiled only with `profile`, and then kept for reports without it."""
    result, home = world
    assert gather(result, home, images=False)[PROFILES] == {}
    taken = gather(result, home, images=False, profile=True)[PROFILES]
    assert isinstance(taken[1], KeptProfile) and [side.number for side in taken[1].sides] == [1, 0]
    assert gather(result, home, images=False)[PROFILES] == taken
    gone = replace(result, records=(result.records[0], replace(result.records[1], artifacts=("0" * 64,))))
    changed = replace(gone, card=replace(gone.card, data_digest="other"))
    assert gather(changed, home, images=False, profile=True)[PROFILES].startswith("It could not be profiled: the data")


def test_answers_are_those_of_the_trials(world: tuple[StudyResult, Path]) -> None:
    """Each answer is that of its own artifact and settings for the case that was asked for."""
    result, home = world
    assert result.reference is not None
    name = result.reference.quality.cases[1].id if result.reference.quality is not None else ""
    found = answered(result, result.reference, result.records[1], [name], home)
    (case,) = found.cases
    assert case.id == name and np.array_equal(case.source, case.image[..., 0] > 0)
    assert 0.1 < np.mean(case.source != case.chosen) < 0.5 and found.labels == ("background", "foreground")
