"""The maker: what is made once is not made again, and whatever happens in the child reaches the parent as itself."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.compress.maker import Maker, warm_child
from autoopt.compress.maker_process import Jobs, _call_time
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.store import Store
from autoopt.errors import StorageError, Timeout, Unsupported, WeightsError, WorkloadError
from autoopt.inference.formats import caller
from autoopt.inference.formats.base import Source
from autoopt.measure.target import LocalTarget
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload
from tests import tiny

for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
    pytest.importorskip(library)

HOST = Host("a cpu", "x86_64", 2, 8 << 30, ("avx2",), "Linux")
QUANTIZE: dict[str, Scalar] = {
    "scheme": "int8",
    "tool": "onnxruntime",
    "range_estimator": "minmax",
    "calibration_cases": 2,
    "activations": "u8",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def workload(home: Path) -> Workload:
    return load_workload(tiny.SOURCE, None, home)


@pytest.fixture(scope="module")
def weights(home: Path) -> Path:
    return tiny.weights(home / "tiny.safetensors")


@pytest.fixture(scope="module")
def maker(home: Path, workload: Workload, weights: Path) -> Iterator[Maker]:
    with Maker(workload, weights, Store(home / "store"), HOST) as maker:
        yield maker


def test_every_artifact_is_made_once(maker: Maker, home: Path, workload: Workload, weights: Path) -> None:
    """Three requests for two quantizations export twice and quantize twice; another maker only reuses."""
    maker.check()
    maker.made.clear()
    maker.reused.clear()
    openvino = maker.export("openvino", "f32")
    onnx = maker.export("onnx", "bf16")
    first = maker.step("quantize", QUANTIZE, onnx)
    other = maker.step("quantize", {**QUANTIZE, "activations": "s8"}, onnx)
    again = maker.step("quantize", QUANTIZE, onnx)
    assert first == again != other
    assert {"model.xml", "model.bin"} == set(openvino.files) and {"model.onnx"} == set(onnx.files)
    assert first.made_by["parent"] == onnx.key and first.report["quantized_layers"] == 2
    assert (maker.made, maker.reused) == ({"export": 2, "quantize": 2}, {"export": 1, "quantize": 1})
    with Maker(workload, weights, Store(home / "store"), HOST) as fresh:
        assert fresh.export("openvino").key == openvino.key
        assert fresh.step("quantize", QUANTIZE, onnx).key == first.key
        assert (fresh.made, fresh.reused) == ({}, {"export": 1, "quantize": 1})


def test_steps_on_the_network_follow_each_other(maker: Maker, workload: Workload) -> None:
    """A coarse network is pruned and quantized as it is: the graph answers whole tiles with less arithmetic."""
    training: dict[str, Scalar] = {"steps": 0, "batch": 2}
    coarse = maker.net("resolution", {"factor": 2, **training}, None)
    cut: dict[str, Scalar] = {
        "from": 0.0,
        "ratio": 0.5,
        "criterion": "l1",
        "allocation": "layer",
        "multiple": 1,
        "weights": "kept",
        **training,
    }
    pruned = maker.net("prune", cut, coarse)
    other = replace(workload.pipeline, overlap=0.125)  # how far tiles overlap is nothing that a network is trained for
    assert maker.net("resolution", {"factor": 2, **training}, None, other).key == coarse.key
    exported = maker.export("onnx", net=pruned)
    integers = maker.step("quantize", QUANTIZE, exported)
    assert pruned.made_by["parent"] == coarse.key and exported.made_by["parent"] == pruned.key
    assert caller(integers.path)(np.zeros(workload.pipeline.input_shape, np.float32)).shape == (1, 2, *tiny.TILE)
    rows, columns = tiny.TILE
    enlarging = 2 * rows * (columns // 2) * (rows // 2 + columns)  # the answer, by a product along each axis
    whole = coarse.report["macs_before"]
    assert [net.report["macs"] - enlarging for net in (coarse, pruned)] == [whole / 4, whole / 8]
    assert exported.report["cost"]["macs"] == pruned.report["macs"]


def test_what_was_begun_is_made_once(home: Path, workload: Workload, weights: Path) -> None:
    """An export that was begun ahead is made once and counted, also when something else is asked for first."""
    with Maker(workload, weights, Store(home / "begun"), HOST) as maker:
        maker.begin_export("fake")
        maker.begin_export("onnx")  # one at a time
        assert maker.export("fake").made_by["settings"]["format"] == "fake"
        assert (maker.made, maker.reused) == ({"export": 1}, {})
        maker.begin_export("onnx")
        assert maker.step("quantize", {"scheme": "int8"}, maker.export("fake")).report
        assert set(maker.export("onnx").files) == {"model.onnx"}
        maker.begin_export("onnx")
        assert maker.export("onnx") == maker.export("onnx")


def test_the_pipeline_is_fused_last(home: Path, weights: Path) -> None:
    """What the graph does of the pipeline changes no export and no quantization, and is put around each once."""
    workload = load_workload(tiny.PIXELS_SOURCE, None, home)
    inside = replace(workload.pipeline, in_graph="both")
    with Maker(workload, weights, Store(home / "store"), HOST) as maker:
        plain = maker.export("fake")
        quantized = maker.step("quantize", QUANTIZE, plain)
        maker.made.clear()
        assert maker.export("fake", pipeline=inside) == plain
        assert maker.step("quantize", QUANTIZE, plain, inside) == quantized
        assert maker.fuse_pre_post(plain, workload.pipeline) == plain
        fused = maker.fuse_pre_post(quantized, inside)
        assert maker.made == {"fuse_pre_post": 1}
        assert fused.made_by["parent"] == quantized.key
        assert maker.fuse_pre_post(quantized, inside) == fused != maker.fuse_pre_post(plain, inside)


def test_keys_change_with_what_matters_only(home: Path, workload: Workload, weights: Path) -> None:
    """Other data is another quantization but the same export; other weights or another pipeline are other exports."""

    def keys(workload: Workload, weights: Path) -> tuple[str, str]:
        with Maker(workload, weights, Store(home / "keys"), HOST) as maker:
            exported = maker.export("fake")
            return exported.key, maker.step("quantize", {"scheme": "int8"}, exported).key

    other_weights = home / "other.safetensors"
    other_weights.write_bytes(weights.read_bytes() + b" ")
    base = keys(workload, weights)
    other_data = keys(replace(workload, data_digest="other"), weights)
    assert keys(workload, weights) == base
    assert other_data[0] == base[0] and other_data[1] != base[1]
    assert keys(workload, other_weights)[0] != base[0]
    assert keys(replace(workload, pipeline=replace(workload.pipeline, scale=2.0)), weights)[0] != base[0]


def test_another_recipe_trains_another_network(home: Path, workload: Workload, weights: Path) -> None:
    """How a workload is trained is part of what is trained again, and of nothing else."""

    def keys(workload: Workload) -> tuple[str, str]:
        with Maker(workload, weights, Store(home / "recipes"), HOST) as maker:
            coarse = maker.net("resolution", {"factor": 2, "steps": 0, "batch": 2}, None)
            return coarse.key, maker.export("fake").key

    base, other = keys(workload), keys(replace(workload, recipe=replace(workload.recipe, learning_rate=0.5)))
    assert base[0] != other[0] and base[1] == other[1]


def test_a_call_is_timed_where_there_is_a_network(maker: Maker, workload: Workload) -> None:
    """What trainings will cost follows from a call of the network; a finished graph has none to train."""
    timed = maker.call_time()
    assert timed is not None and timed.wall_s > 0 and timed.cpu_s is not None
    assert _call_time(Source(workload.pipeline), workload, bf16=False) == {"seconds": None}


@pytest.mark.parametrize("bf16", [False, True])
def test_a_call_is_timed_in_the_arithmetic_of_trainings(workload: Workload, bf16: bool) -> None:
    """Where trainings compute in bfloat16 the calls do: in float32 they take several times as long on some CPUs."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Conv2d(tiny.CHANNELS, 2, 3, padding=1)
    seen = set()
    model.register_forward_hook(lambda module, given, answer: seen.add(answer.dtype))
    assert _call_time(Source(workload.pipeline, model), workload, bf16=bf16)["seconds"] > 0
    assert seen == {torch.bfloat16 if bf16 else torch.float32}


