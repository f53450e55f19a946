"""Picking from a front by policy and limits, and writing what was picked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.core.store import Store
from autoopt.deploy import bundle
from autoopt.deploy import pick as deploy
from autoopt.errors import BundleError, NothingFits, StorageError, UsageError
from autoopt.study.result import StudyResult
from tests import tiny

HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {"numpy": "2.4"})
CARD = StudyCard(
    "s",
    "tiny",
    True,
    "dice_macro",
    "d" * 64,
    "w" * 64,
    "{}",
    ("latency", "quality"),
    0,
    HOST,
    {"drop": 0.05},
    ("background", "foreground"),
    tiny.PIPELINE.to_json(),
    {"source": "/home/me/tiny.py:workload", "data": None, "weights": "/home/me/w"},
)


def record(number: int, latency_s: float, quality: float, size: int = 4_000_000, **changes: Any) -> TrialRecord:
    measurement = Measurement(
        (((latency_s,) * 4,),),
        ((),),
        (latency_s,),
        0.1,
        0.2,
        10**8,
        size,
        {"precision": "f32"},
        HOST.fingerprint,
        doubts=("few samples",),
    )
    cases = (CaseScore("c", "g", {"dice_macro": quality}),)
    made = TrialRecord(
        Configuration.of({"runtime": {"name": "fake", "threads": 1, "latency_ms": 0.0, "number": number}}),
        Status.COMPLETE,
        number,
        artifacts=("source", f"key{number}"),
        measurement=measurement,
        quality=Quality("val", "dice_macro", "mean", {"dice_macro": quality}, cases),
    )
    return replace(made, **changes)


FAILED = replace(
    record(9, 1.0, 1.0),
    status=Status.FAILED,
    measurement=None,
    quality=None,
    failure=Failure("crash", "measure", "died"),
)
STUDY = StudyResult(
    CARD,
    (
        record(0, 0.100, 0.900, 9_000_000, origin="seed", label="torch f32"),
        record(1, 0.050, 0.900, 8_000_000, origin="seed", label="openvino f32"),
        record(2, 0.010, 0.895, 2_000_000),  # the knee
        record(3, 0.009, 0.870, 2_500_000),
        record(4, 0.002, 0.700, 1_000_000),  # drop of 0.2: outside the study's own limit
        FAILED,
    ),
)


@pytest.mark.parametrize(
    ("arguments", "number", "pick"),
    [
        ({"pick": "fastest"}, 3, "fastest"),
        ({"pick": "best-quality"}, 1, "best-quality"),
        ({"pick": "balanced"}, 2, "balanced"),
        ({"pick": "smallest"}, 2, "smallest"),
        ({}, 2, "balanced"),
        ({"max_drop": 0.04}, 3, "fastest"),
        ({"max_drop": 0.01}, 2, "fastest"),
        ({"max_latency_s": 0.020}, 2, "best-quality"),
        ({"max_latency_s": 0.060, "max_drop": 0.04}, 2, "balanced"),
        ({"max_drop": 0.3}, 4, "fastest"),
        ({"max_drop": 0.3, "pick": "smallest"}, 4, "smallest"),
    ],
)
def test_policies(arguments: dict[str, Any], number: int, pick: str) -> None:
    """Each policy picks its member; without one, what was not limited is optimised; limits replace the study's."""
    choice = deploy.choose(STUDY, **arguments)

    assert (choice.record.number, choice.pick) == (number, pick)
    assert f"picked trial #{number}" in choice.explanation
    assert f"by policy {pick}" in choice.explanation


def test_the_explanation_says_why() -> None:
    """The explanation names policy, limits, how many members there were and the numbers, and labels demo data."""
    text = deploy.choose(STUDY, max_latency_s=0.020).explanation

    for words in (
        "of the 2 members of the front of s (tiny (demo data))",
        "drop <= 0.05 and p25 latency <= 20 ms",
        "it has the best dice_macro",
        "p25 10 ms",
        "10.00x PyTorch f32",
        "5.00x OpenVINO f32",
        "drop +0.0050",
    ):
        assert words in text


def test_ties_have_one_outcome() -> None:
    """Of equals the smaller files win, then the earlier trial."""
    duplicates = StudyResult(CARD, (record(3, 0.01, 0.9), record(1, 0.01, 0.9), record(2, 0.01, 0.9, 3_000_000)))

    assert {pick: deploy.choose(duplicates, pick=pick).record.number for pick in deploy.PICKS} == dict.fromkeys(
        deploy.PICKS, 2
    )
    assert deploy.choose(StudyResult(CARD, duplicates.records[:2]), pick="fastest").record.number == 1


@given(st.permutations(STUDY.records), st.sampled_from(deploy.PICKS))
def test_the_order_of_trials_does_not_matter(records: list[TrialRecord], pick: str) -> None:
    """The same trials in another order give the same pick, and it is on the front."""
    choice = deploy.choose(StudyResult(CARD, tuple(records)), pick=pick)

    assert choice.record == deploy.choose(STUDY, pick=pick).record
    assert choice.record in STUDY.front


