"""A profile end to end: real processes, every runtime, and what the parent makes of their answers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.configuration import RuntimeSettings, Scalar
from autoopt.core.store import Artifact, Store
from autoopt.errors import Timeout, Unsupported
from autoopt.inference.runtimes import runtime
from autoopt.inference.runtimes.layers import Layer, over_calls, precision_of
from autoopt.measure.pack import pack_cases
from autoopt.measure.profiler import Profiler
from autoopt.measure.profiling import Profile, ProfilePlan, profile, profile_all
from autoopt.measure.subject import Subject
from autoopt.measure.target import LocalTarget
from tests import tiny


@pytest.fixture(autouse=True)
def _own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder, and so a measuring lock, of the test's own."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


QUICK, TARGET = ProfilePlan(rounds=2, round_s=0.01), LocalTarget()


def profiled(artifact: Artifact, runtime: RuntimeSettings, cases: Artifact, **named: Any) -> Profile:
    return profile(Subject(artifact, runtime, tiny.PIPELINE, cases), TARGET, plan=QUICK, **named)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return pack_cases(tiny.workload(), "val", Store(tmp_path_factory.mktemp("cases")))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    for library in ("torch", "onnx", "openvino"):
        pytest.importorskip(library)
    return tiny.exported(tmp_path_factory.mktemp("exported"))


def settings(name: str, **more: Scalar) -> RuntimeSettings:
    return RuntimeSettings({"name": name, "precision": "f32", "threads": 1, **more})


def planted(root: Path, *layers: Layer) -> Artifact:
    """A fake model that says it has `layers`."""

    def build(folder: Path) -> dict[str, Any]:
        content = {"classes": 2, "layers": [layer.to_json() for layer in layers]}
        (folder / "fake.json").write_text(json.dumps(content))
        return {}

    return Store(root / "store").put("fake", f"{len(layers):064d}", {}, build)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_every_runtime_tells_its_layers(name: str, exported: dict[str, Artifact], cases: Artifact) -> None:
    """Each library gives a positive time, a kernel and a precision for both convolutions, and no negative time."""
    pytest.importorskip(name)
    found = profiled(exported[runtime(name).FORMAT], settings(name), cases)
    convolutions = [layer for layer in found.working if "conv" in layer.type.lower()]
    assert len(convolutions) == 2
    assert {layer.precision for layer in convolutions} == {"f32"}
    assert all(layer.kernel and layer.seconds > 0 for layer in convolutions)
    if name != "onnxruntime":  # which calls a layer in its blocked layout by the value it gives
        assert [layer.name.split("/")[0] for layer in convolutions] == ["stem", "head"]
    assert all(layer.seconds >= 0 for layer in found.layers)
    assert 0 < found.layers_s < 10
    assert found.call_s > 0
    assert sum(found.shares.values()) == pytest.approx(1)


def test_openvino_tells_what_it_fused(exported: dict[str, Artifact], cases: Artifact) -> None:
    """The activation is among the origins of the convolution that it was fused in."""
    pytest.importorskip("openvino")
    found = profiled(exported["openvino"], settings("openvino"), cases)
    (stem,) = [layer for layer in found.working if layer.name.startswith("stem")]
    assert any("Relu" in name for name in stem.origins)


def test_quantizers_are_conversions(exported: dict[str, Artifact], cases: Artifact, tmp_path: Path) -> None:
    """A quantized model has INT8 convolutions in OpenVINO; quantizing its input is a conversion, not work."""
    openvino, nncf = pytest.importorskip("openvino"), pytest.importorskip("nncf")
    model = openvino.Core().read_model(exported["openvino"].path / "model.xml")
    tiles = [tiny.workload().splits.train[0].read().image.transpose(2, 0, 1)[None].copy()] * 2

    def build(folder: Path) -> dict[str, Any]:
        openvino.save_model(nncf.quantize(model, nncf.Dataset(tiles), subset_size=2), folder / "model.xml")
        return {}

    artifact = Store(tmp_path / "store").put("model", "0" * 64, {}, build)
    found = profiled(artifact, settings("openvino"), cases)
    assert any(layer.precision == "i8" for layer in found.working)
    assert any(layer.type == "FakeQuantize" for layer in found.conversions)
    assert all("conv" not in layer.type.lower() for layer in found.conversions if layer.type != "Convert")


def test_profiles_leave_no_file_behind(exported: dict[str, Artifact], cases: Artifact) -> None:
    """ONNX Runtime's profiling file is gone when its layers are told."""
    pytest.importorskip("onnxruntime")
    profiled(exported["onnx"], settings("onnxruntime"), cases)
    assert not list(Path(tempfile.gettempdir()).rglob("*.json"))


