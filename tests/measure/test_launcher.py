"""A measurement end to end with the fake runtime: real worker processes, every way to fail, the merged numbers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.core.configuration import RuntimeSettings, Scalar
from autoopt.core.host import Host
from autoopt.core.store import Artifact, Store
from autoopt.errors import BadData, Crash, DataError, Numeric, OutOfMemory, Timeout, TrialError, Unsupported
from autoopt.inference.pipeline import Pipeline
from autoopt.measure import launcher
from autoopt.measure.files import case_ids
from autoopt.measure.launcher import CAP, LOCK, Measuring, ReferenceWorker, Workers, measure, predictions, together
from autoopt.measure.lock import host_lock
from autoopt.measure.merging import Taken, merge
from autoopt.measure.pack import pack_cases
from autoopt.measure.subject import Subject
from autoopt.measure.timing import Plan, Turn
from autoopt.measure.worker import peak_rss_bytes
from autoopt.workloads.contract import Case, Sample, Workload
from tests import tiny

HOST = Host(cpu="test", arch="x86_64", cores=2, memory_bytes=8 << 30, isa=(), system="Linux")
QUICK = Plan(processes=1, warmup_min_s=0.0, warmup_max_s=0.02, rounds=2, most_rounds=3, turn_s=0.02)


@pytest.fixture(autouse=True)
def _own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder, and so a measuring lock, of the test's own: searches on this host do not interfere."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


@dataclass(frozen=True)
class Setup:
    """A store with the fake model and the packed cases of the tiny workload."""

    store: Store
    artifact: Artifact
    cases: Artifact

    def measure(self, *, timeout_s: float = 60.0, predict: bool = True, plan: Plan = QUICK, **settings: Scalar) -> Any:
        runtime: dict[str, Scalar] = {"name": "fake", "threads": 1, "precision": "f32", "latency_ms": 0.5, **settings}
        return measure(self.subject(**runtime), host=HOST, plan=plan, timeout_s=timeout_s, predict=predict)

    def subject(self, **runtime: Scalar) -> Subject:
        return Subject(self.artifact, RuntimeSettings(runtime), tiny.PIPELINE, self.cases)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    store = Store(tmp_path / "store")

    def build(folder: Path) -> dict[str, Any]:
        (folder / "fake.json").write_text(json.dumps({"classes": 2}))
        return {}

    return Setup(store, store.put("fake", "0" * 64, {}, build), pack_cases(tiny.workload(), "val", store))


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
    measurement, predictions = measure(subject, host=HOST, plan=QUICK)
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


def test_the_worker_imports_only_what_it_needs() -> None:
    """The worker module pulls in no library but numpy."""
    import subprocess
    import sys

    code = (
        "import sys, autoopt.measure.worker; "
        "print([m for m in ('torch', 'openvino', 'onnxruntime', 'nncf', 'optuna', 'mlflow', 'yaml', 'typer', "
        "'autoopt.workload', 'autoopt.core.store') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


EFFECTIVE: dict[str, Scalar] = {"precision": "f32", "threads": 2, "streams": 1}


def taken(calls_s: float = 0.01, cpu_share: float = 1.0, **opened: Any) -> Taken:
    base = {"load_s": 0.5, "first_call_s": 0.1, "warmups_s": [0.02], "steady": True, "peak_rss_bytes": 100}
    turn = Turn((calls_s,) * 10, (0.03,), 10 * calls_s * cpu_share)
    return Taken({**base, **opened}, [turn, turn])


def test_merging(setup: Setup) -> None:
    """Load and first call are the least of the processes, memory the most, the same doubt is said once."""
    processes = [taken(cpu_share=0.4), taken(cpu_share=0.45, load_s=0.4, first_call_s=0.2, peak_rss_bytes=120)]
    merged = merge(processes, EFFECTIVE, setup.subject(name="x", threads=2, precision="f32"), HOST)
    assert (merged.load_s, merged.first_call_s, merged.peak_rss_bytes) == (0.4, 0.1, 120)
    assert merged.artifact_bytes == setup.artifact.size_bytes
    assert merged.cpu_s == pytest.approx((0.004, 0.0045))
    assert merged.warmups_s == ((0.02, 0.03, 0.03),) * 2
    assert merged.doubts == ("the calls computed for only 40% of their wall time: the host was busy",)


def test_other_settings_than_asked_are_doubted(setup: Setup) -> None:
    """What ran differently from what was asked for is said, with both values."""
    merged = merge([taken()], EFFECTIVE, setup.subject(name="x", threads=4, precision="bf16"), HOST)
    assert merged.doubts == (
        "precision bf16 was asked for, f32 is what ran",
        "threads 4 was asked for, 2 is what ran",
    )


@pytest.mark.parametrize(
    ("process", "doubt"),
    [
        (taken(calls_s=0.012), "differ by 20%"),
        (taken(steady=False), "did not become steady"),
        (taken(cpu_share=0.5), "the host was busy"),
        (Taken(taken().opened, [Turn((0.01,), (), 0.01)]), "only 1 calls"),
        (Taken(taken().opened, [Turn((0.01, 0.03) * 8, (), 0.4)]), "spread widely"),
        (Taken(taken().opened, taken().turns, contended="the reference ran 2.00x slower"), "2.00x slower"),
    ],
)
def test_doubts(setup: Setup, process: Taken, doubt: str) -> None:
    """What makes a number doubtful is said in a sentence; a good process beside it says nothing."""
    subject = setup.subject(name="x")
    assert merge([taken(), taken(calls_s=0.0105)], EFFECTIVE, subject, HOST).doubts == ()
    doubts = merge([taken(), process], EFFECTIVE, subject, HOST).doubts
    assert any(doubt in text for text in doubts)


def _fake(setup: Setup, latency_ms: float, **settings: Scalar) -> Subject:
    return setup.subject(name="fake", threads=1, precision="f32", latency_ms=latency_ms, **settings)


def test_a_resident_reference_takes_turns(setup: Setup) -> None:
    """Beside a reference both have as many turns in each process, and the ratio of latencies is the planted one."""
    with ReferenceWorker(_fake(setup, 2.0), QUICK) as reference_worker:
        measurement, _ = measure(
            _fake(setup, 6.0), host=HOST, plan=replace(QUICK, processes=2), reference_worker=reference_worker
        )
        name = reference_worker.name
    assert [len(process) for process in measurement.turns_s] == [len(process) for process in measurement.reference_s]
    assert measurement.reference_workers == (name, name)
    assert measurement.relative is not None
    assert measurement.relative.processes == 2
    assert measurement.relative.ratio == pytest.approx(3.0, rel=0.3)
    assert measurement.reference_latency_s == reference_worker.reference_latency_s
    assert measurement.latency_p25_s == pytest.approx(
        measurement.relative.ratio * (measurement.reference_latency_s or 0)
    )


def test_a_reference_that_dies_is_started_again(setup: Setup) -> None:
    """The death of the reference's process between two trials is nobody's failure: another one takes its place."""
    with ReferenceWorker(_fake(setup, 1.0), QUICK) as reference_worker, Workers(_fake(setup, 1.0).runtime) as workers:
        reference_worker.open()
        before = reference_worker.name
        reference_worker.kill()
        measuring = Measuring(_fake(setup, 1.0), workers, host=HOST, plan=QUICK, reference_worker=reference_worker)
        measuring.first(predict=False)
        assert measuring.finish().reference_workers == (reference_worker.name,)
        assert reference_worker.name != before


def test_a_verdict_ends_a_measurement(setup: Setup) -> None:
    """Processes are added until the verdict has something to say, at most as many as the plan allows; both are said."""
    plan = replace(QUICK, most_processes=3)
    counts = []
    for verdict, stopped in ((lambda m: "enough" if m.processes == 2 else "", "enough"), (lambda m: "", CAP)):
        with Workers(_fake(setup, 0.5).runtime) as workers:
            measuring = Measuring(_fake(setup, 0.5), workers, host=HOST, plan=plan)
            measuring.first(predict=False)
            measured = measuring.finish(verdict)
        assert measured.stopped == stopped
        counts.append(measured.processes)
    assert counts == [2, 3]


def test_a_slowed_reference_shows_a_busy_host(setup: Setup) -> None:
    """A reference that takes a third longer than it usually does is a contended process; a usual one is not."""
    reference_worker = ReferenceWorker(_fake(setup, 1.0), QUICK)
    usual, slow = Turn((0.01,) * 4, (), 0.04), Turn((0.0135,) * 4, (), 0.05)
    assert [reference_worker.remember([turn]) for turn in (usual, usual, usual)] == ["", "", ""]
    assert "1.35x slower than usual" in reference_worker.remember([slow])
    assert reference_worker.reference_latency_s == pytest.approx(0.01)


def test_a_program_beside_shows_a_busy_host(setup: Setup) -> None:
    """Others that take a core are noticed though the reference is as fast as ever; what they always take is not."""
    reference_worker, turn = ReferenceWorker(_fake(setup, 1.0), QUICK), Turn((0.01,) * 4, (), 0.04)
    quiet = [reference_worker.remember([turn], foreign) for foreign in (0.02, 0.03, 0.02)]
    busy = [reference_worker.remember([turn], foreign) for foreign in (0.5, 0.02, 0.5)]
    assert quiet == ["", "", ""]
    assert busy == ["other programs took 50% of the cores, 2% is usual", "", busy[0]]
    stays = [ReferenceWorker(_fake(setup, 1.0), QUICK)] * 4
    assert [bool(one.remember([turn], 0.5)) for one in stays] == [True, False, False, False]


@pytest.mark.parametrize(("seconds", "contended"), [(1.0, True), (0.1, False)])
def test_a_busy_host_reaches_the_measurement(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, seconds: float, contended: bool
) -> None:
    """What others took during a process is what its measurement is put off by; over a moment it says nothing."""

    @contextmanager
    def watched(players: object) -> Iterator[dict[str, float]]:
        yield {"foreign": 0.5, "seconds": seconds}

    monkeypatch.setattr(launcher, "_watched", watched)
    with ReferenceWorker(_fake(setup, 1.0), QUICK) as reference_worker:
        measured, _ = measure(
            _fake(setup, 1.0), host=HOST, plan=QUICK, reference_worker=reference_worker, predict=False
        )
    assert ("other programs took 50% of the cores" in measured.contended) is contended
    assert any("other programs took 50%" in doubt for doubt in measured.doubts)


def test_head_to_head(setup: Setup) -> None:
    """Several subjects take turns with each other and the reference, each in a process of its own."""
    subjects = [_fake(setup, 2.0), _fake(setup, 4.0)]
    with ReferenceWorker(_fake(setup, 2.0), QUICK) as reference_worker:
        measured = together(subjects, host=HOST, plan=QUICK, reference_worker=reference_worker)
    assert [item.processes for item in measured] == [1, 1]
    assert measured[0].reference_s == measured[1].reference_s
    ratios = [item.relative.ratio for item in measured if item.relative is not None]
    assert ratios[1] / ratios[0] == pytest.approx(2.0, rel=0.3)


def test_predictions_alone(setup: Setup) -> None:
    """Predictions without timing are those of the measured model."""
    found = predictions(_fake(setup, 0.1))
    _, expected = measure(_fake(setup, 0.1), host=HOST, plan=QUICK)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_peak_memory_sees_what_was_released() -> None:
    """The peak counts memory that was given back since."""
    block = np.ones(8 << 20)
    del block
    assert peak_rss_bytes() >= 8 << 23


def test_packing_is_done_once(tmp_path: Path) -> None:
    """The same data is packed once, whatever reads it; the arrays keep their type and order."""
    store, workload = Store(tmp_path), tiny.workload()
    first = pack_cases(workload, "val", store)
    broken = tuple(replace(case, read=_raising(ValueError("not read again"))) for case in workload.splits.val)
    again = pack_cases(_with_val(workload, broken), "val", store)
    assert again.key == first.key
    assert case_ids(first.path) == [case.id for case in workload.splits.val]
    for index, case in enumerate(workload.splits.val):
        stored = np.load(first.path / f"{index:05d}.npy", allow_pickle=False)
        assert stored.dtype == case.read().image.dtype
        assert np.array_equal(stored, case.read().image)


def test_packing_depends_on_data_and_split(tmp_path: Path) -> None:
    """Another split or another data digest is another artifact."""
    store, workload = Store(tmp_path), tiny.workload()
    keys = {pack_cases(workload, "val", store).key, pack_cases(workload, "test", store).key}
    keys.add(pack_cases(replace(workload, data_digest="other"), "val", store).key)
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("error", "kind"), [(DataError("a.png is broken"), DataError), (ValueError("a.png is broken"), BadData)]
)
def test_a_case_that_cannot_be_read(tmp_path: Path, error: Exception, kind: type[Exception]) -> None:
    """A case that cannot be read ends the packing with its name, and nothing half-written stays."""
    workload = tiny.workload()
    cases = (*workload.splits.val[:1], replace(workload.splits.val[1], read=_raising(error)))
    with pytest.raises(kind, match=r"a\.png is broken"):
        pack_cases(_with_val(workload, cases), "val", Store(tmp_path))
    assert list(tmp_path.rglob("*.npy")) == []


def test_objects_are_not_packed(tmp_path: Path) -> None:
    """An image of Python objects, which would have to be pickled, is refused."""
    workload = tiny.workload()
    case = replace(workload.splits.val[0], read=lambda: Sample(np.array([None]), np.zeros(1, int)))
    with pytest.raises(BadData, match="real numbers"):
        pack_cases(_with_val(workload, (case,)), "val", Store(tmp_path))


def test_the_runtime_threads_are_the_environments(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thread variables of the user's shell do not reach the worker; those of the runtime section do."""
    seen: dict[str, str] = {}

    class Recorder(launcher.Child):
        def __init__(self, module: str, *, environment: dict[str, str]) -> None:
            seen.update(environment)
            super().__init__(module, environment=environment)

    monkeypatch.setattr(launcher, "Child", Recorder)
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    setup.measure(threads=2, predict=False)
    assert set(seen) == set(launcher.THREAD_VARIABLES)
    assert set(seen.values()) == {"2"}


