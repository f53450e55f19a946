"""A measurement end to end with the fake runtime: real worker processes, every way to fail, what they predict."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.core.configuration import RuntimeSettings
from autoopt.errors import BadData, Crash, Numeric, OutOfMemory, Timeout, TrialError, Unsupported
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.files import array_name, case_ids
from autoopt.measure.measuring import CAP, Measuring, measure, predictions
from autoopt.measure.subject import Subject
from autoopt.measure.taking import LocalTaking
from autoopt.measure.workers import OpenWorker, Workers
from tests import tiny
from tests.measure.setups import HOST, QUICK, Setup


def test_measures_and_predicts(setup: Setup) -> None:
    """Two fresh processes are merged into one measurement; the predictions are those of the model, per case."""
    measurement, predictions = setup.measure(plan=replace(QUICK, processes=2))
    assert len(measurement.calls_s) == len(measurement.warmups_s) == len(measurement.cpu_s) == 2
    assert all(len(turn) >= QUICK.turn_min_calls for process in measurement.turns_s for turn in process)
    assert measurement.relative is None
    assert measurement.reference_s == ()
    assert measurement.latency_p25_s >= 0.0005
    assert measurement.effective["threads"] == 1
    assert measurement.host == HOST.fingerprint
    assert measurement.artifact_bytes == setup.artifact.size_bytes
    assert 1 << 20 < measurement.peak_rss_bytes < 1 << 30
    images = [case.read().image for case in tiny.workload().splits.val]
    assert len(predictions) == len(images)
    for image, prediction in zip(images, predictions, strict=True):
        assert prediction.shape == image.shape[:2]
        assert np.mean(prediction == (image[..., 0] > 0)) > 0.9


def test_without_predictions(setup: Setup) -> None:
    """Predictions are made only when asked for, and nothing is left in the temporary folder."""
    _, predictions = setup.measure(predict=False)
    assert predictions == []
    assert sorted(path.name for path in Path(tempfile.gettempdir()).iterdir()) == [f"autoopt-{os.getuid()}"]


@pytest.mark.parametrize(
    ("failure", "error", "match"),
    [
        ("segfault", Crash, "SIGSEGV"),
        ("abort", Crash, "SIGABRT"),
        ("hang", Timeout, "limit of"),
        ("oom", OutOfMemory, "memory"),
        ("nan", Numeric, "512 of 512 are NaN"),
        ("shape", Numeric, r"shape \(1, 2, 16, 16\)"),
        ("raise", Crash, "told to raise"),
        ("unsupported", Unsupported, "told to refuse"),
    ],
)
def test_failures(setup: Setup, failure: str, error: type[TrialError], match: str) -> None:
    """Every way to fail comes back as its own error, at the stage `measure`."""
    with pytest.raises(error, match=match) as caught:
        setup.measure(failure=failure, timeout_s=1.5 if failure == "hang" else 60.0)
    assert caught.value.stage == "measure"


def test_a_real_runtime(setup: Setup, tmp_path: Path) -> None:
    """With ONNX Runtime in the worker, the numbers are of the model and the predictions are right."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def build(folder: Path) -> dict[str, Any]:
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        weight = np.zeros((2, 3, 1, 1), np.float32)
        weight[1, 0] = 1.0  # class 1 is the first channel, class 0 is 0
        graph = helper.make_graph(
            [helper.make_node("Conv", ["image", "weight"], ["logits"])],
            "tiny",
            [helper.make_tensor_value_info("image", kind, [1, 3, 16, 16])],
            [helper.make_tensor_value_info("logits", kind, [1, 2, 16, 16])],
            [onnx.numpy_helper.from_array(weight, "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, folder / "model.onnx")
        return {}

    artifact = setup.store.put("onnx", "1" * 64, {}, build)
    runtime = RuntimeSettings({"name": "onnxruntime", "threads": 2, "precision": "f32", "spinning": False})
    subject = Subject(artifact, runtime, tiny.PIPELINE, setup.cases)
    measurement, predictions = measure(subject, setup.target, plan=QUICK)
    assert measurement.effective["threads"] == 2
    assert "Conv:1" in str(measurement.effective["kernels"])
    image = tiny.workload().splits.val[0].read().image
    assert np.array_equal(predictions[0], image[..., 0] > 0)


def test_a_bad_image_is_named(setup: Setup) -> None:
    """An image that the pipeline refuses fails the trial as bad data, with the id of its case."""

    def build(folder: Path) -> dict[str, Any]:
        np.save(folder / "00000.npy", np.zeros((16, 16, 3), np.float32))
        np.save(folder / "00001.npy", np.full((16, 16, 3), np.nan, np.float32))
        (folder / "index.json").write_text(
            json.dumps({"split": "val", "ids": ["good", "bad"], "affines": [None, None]})
        )
        return {}

    with pytest.raises(BadData, match="case 'bad'"):
        replace(setup, cases=setup.store.put("cases", "2" * 64, {}, build)).measure()


class Slow:
    """A child that answers for some cases, each within its limit, and then no more."""

    pid = None

    def __init__(self, answers: int) -> None:
        self.left, self.limits_s = answers, list[float]()

    def send(self, do: str, request: dict[str, Any], *, stage: str, continues: bool) -> None:
        np.save(Path(request["folder"]) / array_name(request["case"]), np.array([request["case"]]))

    def receive(self, *, stage: str, timeout_s: float, memory_bytes: int | None) -> dict[str, Any]:
        self.limits_s.append(timeout_s)
        self.left -= 1
        if self.left < 0:
            raise Timeout(f"{stage} took longer than its limit of {timeout_s:g} s", stage=stage)
        return {}


def test_each_case_has_the_whole_limit_and_one_that_hangs_is_named(setup: Setup) -> None:
    """However many cases there are, a prediction may take as long as if it were the only one; who hangs is said."""
    child: Any = Slow(answers=2)
    worker = OpenWorker(child, setup.fake(0.1), setup.target, "measure", 7.0, None)
    name = case_ids(setup.cases.path)[2]
    with setup.target.exchange() as exchange:
        found = worker.predictions(range(3), exchange)
        assert [next(found).tolist(), next(found).tolist()] == [[0], [1]]
        with pytest.raises(Timeout, match=f"case '{name}': measure took longer than its limit of 7 s"):
            next(found)
    assert child.limits_s == [7.0] * 3


def test_a_verdict_ends_a_measurement(setup: Setup) -> None:
    """Processes are added until the verdict has something to say, at most as many as the plan allows; both are said."""
    plan = replace(QUICK, most_processes=3)
    counts = []
    for verdict, stopped in ((lambda m: "enough" if m.processes == 2 else "", "enough"), (lambda m: "", CAP)):
        with Workers(setup.fake(0.5).runtime, setup.target) as workers:
            measuring = Measuring(LocalTaking(setup.fake(0.5), workers, plan=plan))
            measuring.first(predict=False)
            measured = measuring.finish(verdict)
        assert measured.stopped == stopped
        counts.append(measured.processes)
    assert counts == [2, 3]


def test_predictions_alone(setup: Setup) -> None:
    """Predictions without timing are those of the measured model."""
    found = predictions(setup.fake(0.1), setup.target)
    _, expected = measure(setup.fake(0.1), setup.target, plan=QUICK)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_pipeline_for_classification(setup: Setup) -> None:
    """A classifier is measured and predicts probabilities."""

    def build(folder: Path) -> dict[str, Any]:
        (folder / "fake.json").write_text(json.dumps({"classes": 2, "task": "classification"}))
        return {}

    pipeline: Pipeline = replace(tiny.PIPELINE, task="classification")
    artifact = setup.store.put("fake", "3" * 64, {}, build)
    runtime = RuntimeSettings({"name": "fake", "threads": 1, "precision": "f32", "latency_ms": 0.1})
    _, predictions = measure(Subject(artifact, runtime, pipeline, setup.cases), setup.target, plan=QUICK)
    assert all(prediction.shape == (2,) and prediction.sum() == pytest.approx(1) for prediction in predictions)


def test_some_cases_come_first_where_asked(setup: Setup) -> None:
    """Only the wanted cases are predicted at first; then all are, in their order, by the same process."""
    subject = setup.fake(0.1)
    expected = predictions(subject, setup.target)
    with Workers(subject.runtime, setup.target) as workers:
        measuring = Measuring(LocalTaking(subject, workers, plan=QUICK))
        some = measuring.first([0, 2])
        every = measuring.others()
        measured = measuring.finish()
    assert [len(found) for found in (some, every)] == [2, len(expected)]
    assert all(np.array_equal(one, other) for one, other in zip(some, (expected[0], expected[2]), strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(every, expected, strict=True))
    assert measured.processes == 1 and measured.effective["threads"] == 1


def test_the_host_is_free_while_some_cases_are_scored(setup: Setup) -> None:
    """Between the first predictions and what is asked next another search may measure; nothing more need be asked."""
    subject = setup.fake(0.1)
    with Workers(subject.runtime, setup.target) as workers:
        measuring = Measuring(LocalTaking(subject, workers, plan=QUICK))
        measuring.first([0])
        with setup.target.exclusive(wait_s=0):
            pass
        measured = measuring.finish()
    assert measured.effective["threads"] == 1


def test_a_file_that_vanished_is_named(setup: Setup) -> None:
    """A model that was deleted after it was made is said to be, not blamed on the runtime."""
    (setup.artifact.path / "fake.json").unlink()
    with pytest.raises(Crash, match=r"fake\.json vanished after it was made") as caught:
        setup.measure()
    assert caught.value.stage == "measure"
