"""Writing what was picked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.scores import CaseScore, Quality
from autoopt.core.store import Store
from autoopt.deploy.check import check
from autoopt.deploy.layout import CARD as CARD_FILE
from autoopt.deploy.model_card import model_card
from autoopt.deploy.pick import Choice, choose
from autoopt.deploy.predictor import load
from autoopt.deploy.pull import facts, pull
from autoopt.errors import BundleError, StorageError
from autoopt.study.result import StudyResult
from tests import tiny
from tests.deploy.bundles import QUICK
from tests.deploy.studies import HOST, STUDY

GOLDEN = Path(__file__).parents[1] / "golden" / "bundle-1"


def test_pull_writes_a_bundle_that_runs(tmp_path: Path, store: Store) -> None:
    """The bundle predicts and names its study, trial, numbers, host and digests, but no path of this machine."""
    choice = choose(STUDY)
    folder = pull(STUDY, choice, store, tmp_path / "deploy", plan=QUICK)
    with load(folder, stand_ins=True) as predictor:
        image = np.random.default_rng(0).normal(size=(20, 20, 3)).astype(np.float32)
        assert np.array_equal(predictor.predict(image), image[..., 0] > 0)
        info = predictor.info

    assert (info["study"], info["trial"], info["demo"], info["labels"]) == ("s", 2, True, ["background", "foreground"])
    assert info["numbers"] == pytest.approx(STUDY.headline(choice.record))
    assert info["host"]["fingerprint"] == HOST.fingerprint
    assert info["host"]["cpu"] == "a cpu"
    assert info["versions"]["numpy"] == "2.4"
    digests = {
        "weights": "w" * 64,
        "data": "d" * 64,
        "artifact": "key2",
        "configuration": choice.record.configuration.digest,
    }
    assert info["digests"] == digests
    assert info["doubts"] == ["few samples"]
    assert info["choice"]["explanation"] == choice.explanation
    assert "/home/me" not in (folder / CARD_FILE).read_text()


def test_how_the_search_read_files_is_in_the_bundle(tmp_path: Path, store: Store) -> None:
    """A bundle keeps how the search read its images, for later files; None where the study does not say it."""
    told = {"colours": True, "value_range": 255.0, "files": 1}
    study = replace(STUDY, card=replace(STUDY.card, origin={**STUDY.card.origin, "reading": told}))
    for searched, reading in ((study, told), (STUDY, None)):
        with load(pull(searched, choose(searched), store, tmp_path / "deploy"), stand_ins=True) as predictor:
            assert predictor.info["reading"] == reading


@pytest.mark.parametrize("left_out", ["", "they were trained for 3 of 40 steps, the time was up"])
def test_weights_that_were_trained_in_part_are_told(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture, left_out: str
) -> None:
    """bundle.json, README.txt and whoever loads the bundle say what was left out of the training, if anything was."""
    study = replace(STUDY, card=replace(STUDY.card, origin={**STUDY.card.origin, "left_out": left_out}))
    folder = pull(study, choose(study), store, tmp_path / "deploy", plan=QUICK)
    with load(folder, stand_ins=True) as predictor:
        remark = predictor.info["weights_remark"]
    assert bool(remark) == bool(left_out) and left_out in remark
    assert (left_out in (folder / "README.txt").read_text()) and "None" not in (folder / "README.txt").read_text()
    said = [item.getMessage() for item in caplog.records if "not what the bundle was measured with" not in item.msg]
    assert said == ([f"{folder}: {remark}"] if left_out else [])


def test_the_card_has_the_keys_of_the_golden_bundle() -> None:
    """What reads bundle.json elsewhere finds every key that a bundle was first written with, but for one renamed."""
    golden = json.loads((GOLDEN / CARD_FILE).read_text())
    golden["numbers"]["front_probability"] = golden["numbers"].pop("front_chance")
    written = facts(STUDY, choose(STUDY))
    missing = set(golden) - set(written) - {"schema", "format", "runtime", "pipeline", "labels", "files"}
    inside = {
        key
        for key in ("choice", "digests", "host", "quality", "versions", "numbers")
        if not set(golden[key]) <= set(written[key])
    }

    assert not missing
    assert not inside


def test_a_pulled_bundle_tests_itself(tmp_path: Path, store: Store) -> None:
    """What `pull` writes passes its own check; without a self-test the check says what is not known."""
    folder = pull(STUDY, choose(STUDY), store, tmp_path / "deploy", plan=QUICK)
    bare = pull(STUDY, choose(STUDY), store, tmp_path / "bare", self_test=False)

    tested, untested = (check(item, timed=False, stand_ins=True) for item in (folder, bare))
    assert tested.passed and untested.passed
    assert [item.about for item in untested.findings if item.about == "self-test"] == ["self-test"]
    assert not [item for item in tested.findings if item.about == "self-test"]


def test_a_trial_that_does_not_run_here_is_named(tmp_path: Path, store: Store) -> None:
    """Where the chosen trial cannot be run nothing is written, and the message says what to do."""
    choice = choose(STUDY)
    sections = choice.record.configuration.sections()
    failing = Configuration.of({"runtime": {**(sections["runtime"] or {}), "failure": "segfault"}})
    choice = replace(choice, record=replace(choice.record, configuration=failing))

    with pytest.raises(BundleError, match=r"trial #2 must run on this host .* or with --no-self-test"):
        pull(STUDY, choice, store, tmp_path / "deploy", plan=QUICK)
    assert not (tmp_path / "deploy").exists()


def confirmed(patients: int) -> tuple[StudyResult, Choice]:
    """The study with so many patients in val and test, from two sites, of which the second has two patients only."""

    def scored(split: str, offset: float) -> Quality:
        cases = tuple(
            CaseScore(f"{split}-{index}", f"p{index}", {"dice_macro": 0.9 - offset - 0.01 * index}, {"site": site})
            for index in range(patients)
            for site in ["north" if index < patients - 2 else "south"]
        )
        mean = float(np.mean([case.scores["dice_macro"] for case in cases]))
        return Quality(split, "dice_macro", "mean over patients", {"dice_macro": mean}, cases)

    records = tuple(
        replace(item, quality=scored("val", 0.001 * number), test=scored("test", 0.002 * number))
        for number, item in enumerate(STUDY.records[:3])
    )
    study = replace(STUDY, records=records)
    return study, choose(study, pick="fastest")


def test_subgroups_are_told_without_telling_of_a_few() -> None:
    """A subgroup is told with its patients, metric and drop; one of so few patients that they may be known is not."""
    told = facts(*confirmed(9))["subgroups"]

    assert set(told) == {"val", "test"}
    assert set(told["val"]["site"]) == {"north"}
    assert told["val"]["site"]["north"] == {"groups": 7, "metric": pytest.approx(0.868), "drop": pytest.approx(0.002)}
    assert facts(*confirmed(6))["subgroups"] == {"val": {}, "test": {}}


def test_the_model_card_has_the_numbers_of_the_study(tmp_path: Path, store: Store) -> None:
    """MODEL_CARD.md warns of demo data first, and has metrics and drops with their intervals on val and test."""
    study, choice = confirmed(9)
    folder = pull(study, choice, store, tmp_path / "deploy", plan=QUICK)
    text, numbers = (folder / "MODEL_CARD.md").read_text(), study.headline(choice.record)

    assert text.startswith("**DEMO: made from synthetic data. Not for patients.**")
    for split in ("", "test_"):
        value, low, high = (numbers[f"{split}dice_macro{end}"] for end in ("", "_low", "_high"))
        assert f"{value:.4f} (95 % interval {low:.4f} to {high:.4f})" in text
        assert f"{numbers[split + 'drop']:+.4f}" in text and f"{numbers[split + 'drop_upper']:+.4f}" in text
    for words in ("| val | site north | 7 |", "a cpu, 2 cores, Linux", "limits that held: drop <= 0.05", "torch f32"):
        assert words in text
    assert "val: 9 cases, of 9 patients or groups" in text and "few samples" in text
    assert "flatter" not in text  # it was scored on test


def test_a_model_card_says_what_is_not_known() -> None:
    """Of a bundle that tells little the card says so, and invents nothing."""
    text = model_card(
        {
            "workload": "tiny",
            "demo": False,
            "runtime": {"name": "fake"},
            "pipeline": tiny.PIPELINE.to_json(),
            "labels": ["a", "b"],
            "files": {},
        }
    )
    assert not text.startswith("**DEMO")
    assert "trial not known of the study not known" in text
    assert "- the test split: it was chosen by val" in text
    assert "limits that held: not known" in text
    assert "any real image" not in text


def test_pull_refuses_what_is_gone_or_altered(tmp_path: Path, store: Store) -> None:
    """An artifact that is not in the store any more, or was altered there, is named, and nothing is written."""
    with pytest.raises(BundleError, match="autoopt replay s/1"):
        pull(STUDY, choose(STUDY, pick="best-quality"), store, tmp_path / "deploy", plan=QUICK)
    (tmp_path / "store" / "model" / "key2" / "fake.json").write_text('{"classes": 9}')
    with pytest.raises(StorageError, match=r"fake\.json was altered"):
        pull(STUDY, choose(STUDY), store, tmp_path / "deploy", plan=QUICK)

    assert not (tmp_path / "deploy").exists()