def test_what_is_made_says_what_others_took_of_the_cores(maker: Maker) -> None:
    """The seconds of an artifact are those of a busy host where others computed: the share stands beside them."""
    report = maker.export("onnx").report
    assert report["seconds"] > 0
    assert report["taken"] is None or 0 <= report["taken"] <= 1


def test_a_failure_is_remembered(maker: Maker) -> None:
    """What failed fails at once the second time, with the same cause, and counts as nothing made."""
    onnx = maker.export("onnx")
    bad = {**QUANTIZE, "ignored_layers": "name:nowhere"}
    made = dict(maker.made)
    with pytest.raises(Unsupported, match=r"^'name:nowhere' selects no layer") as first:
        maker.step("quantize", bad, onnx)
    with pytest.raises(Unsupported, match=r"^failed before: 'name:nowhere'") as second:
        maker.step("quantize", bad, onnx)
    assert (first.value.stage, second.value.stage) == ("quantize", "quantize")
    assert "Traceback" in second.value.log_tail
    assert dict(maker.made) == made


def test_layers_are_ranked_where_they_are_measured(home: Path, workload: Workload, weights: Path) -> None:
    """The ranking times layers in the maker process: for a target that is another host it is refused, not mistaken."""
    other = LocalTarget(replace(HOST, cpu="another cpu"), locks=home)
    with Maker(workload, weights, Store(home / "store"), HOST, target=other) as maker:
        source = maker.export("fake")
        with pytest.raises(Unsupported, match="keep_float must be 0 where another machine measures"):
            maker.ranking(source, None)


