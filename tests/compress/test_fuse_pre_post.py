"""Parts of the pipeline inside the graph: the same answers in every runtime, quantized or not, in a bundle or not."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import autoopt
from autoopt.compress import fuse_pre_post, quantize
from autoopt.compress.export import export, load_source
from autoopt.core.configuration import RuntimeSettings, Scalar
from autoopt.core.host import Host
from autoopt.core.store import Artifact, Store, file_digest
from autoopt.deploy.writer import write_bundle
from autoopt.errors import Numeric
from autoopt.inference.formats import cost
from autoopt.inference.pipeline import Pipeline, predict
from autoopt.inference.runtimes import runtime
from autoopt.measure.measuring import measure
from autoopt.measure.pack import pack_cases
from autoopt.measure.subject import Subject
from autoopt.measure.target import LocalTarget
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.worker import check_outputs
from autoopt.workloads import histo
from autoopt.workloads.contract import Case, Sample, Workload
from autoopt.workloads.demo import histo_demo
from autoopt.workloads.demo.histo_tissue import draw_tile
from tests import tiny

torch = pytest.importorskip("torch")
for library in ("onnx", "onnxruntime", "openvino", "nncf"):
    pytest.importorskip(library)

HOST = Host("a cpu", "x86_64", 2, 8 << 30, ("avx2",), "Linux")
WAYS: tuple[Literal["input", "both"], ...] = ("input", "both")
FORMATS = {"openvino": "openvino", "onnxruntime": "onnx", "torch": "torch"}
KINDS = ["openvino f32", "openvino nncf", "onnxruntime f32", "onnxruntime nncf", "onnxruntime onnxruntime", "torch f32"]
"""A runtime, and f32 or who quantizes."""


@dataclass(frozen=True)
class Made:
    """The graphs of a workload by kind, without anything of the pipeline inside."""

    workload: Workload
    store: Store
    graphs: dict[str, Artifact]

    def fused(self, kind: str, pipeline: Pipeline) -> Artifact:
        """The graph of `kind` with what `pipeline.in_graph` names inside, made once."""
        source = self.graphs[kind]
        if not pipeline.takes_pixels:
            return source
        tile = next(pipeline.cut(self.workload.splits.train[0].read().image)[0])
        key = f"{source.key} {pipeline.in_graph} {pipeline.classes}"

        def build(folder: Path) -> dict[str, Any]:
            return fuse_pre_post.fuse_pre_post(source.path, pipeline, tile, folder)

        return self.store.get("model", key) or self.store.put("model", key, {}, build)

    def answers(self, kind: str, pipeline: Pipeline) -> list[np.ndarray]:
        """What the graph of `kind` predicts for the cases of val, with the runtime it is for."""
        session = runtime(kind.split()[0]).open(self.fused(kind, pipeline).path, {"threads": 1})
        try:
            return [predict(pipeline, session.run, case.read().image) for case in self.workload.splits.val]
        finally:
            session.close()


def make(workload: Workload, weights: Path, store: Store, kinds: list[str]) -> Made:
    source, graphs = load_source(workload, weights), dict[str, Artifact]()

    def put(key: str, build: Callable[[Path], Any]) -> Artifact:
        return store.put("model", key, {}, build)

    def exported(name: str) -> Artifact:
        folder = exported("onnx").path if name == "openvino" else None
        return store.get("model", name) or put(
            name, lambda path: export(name, "f32", workload, weights, path, source=source, parent=folder)
        )

    for kind in kinds:
        name, how = kind.split()
        graphs[kind] = exported(FORMATS[name])
        if how != "f32":
            settings: dict[str, Scalar] = {"tool": how, "calibration_cases": 3, "weight_bits": 8}
            plain = graphs[kind]
            graphs[kind] = put(kind, lambda path: quantize.apply(settings, plain, workload, path))  # noqa: B023
    return Made(workload, store, graphs)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("small")
    return make(tiny.pixels(), tiny.weights(root / "tiny.safetensors"), Store(root / "store"), KINDS)


def tiles(split: str, patient: int, count: int) -> tuple[Case, ...]:
    """Demo tiles of one patient."""

    def case(index: int) -> Case:
        @cache
        def read() -> Sample:
            image, mask = draw_tile(histo_demo.patients()[patient], index)
            return Sample(image, (mask > histo.MASK_THRESHOLD).astype(np.uint8))

        return Case(f"{split}-{index}", f"patient-{patient}", read)

    return tuple(case(index) for index in range(count))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The histo demo net on a few of its tiles."""
    root = tmp_path_factory.mktemp("histo")
    splits = autoopt.Splits(tiles("train", 0, 1), tiles("calibration", 1, 3), tiles("val", 14, 2), tiles("test", 19, 1))
    workload = replace(
        tiny.workload(), name="histo", labels=histo.LABELS, build=histo.build, pipeline=histo.PIPELINE, splits=splits
    )
    kinds = [kind for kind in KINDS if kind != "onnxruntime nncf"]
    return make(workload, histo.DEMO_WEIGHTS, Store(root / "store"), kinds)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_same(kind: str, way: Literal["input", "both"], small: Made) -> None:
    """In every runtime, in float and in integers, images larger and smaller than a tile have the answer they had."""
    plain = small.workload.pipeline
    for got, expected in zip(
        small.answers(kind, replace(plain, in_graph=way)), small.answers(kind, plain), strict=True
    ):
        assert (got.dtype, got.shape) == (np.uint8, expected.shape)
        assert np.mean(got != expected) < 0.005  # one voxel
        assert np.mean(got == 1) == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "onnxruntime nncf"])