def test_layers_of_several_models_in_turns(tmp_path: Path, cases: Artifact) -> None:
    """Each candidate gets the layers of its own model, in the order they were given."""
    one = Layer("a", "Conv", "k", "i8", 1e-3, False, ("x",))
    other = Layer("b", "Reorder", "r", "f32", 2e-3, True)
    artifacts = [planted(tmp_path, one), planted(tmp_path, one, other)]
    subjects = [Subject(item, settings("fake"), tiny.PIPELINE, cases) for item in artifacts]
    found = profile_all(subjects, TARGET, plan=QUICK)
    assert [item.layers for item in found] == [(one,), (one, other)]


def test_a_whole_case_is_timed_in_its_stages(tmp_path: Path, cases: Artifact) -> None:
    """A profile has the stages of a whole case; where something else is timed and it takes too long it has none."""
    artifact = planted(tmp_path, Layer("a", "Conv", "k", "f32", 1e-3, False))
    subject = Subject(artifact, settings("fake"), tiny.PIPELINE, cases)
    found = profile(subject, TARGET, plan=QUICK).case
    assert found is not None and found.calls >= 1 and min(found.prepare_s, found.network_s, found.finish_s) > 0
    handlers = Profiler().handlers()
    handlers["open"](subject.profiling(TARGET))
    assert [handlers["case"]({"most_s": most_s})["stages"] is None for most_s in (None, 1e9, 0.0)] == [
        False,
        False,
        True,
    ]


def test_a_model_that_cannot_be_opened_is_refused(tmp_path: Path, cases: Artifact) -> None:
    """What the runtime refuses in the child is raised as itself in the parent, and nothing keeps the lock."""
    with pytest.raises(Unsupported):
        profiled(planted(tmp_path), settings("openvino"), cases)
    assert profiled(planted(tmp_path), settings("fake"), cases).layers


def test_a_hanging_model_ends_with_its_time(tmp_path: Path, cases: Artifact) -> None:
    """A model that never answers is ended after `timeout_s`."""
    with pytest.raises(Timeout):
        profiled(planted(tmp_path), settings("fake", failure="hang"), cases, timeout_s=1)


def test_shares_count_conversions_apart() -> None:
    """Working layers count by precision, conversions by themselves whatever their precision; all add up to 1."""
    layers = (
        Layer("a", "Conv", "k", "i8", 6.0),
        Layer("b", "Reorder", "k", "i8", 1.0, True),
        Layer("c", "MVN", "k", "f32", 2.0),
        Layer("d", "Odd", "k", "", 1.0),
    )
    assert Profile(layers, 1.0).shares == {"i8": 0.6, "f32": 0.2, "unknown": 0.1, "conversions": 0.1}
    assert Profile((), 1.0).shares == {}


def test_calls_become_one_list() -> None:
    """Of several calls each layer keeps the low quartile of its times; namesakes stay apart by their place."""
    calls = [
        [Layer("a", "Conv", "k", "f32", t), Layer("a", "Conv", "k", "f32", 10 * t)] for t in (1.0, 2.0, 3.0, 4.0, 5.0)
    ]
    assert [layer.seconds for layer in over_calls(calls)] == [2.0, 20.0]
    assert [layer.seconds for layer in over_calls(calls, quantile=0.0)] == [1.0, 10.0]


@pytest.mark.parametrize(
    ("words", "precision"),
    [(["u8"], "i8"), (["bf16", "f32"], "bf16"), (["any", "f16"], "f16"), (["float"], "f32"), (["i64"], ""), ([], "")],
)
def test_precision_words(words: list[str], precision: str) -> None:
    """The first word that is a precision counts, in any library's spelling."""
    assert precision_of(words) == precision


def test_a_layer_survives_json() -> None:
    """JSON and back gives the same layer."""
    layer = Layer("a", "Conv", "k", "i8", 1.5, True, ("b", "c"))
    assert Layer.from_json(json.loads(json.dumps(layer.to_json()))) == layer