def _raising(error: Exception) -> Callable[[], Sample]:
    def read() -> Sample:
        raise error

    return read


def _with_val(workload: Workload, cases: tuple[Case, ...]) -> Workload:
    return replace(workload, splits=replace(workload.splits, val=cases))


def test_a_pipeline_for_classification(setup: Setup) -> None:
    """A classifier is measured and predicts probabilities."""

    def build(folder: Path) -> dict[str, Any]:
        (folder / "fake.json").write_text(json.dumps({"classes": 2, "task": "classification"}))
        return {}

    pipeline: Pipeline = replace(tiny.PIPELINE, task="classification")
    artifact = setup.store.put("fake", "3" * 64, {}, build)
    runtime = RuntimeSettings({"name": "fake", "threads": 1, "precision": "f32", "latency_ms": 0.1})
    _, predictions = measure(Subject(artifact, runtime, pipeline, setup.cases), host=HOST, plan=QUICK)
    assert all(prediction.shape == (2,) and prediction.sum() == pytest.approx(1) for prediction in predictions)


def test_some_cases_come_first_where_asked(setup: Setup) -> None:
    """Only the wanted cases are predicted at first; then all are, in their order, by the same process."""
    subject = _fake(setup, 0.1)
    expected = predictions(subject)
    with Workers(subject.runtime) as workers:
        measuring = Measuring(subject, workers, host=HOST, plan=QUICK)
        some = measuring.first([0, 2])
        every = measuring.others()
        measured = measuring.finish()
    assert [len(found) for found in (some, every)] == [2, len(expected)]
    assert all(np.array_equal(one, other) for one, other in zip(some, (expected[0], expected[2]), strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(every, expected, strict=True))
    assert measured.processes == 1 and measured.effective["threads"] == 1


def test_the_host_is_free_while_some_cases_are_scored(setup: Setup) -> None:
    """Between the first predictions and what is asked next another search may measure; nothing more need be asked."""
    subject = _fake(setup, 0.1)
    with Workers(subject.runtime) as workers:
        measuring = Measuring(subject, workers, host=HOST, plan=QUICK)
        measuring.first([0])
        with host_lock(LOCK, timeout_s=0):
            pass
        measured = measuring.finish()
    assert measured.effective["threads"] == 1
