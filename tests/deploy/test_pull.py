"""Writing what was picked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.store import Store
from autoopt.deploy.layout import CARD as CARD_FILE
from autoopt.deploy.pick import choose
from autoopt.deploy.predictor import load
from autoopt.deploy.pull import facts, pull
from autoopt.errors import BundleError, StorageError
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


def test_pull_refuses_what_is_gone_or_altered(tmp_path: Path, store: Store) -> None:
    """An artifact that is not in the store any more, or was altered there, is named, and nothing is written."""
    with pytest.raises(BundleError, match="autoopt replay s/1"):
        pull(STUDY, choose(STUDY, pick="best-quality"), store, tmp_path / "deploy", plan=QUICK)
    (tmp_path / "store" / "model" / "key2" / "fake.json").write_text('{"classes": 9}')
    with pytest.raises(StorageError, match=r"fake\.json was altered"):
        pull(STUDY, choose(STUDY), store, tmp_path / "deploy", plan=QUICK)

    assert not (tmp_path / "deploy").exists()