def test_nothing_fits_names_the_limit_that_binds() -> None:
    """When nothing fits, the binding limit, what loosening it lets in, and the nearest members are named."""
    with pytest.raises(NothingFits) as raised:
        deploy.choose(STUDY, max_latency_s=0.005, max_drop=0.01)
    text = str(raised.value)

    assert "no trial of s keeps drop <= 0.01 and p25 latency <= 5 ms" in text
    assert "drop binds, with --max-drop 0.201 #4 fits" in text
    assert "p25 latency binds, with --max-latency 10.1ms #2 fits" in text
    nearest = text.partition("Nearest:\n")[2].splitlines()
    assert [line.split()[0] for line in nearest] == ["#2", "#3", "#1"]
    assert nearest[0].endswith("misses p25 latency by 5 ms")
    assert nearest[1].endswith("misses drop by 0.0200 and p25 latency by 4 ms")
    assert raised.value.exit_code == 3


@given(st.floats(1e-4, 0.2), st.floats(0, 0.2))
def test_the_advice_is_true(max_latency_s: float, max_drop: float) -> None:
    """Whatever the limits: either a member keeps them, or every advised option lets the named trial in."""
    try:
        record = deploy.choose(STUDY, max_latency_s=max_latency_s, max_drop=max_drop).record
    except NothingFits as error:
        advice = re.findall(r"with --max-(drop|latency) ([\d.e-]+)(?:ms)? #(\d+) fits", str(error))
        assert advice
        for name, value, number in advice:
            latency_s = float(value) / 1e3 if name == "latency" else max_latency_s
            drop = float(value) if name == "drop" else max_drop
            limits = {"latency_s": latency_s, "drop": drop}
            found = StudyResult(replace(CARD, limits=limits), STUDY.records).by_number(int(number))
            assert found is not None and found.status is Status.COMPLETE
    else:
        assert STUDY.headline(record)["drop"] <= max_drop
        assert STUDY.headline(record)["latency_p25_ms"] <= max_latency_s * 1e3


@given(st.floats(1e-9, 1e6))
def test_advised_limits_are_rounded_up(value: float) -> None:
    """An advised limit has three digits and is never smaller than what is needed, nor one percent larger."""
    assert value < deploy._rounded_up(value) <= value * 1.0101


def test_a_study_without_measured_trials_has_nothing() -> None:
    """A study in which every trial failed, and one without trials, have nothing to pick."""
    for records in ((FAILED,), ()):
        with pytest.raises(
            NothingFits, match=f"no measured trial to pick: {len(records)} of its {len(records)} failed"
        ):
            deploy.choose(StudyResult(CARD, records))


def test_bad_arguments_come_all_at_once() -> None:
    """An unknown policy and impossible limits are refused together."""
    with pytest.raises(UsageError) as raised:
        deploy.choose(STUDY, max_latency_s=0, max_drop=float("nan"), pick="cheapest")

    assert len(raised.value.problems) == 3
    assert "fastest, balanced, best-quality, smallest, got 'cheapest'" in str(raised.value)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "fake.json").write_text('{"classes": 2}')
        return {}

    store = Store(tmp_path / "store")
    store.put("model", "key2", {}, build)
    return store


def test_pull_writes_a_bundle_that_runs(tmp_path: Path, store: Store) -> None:
    """The bundle predicts and names its study, trial, numbers, host and digests, but no path of this machine."""
    choice = deploy.choose(STUDY)
    folder = deploy.pull(STUDY, choice, store, tmp_path / "deploy")
    with bundle.load(folder) as predictor:
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
    assert "/home/me" not in (folder / "bundle.json").read_text()


def test_documented_python_runs(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python example of docs/deployment.md loads a pulled bundle and predicts."""
    document = Path(__file__).parents[2] / "docs" / "deployment.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    deploy.pull(STUDY, deploy.choose(STUDY), store, tmp_path / "deploy")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"image": np.ones((16, 20, 3))}
    exec(compile(code, str(document), "exec"), names)

    assert (names["labels"].shape, names["labels"].dtype) == ((16, 20), np.uint8)


def test_pull_refuses_what_is_gone_or_altered(tmp_path: Path, store: Store) -> None:
    """An artifact that is not in the store any more, or was altered there, is named, and nothing is written."""
    with pytest.raises(BundleError, match="autoopt replay s/1"):
        deploy.pull(STUDY, deploy.choose(STUDY, pick="best-quality"), store, tmp_path / "deploy")
    (tmp_path / "store" / "model" / "key2" / "fake.json").write_text('{"classes": 9}')
    with pytest.raises(StorageError, match=r"fake\.json was altered"):
        deploy.pull(STUDY, deploy.choose(STUDY), store, tmp_path / "deploy")

    assert not (tmp_path / "deploy").exists()