def test_demo_tiles_have_the_same_answers(kind: str, demo: Made) -> None:
    """The histo demo net finds the same glands in its tiles whoever normalises and decides."""
    inside = replace(histo.PIPELINE, in_graph="both")
    for got, expected in zip(demo.answers(kind, inside), demo.answers(kind, histo.PIPELINE), strict=True):
        assert np.mean(got != expected) < 1e-4
        assert 0.02 < np.mean(got) < 0.98


@pytest.mark.parametrize("kind", ["openvino nncf", "onnxruntime onnxruntime"])
def test_quantizers_do_not_see_the_pipeline(kind: str, demo: Made) -> None:
    """The quantized network is the same inside: its logits are, to the rounding of what goes in, and so is its work."""
    inside = replace(histo.PIPELINE, in_graph="input")
    plain, fused = demo.graphs[kind], demo.fused(kind, inside)
    pixels = next(inside.cut(demo.workload.splits.val[0].read().image)[0])
    sessions = [runtime(kind.split()[0]).open(item.path, {"threads": 1}) for item in (plain, fused)]
    logits, others = sessions[0].run(histo.PIPELINE.normalise(pixels[0])[np.newaxis]), sessions[1].run(pixels)
    assert np.sqrt(np.mean((logits - others) ** 2)) < 1e-3 * np.sqrt(np.mean(logits**2))
    assert cost(plain.path, histo.PIPELINE.input_shape) == cost(fused.path, inside.input_shape)
    assert cost(plain.path, histo.PIPELINE.input_shape).int8_macs > 0


@pytest.mark.parametrize("kind", ["openvino f32", "onnxruntime f32", "torch f32"])
def test_more_than_two_classes(kind: str, small: Made, tmp_path: Path) -> None:
    """Of any number of classes the first of the largest logits decides, as it does outside."""
    network = torch.nn.Conv2d(3, 5, 1)
    pipeline = replace(small.workload.pipeline, classes=5)
    workload = replace(small.workload, labels=tuple("abcde"), build=lambda: torch.nn.Conv2d(3, 5, 1), pipeline=pipeline)
    from safetensors.torch import save_file

    save_file({**network.state_dict(), "bias": torch.zeros(5)}, tmp_path / "five.safetensors")
    five = make(workload, tmp_path / "five.safetensors", Store(tmp_path / "store"), [kind])
    inside = replace(workload.pipeline, in_graph="both")
    for got, expected in zip(five.answers(kind, inside), five.answers(kind, workload.pipeline), strict=True):
        assert np.mean(got != expected) < 0.005
        assert len(np.unique(got)) > 2


