"""Stored trials are profiled and explained, each beside the trial that it is best compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.core.records import Status, TrialRecord
from autoopt.errors import StorageError, UsageError
from autoopt.inference.runtimes import BASELINE_LABEL, REFERENCE_LABEL
from autoopt.measure.profiling import ProfilePlan
from autoopt.report.explain import explain_trial, float_counterpart
from autoopt.report.explain_picture import explain_picture
from autoopt.report.explain_text import explain_text
from autoopt.study.result import StudyResult
from tests.e2e import helpers
from tests.report.profiles import card, record

QUICK = ProfilePlan(rounds=1, round_s=0.01)


def test_the_counterpart_is_the_float_trial_most_alike() -> None:
    """Same runtime and threads, no quantize, most settings alike; else OpenVINO FP32, else the reference."""
    reference = record(0, "torch", label=REFERENCE_LABEL)
    openvino = record(1, label=BASELINE_LABEL)
    bf16 = record(3, precision="bf16")
    quantized = record(5, quantize=True)
    study = StudyResult(card(), (reference, openvino, bf16, quantized, record(6, quantize=True, threads=1)))
    assert float_counterpart(study, quantized) == openvino
    assert float_counterpart(study, record(8, quantize=True, precision="bf16")) == bf16
    assert float_counterpart(study, bf16) == openvino
    assert float_counterpart(study, record(9, "onnxruntime", quantize=True)) == openvino
    assert float_counterpart(study, openvino) == reference
    assert float_counterpart(study, reference) == openvino
    assert float_counterpart(StudyResult(card(), (quantized,)), quantized) is None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a searched study of the fake runtime."""
    folder = tmp_path_factory.mktemp("project")
    space = "description: d\nruntime:\n  name: fake\n  threads: 1\n  latency_ms: [1, 3]\n  failure: [null, raise]\n"
    done = helpers.run("search", *helpers.project(folder, space), "--budget", "4", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "mlruns"


@pytest.fixture
def own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A measuring lock of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


def stored(home: Path) -> StudyResult:
    from autoopt.study.storage import read_study

    return read_study(f"sqlite:///{home / 'study.db'}", None)


def by_latency(home: Path, latency_ms: float) -> TrialRecord:
    return next(item for item in stored(home).complete if item.configuration.runtime.get("latency_ms") == latency_ms)


@pytest.mark.usefixtures("own_locks")
def test_stored_trials_are_explained(home: Path) -> None:
    """Two trials of a study are profiled and compared; stages are announced, nothing is added to the study."""
    slow, fast = by_latency(home, 3), by_latency(home, 1)
    stages: list[str] = []
    before = len(stored(home).records)
    found = explain_trial(str(slow.number), against=f"#{fast.number}", home=home, on_stage=stages.append, plan=QUICK)
    assert found.trial.record.number == slow.number
    assert found.against is not None
    assert found.against.record.number == fast.number
    assert [layer.seconds for layer in found.trial.profile.layers] == [0.003]
    assert found.trial.recorded_s is not None
    assert stages == ["profile"]
    assert len(stored(home).records) == before
    assert explain_text(found)
    assert explain_picture(found)


@pytest.mark.usefixtures("own_locks")
def test_a_lost_artifact_is_made_again(home: Path) -> None:
    """An artifact that the store no longer has is made as it was made, then profiled."""
    import shutil

    slow = by_latency(home, 3)
    shutil.rmtree(home / "store" / "model" / slow.artifacts[-1])
    stages: list[str] = []
    found = explain_trial(str(slow.number), home=home, on_stage=stages.append, plan=QUICK)
    assert stages == ["export", "profile"]
    assert found.trial.profile.layers


def test_what_cannot_be_explained_is_refused(home: Path) -> None:
    """A failed trial, a trial that is not there and a trial beside itself each get one clear sentence."""
    failed = next(item for item in stored(home).records if item.status is Status.FAILED)
    fast = str(by_latency(home, 1).number)
    with pytest.raises(UsageError, match=r"only a trial that was measured .* failed in measure"):
        explain_trial(str(failed.number), home=home)
    with pytest.raises(StorageError, match="has no trial 99"):
        explain_trial("99", home=home)
    with pytest.raises(UsageError, match="compared with another one"):
        explain_trial(fast, against=fast, home=home)
    with pytest.raises(UsageError, match="named by its number"):
        explain_trial("first", home=home)