def test_weights_that_do_not_fit_are_a_usage_error(home: Path, workload: Workload) -> None:
    """The check in the child raises WeightsError in the parent, before any trial."""
    import torch
    from safetensors.torch import save_file

    path = home / "foreign.safetensors"
    save_file({"other.weight": torch.zeros(3)}, path)
    with Maker(workload, path, Store(home / "store"), HOST) as maker, pytest.raises(WeightsError):
        maker.check()


def test_a_maker_that_is_killed_while_it_loads_is_started_again(home: Path, workload: Workload, weights: Path) -> None:
    """A kill while it imports its libraries, and one while it loads the model, cost a search nothing but time."""
    with Maker(workload, weights, Store(home / "store"), HOST, child=(child := warm_child(HOST))) as maker:
        for begin in (lambda: None, maker.begin_check):
            begin()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            maker.check()


@pytest.mark.parametrize("limits_s", [{"export": 0.01}, {"make": 0.01}, {"make": 60.0, "export": 0.01}])
def test_a_stage_has_a_limit(home: Path, workload: Workload, weights: Path, limits_s: dict[str, float]) -> None:
    """A stage that takes longer than its limit fails that stage, and leaves no child and nothing half-written."""
    store = Store(home / f"slow-{len(limits_s)}-{min(limits_s)}")
    with Maker(workload, weights, store, HOST, timeout_s=limits_s) as maker:
        with pytest.raises(Timeout, match=r"export took longer than its limit of 0\.01 s"):
            maker.export("onnx")
        assert maker.made == {}
    assert list(store.artifacts()) == []


def test_an_altered_artifact_is_refused(home: Path, workload: Workload, weights: Path) -> None:
    """A file of the store that was changed since it was made is not used again."""
    store = Store(home / "altered")
    with Maker(workload, weights, store, HOST) as maker:
        path = maker.export("fake").path / "fake.json"
    os.chmod(path, 0o644)
    path.write_text('{"classes": 3}')
    with Maker(workload, weights, store, HOST) as maker, pytest.raises(StorageError, match="was altered"):
        maker.export("fake")


def test_a_workload_made_by_hand_is_refused(home: Path, weights: Path) -> None:
    """Without an origin the child could not load the workload again."""
    with pytest.raises(WorkloadError, match="must come from load_workload"):
        Maker(tiny.workload(), weights, Store(home / "store"), HOST)


def test_the_child_loads_a_workload_once(home: Path, workload: Workload, weights: Path) -> None:
    """Between jobs the child keeps the workload it has loaded."""
    assert workload.origin is not None
    jobs = Jobs()
    origin = {"source": workload.origin.source, "data": None, "home": workload.origin.home}
    assert jobs._workload(origin) is jobs._workload(dict(origin))


def test_it_begins_with_the_imports_of_the_network() -> None:
    """While the parent reads data the child imports what the network will need; what is not there is left for later."""
    name = "tests.extension.toy_metric"
    before = sys.modules.pop(name, None)
    try:
        assert Jobs().handlers()["warm"]({"imports": ["no.such.module", name]}) == {}
        assert name in sys.modules
    finally:
        if before is not None:
            sys.modules[name] = before


def test_ways_of_calling_a_graph_share_it(maker: Maker, workload: Workload) -> None:
    """Neither mirrored calls nor what is put back on the image change a graph: one artifact serves all of them."""
    called = replace(workload.pipeline, mirror=(0,), restore="labels")
    assert maker.export("onnx", "f32", called) == maker.export("onnx", "f32")