@pytest.mark.parametrize("kind", ["openvino nncf", "onnxruntime f32", "torch f32"])
def test_a_bundle_takes_pixels(kind: str, small: Made, tmp_path: Path) -> None:
    """A bundle predicts as its graph does, says what images it takes, and refuses others."""
    inside = replace(small.workload.pipeline, in_graph="both")
    settings: dict[str, Scalar] = {"name": kind.split()[0], "precision": "f32", "threads": 1}
    facts = {"workload": "tiny", "demo": True}
    artifact = small.fused(kind, inside)
    folder = write_bundle(tmp_path / "deploy", artifact, settings, inside, small.workload.labels, facts)
    expected = small.answers(kind, inside)
    with autoopt.load(folder) as predictor:
        assert predictor.pipeline == inside
        for case, wanted in zip(small.workload.splits.val, expected, strict=True):
            image = case.read().image
            image.setflags(write=False)  # as from a memory map: it is handed on without a copy
            assert np.array_equal(predictor.predict(image), wanted)
        with pytest.raises(ValueError, match="tiles of 16x16 that do not overlap"):
            predictor.predict(np.zeros((20, 16, 3), np.uint8))
        with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
            predictor.predict(np.full((16, 16, 3), 0.5))
    readme = (folder / "README.txt").read_text()
    assert "3 channels) of whole numbers from 0 to 255, covered by tiles of 16x16 that do not overlap" in readme


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_it_is_made_the_same_each_time(name: str, small: Made, tmp_path: Path) -> None:
    """The same graph fused twice gives the same files, but for what PyTorch numbers itself, and one report."""
    inside = replace(small.workload.pipeline, in_graph="both")
    tile = next(inside.cut(small.workload.splits.train[0].read().image)[0])
    digests, reports = [], []
    for attempt in ("first", "second"):
        (tmp_path / attempt).mkdir()
        reports.append(fuse_pre_post.fuse_pre_post(small.graphs[f"{name} f32"].path, inside, tile, tmp_path / attempt))
        digests.append({path.name: file_digest(path) for path in (tmp_path / attempt).iterdir()})
    assert reports[0]["other_labels"] == reports[1]["other_labels"] == {"noise": 0.0, "case": 0.0}
    assert digests[0] == digests[1] or name == "torch"


@pytest.mark.parametrize(("way", "message"), [("input", "as a fraction of its"), ("both", "in the share of its")])
def test_another_pipeline_inside_is_found(way: Literal["input", "both"], message: str, small: Made) -> None:
    """A graph that normalises otherwise than its pipeline says is refused before it is measured."""
    inside = replace(small.workload.pipeline, in_graph=way)
    source, folder = small.graphs["onnxruntime f32"].path, small.fused("onnxruntime f32", inside).path
    tile = next(inside.cut(small.workload.splits.train[0].read().image)[0])
    with pytest.raises(Numeric, match=rf"differs by 0\.\d+ {message}"):
        fuse_pre_post.check(source, folder, replace(inside, mean=(0.2, 0.45, 0.55)), tile)
    other = replace(inside, in_graph="both" if way == "input" else "input")
    with pytest.raises(Numeric, match=f"must answer with {'uint8' if way == 'input' else 'float32'} of shape"):
        fuse_pre_post.check(source, folder, other, tile)


def test_labels_are_checked_where_they_are_measured(small: Made) -> None:
    """A worker refuses logits of a model that was to decide itself, and takes labels."""
    inside = replace(small.workload.pipeline, in_graph="both")
    batch = np.zeros(inside.input_shape, np.uint8)
    check_outputs(inside, batch, np.zeros(inside.output_shape, np.uint8))
    with pytest.raises(Numeric, match=r"must return shape \(1, 16, 16\), it returned \(1, 2, 16, 16\)"):
        check_outputs(inside, batch, np.zeros((1, 2, 16, 16), np.float32))
    with pytest.raises(Numeric, match="labels in uint8, it returned int64"):
        check_outputs(inside, batch, np.zeros(inside.output_shape, np.int64))


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


@pytest.mark.usefixtures("own_locks")
@pytest.mark.parametrize("way", ["none", *WAYS])
def test_a_tile_is_timed_with_what_is_done_around_it(way: Literal["none", "input", "both"], tmp_path: Path) -> None:
    """What is timed with latency `tile` gives the answer to an image, whoever does what of it."""
    store, workload = Store(tmp_path / "store"), tiny.pixels()
    inside = replace(workload.pipeline, in_graph=way)
    content = {"classes": 2, **({"pipeline": inside.to_json()} if inside.takes_pixels else {})}

    def build(folder: Path) -> dict[str, Any]:
        (folder / "fake.json").write_text(json.dumps(content))
        return {}

    artifact, cases = store.put("model", way, {}, build), pack_cases(workload, "val", store)
    executed = RuntimeSettings({"name": "fake", "threads": 1, "precision": "f32", "latency_ms": 0.5})
    plan = MeasuringPlan(processes=1, warmup_min_s=0.0, warmup_max_s=0.02, rounds=2, most_rounds=2, turn_s=0.02)
    found, answers = measure(Subject(artifact, executed, inside, cases, "tile"), LocalTarget(HOST), plan=plan)
    assert found.latency_p25_s > 0.0005
    for case, answer in zip(workload.splits.val, answers, strict=True):
        assert np.array_equal(answer, case.read().reference)
