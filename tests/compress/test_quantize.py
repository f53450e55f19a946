"""Step `quantize`: what has an effect where, what is calibrated on, what comes out."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.compress import quantize
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.store import Artifact, Store
from autoopt.errors import BadData, Numeric, Unsupported
from autoopt.inference.formats import caller
from autoopt.inference.formats.base import Source
from autoopt.workloads.contract import Case, Sample, Workload
from tests import tiny


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(library)
    return tiny.exported(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize(
    ("settings", "runtime", "expected"),
    [
        ({}, "torch", None),
        ({"scheme": None}, "openvino", None),
        (
            {"tool": "onnxruntime", "activations": "s8"},
            "openvino",
            {"tool": "nncf", "activations": None, "preset": "performance"},
        ),
        (
            {"tool": "onnxruntime", "preset": "mixed"},
            "onnxruntime",
            {"preset": None, "bias_correction": None, "activations": "u8"},
        ),
        ({"tool": "onnxruntime", "range_estimator": "histogram"}, "onnxruntime", {"range_estimator": "minmax"}),
        ({"tool": "nncf", "range_estimator": "entropy"}, "onnxruntime", {"range_estimator": "default"}),
        ({"ignored_layers": " b , a,b"}, "openvino", {"ignored_layers": "name:a,name:b"}),
        ({"ignored_layers": " "}, "fake", {"ignored_layers": None, "activations": "u8"}),
        ({"scheme": "int4-weights", "preset": "mixed"}, "openvino", {"scheme": "int4-weights", "preset": None}),
        ({"scheme": "int8-weights"}, "onnxruntime", None),
        ({"smooth_quant": 0.5, "tool": "onnxruntime"}, "onnxruntime", {"smooth_quant": None}),
        (
            {"scheme": "int8-qat", "preset": "mixed", "range_estimator": "quantile"},
            "openvino",
            {"scheme": "int8-qat", "preset": "mixed", "range_estimator": None, "qat_steps": 120},
        ),
        ({"scheme": "int8", "qat_steps": 7}, "onnxruntime", {"qat_steps": None}),
        ({"scheme": "int8-qat"}, "torch", None),
    ],
)
def test_canonical_keeps_what_the_tool_has(
    settings: Mapping[str, Scalar], runtime: str, expected: Mapping[str, Scalar] | None, host: Host
) -> None:
    """A setting that the runtime or the tool does not have is dropped or becomes the one it means."""
    form = quantize.canonical(settings, {"name": runtime}, host)
    if expected is None or form is None:
        assert form is expected
    else:
        assert {key: form.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("arch", "isa", "bits"),
    [
        ("x86_64", ("avx2",), 7),
        ("x86_64", ("avx2", "avx_vnni"), 8),
        ("x86_64", ("avx512f", "amx_int8"), 8),
        ("aarch64", (), 8),
    ],
)
def test_weights_leave_room_where_sums_overflow(arch: str, isa: tuple[str, ...], bits: int, host: Host) -> None:
    """Without VNNI an x86-64 kernel saturates on eight-bit weights: `auto` takes seven bits there only."""
    form = quantize.canonical({}, {"name": "openvino"}, replace(host, arch=arch, isa=isa))
    assert form is not None and form["weight_bits"] == bits


@pytest.mark.parametrize(
    ("graph_format", "settings"),
    [
        ("openvino", {"preset": "mixed", "bias_correction": "full", "range_estimator": "quantile"}),
        ("openvino", {"bias_correction": "none", "range_estimator": "histogram"}),
        ("onnx", {"tool": "nncf", "bias_correction": "fast", "range_estimator": "median_minmax"}),
        ("onnx", {"tool": "onnxruntime", "range_estimator": "mean_minmax"}),
        ("onnx", {"tool": "onnxruntime", "range_estimator": "entropy", "activations": "s8"}),
        ("onnx", {"tool": "onnxruntime", "range_estimator": "quantile", "weight_bits": 7}),
    ],
)
def test_every_layer_is_quantized_and_little_is_lost(
    graph_format: str, settings: dict[str, Scalar], sources: dict[str, Artifact], tmp_path: Path
) -> None:
    """Both layers get integers, the report counts them, and the answers stay near those in float."""
    report = quantize.apply({**settings, "calibration_cases": 2}, sources[graph_format], tiny.workload(), tmp_path)
    assert report["quantized_layers"] == report["layers"] == 2
    assert report["quantizers"] >= 2
    assert report["calibration_cases"] == 2
    assert report["sqnr_db"] > 20
    tile = np.random.default_rng(9).standard_normal(tiny.PIPELINE.input_shape, dtype=np.float32)
    agree = caller(sources[graph_format].path)(tile).argmax(1) == caller(tmp_path)(tile).argmax(1)
    assert agree.mean() > 0.95


@pytest.mark.parametrize(("graph_format", "tool"), [("openvino", "nncf"), ("onnx", "nncf"), ("onnx", "onnxruntime")])
def test_ignored_layers_stay_in_float(
    graph_format: str, tool: str, sources: dict[str, Artifact], tmp_path: Path
) -> None:
    """One selector means the same layer in both formats and for both tools."""
    settings: dict[str, Scalar] = {"tool": tool, "calibration_cases": 2, "ignored_layers": "head"}
    report = quantize.apply(settings, sources[graph_format], tiny.workload(), tmp_path)
    assert report["quantized_layers"] == 1
    assert any(name.startswith("head/Conv") for name in report["ignored"])


def test_all_layers_ignored_is_the_float_model(sources: dict[str, Artifact], tmp_path: Path) -> None:
    """With nothing left to quantize the answers are those of the source, and the report says so."""
    report = quantize.apply({"ignored_layers": "pattern:.*"}, sources["openvino"], tiny.workload(), tmp_path)
    assert (report["quantized_layers"], report["max_error"], report["sqnr_db"]) == (0, 0.0, None)


def test_a_selector_without_a_layer_fails_before_calibration(sources: dict[str, Artifact], tmp_path: Path) -> None:
    """A misspelt layer is refused by name and nothing is written."""
    with pytest.raises(Unsupported, match=r"'name:hed/Conv' selects no layer.*head/Conv, stem/Conv"):
        quantize.apply({"ignored_layers": "hed/Conv"}, sources["onnx"], tiny.workload(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_fake_format_is_copied(sources: dict[str, Artifact], tmp_path: Path) -> None:
    """The fake runtime has nothing to quantize: its file goes on as it is."""
    quantize.apply({"scheme": "int8"}, sources["fake"], tiny.workload(), tmp_path)
    assert (tmp_path / "fake.json").read_bytes() == (sources["fake"].path / "fake.json").read_bytes()


def test_calibration_sees_calibration_cases_only() -> None:
    """The tiles come from the calibration split alone, one a case, then all others; more extend fewer, none twice."""
    seen: list[str] = []

    def watched(case: Case, allowed: bool) -> Case:
        def read() -> Sample:
            assert allowed, f"{case.id} must not be read"
            seen.append(case.id)
            return case.read()

        return replace(case, read=read)

    workload = tiny.workload()
    watched_splits = {
        name: tuple(watched(case, name == "calibration") for case in workload.splits[name])
        for name in ("train", "calibration", "val", "test")
    }
    workload = replace(workload, splits=replace(workload.splits, **watched_splits))
    few, all_of_them = quantize.calibration_tiles(workload, 2), quantize.calibration_tiles(workload, 300)
    tiles = [len(workload.pipeline.prepare(case.read().image)[0]) for case in workload.splits.calibration]
    assert len(few) == 2 and len(all_of_them) == sum(tiles) == len({tile.tobytes() for tile in all_of_them})
    assert all(tile.shape == workload.pipeline.input_shape and tile.dtype == np.float32 for tile in all_of_them)
    assert all(np.array_equal(a, b) for a, b in zip(few, all_of_them, strict=False))
    assert set(seen) == {case.id for case in workload.splits.calibration}


def test_a_case_that_cannot_be_prepared_is_named() -> None:
    """A calibration image with NaN is refused by its id."""
    workload = tiny.workload()
    bad = replace(workload.splits.calibration[0], read=lambda: Sample(np.full((16, 16, 3), np.nan), np.zeros((16, 16))))
    workload = replace(workload, splits=replace(workload.splits, calibration=(bad,)))
    with pytest.raises(BadData, match=f"calibration case {bad.id} cannot be used"):
        quantize.calibration_tiles(workload, 1)


def test_an_answer_that_is_not_finite_fails(tmp_path: Path) -> None:
    """A quantized graph that answers with NaN is never used."""
    answers = iter((np.ones((1, 2, 4, 4)), np.full((1, 2, 4, 4), np.nan)))
    with pytest.raises(Numeric, match="finite numbers, 32 are not"):
        quantize.difference(
            tmp_path,
            tmp_path,
            np.zeros(tiny.PIPELINE.input_shape, np.float32),
            reader=lambda folder: lambda tile: next(answers),
        )


def test_nncf_does_not_phone_home() -> None:
    """Where nobody has set anything, NNCF gets its telemetry switched off before it is imported."""
    pytest.importorskip("nncf")
    code = (
        "from autoopt.compress import quantize_nncf as q\n"
        "try: q.quantized(object(), {}, [], [], False)\n"
        "except Exception: pass\n"
        "from nncf.telemetry.wrapper import telemetry; print(type(telemetry).__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NNCF", "PYTEST"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    # What NNCF puts in the place of its telemetry is a stub that swallows every call.
    assert done.stdout.splitlines()[-1] in ("NNCFTelemetryStub", "MagicMock")


def test_weights_alone_become_integers(sources: dict[str, Artifact], tmp_path: Path) -> None:
    """With int8-weights no activation is quantized and the answers stay near; what cannot be had is refused by name."""
    source, folder = sources["openvino"], tmp_path / "made"
    folder.mkdir()
    report = quantize.apply({"scheme": "int8-weights"}, source, tiny.workload(), folder)
    assert report["compressed_weights"] >= 2 and report["sqnr_db"] > 30
    assert "FakeQuantize" not in (folder / "model.xml").read_text()
    with pytest.raises(Unsupported, match="int4-weights must find layers"):  # a convolution has none
        quantize.apply({"scheme": "int4-weights"}, source, tiny.workload(), folder)
    with pytest.raises(Unsupported, match="int8-weights must be given a graph of openvino, got onnx"):
        quantize.apply({"scheme": "int8-weights"}, sources["onnx"], tiny.workload(), folder)


def test_networks_that_attend_have_their_own_settings(sources: dict[str, Artifact], tmp_path: Path) -> None:
    """Four-bit weights and SmoothQuant do something where there is attention, and are refused where there is none."""
    import torch

    from autoopt.compress import quantize_nncf
    from autoopt.workloads.networks import attention

    pytest.importorskip("monai")
    torch.manual_seed(0)
    made = {name: tmp_path / name for name in ("float", "four", "smooth", "plain")}
    for folder in made.values():
        folder.mkdir()
    net = attention.vit(3, 2, (32, 32)).eval()
    program = torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "vit.onnx")
    _to_openvino(tmp_path / "vit.onnx", made["float"])
    report = quantize_nncf.quantize(
        {"scheme": "int4-weights"}, "openvino", made["float"], [], made["four"], tiny.workload()
    )
    assert report["compressed_weights"] > 10
    assert (made["four"] / "model.bin").stat().st_size < 0.4 * (made["float"] / "model.bin").stat().st_size

    tiles = [np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)]
    settings: dict[str, Scalar] = {"weight_bits": 8}
    nncf = partial(quantize_nncf.quantize, format_name="openvino", tiles=tiles, workload=tiny.workload())
    nncf(settings, source=made["float"], folder=made["plain"])
    nncf({**settings, "smooth_quant": 0.3}, source=made["float"], folder=made["smooth"])
    answers = [caller(made[name])(tiles[0]) for name in ("float", "plain", "smooth")]
    assert not np.array_equal(answers[1], answers[2])
    assert np.abs(answers[2] - answers[0]).max() < 0.5
    with pytest.raises(Unsupported, match="does not attend"):
        nncf({"smooth_quant": 0.3}, source=sources["openvino"].path, folder=made["plain"])


def _to_openvino(file: Path, folder: Path) -> None:
    import openvino

    openvino.save_model(openvino.Core().read_model(file), folder / "model.xml", compress_to_fp16=False)


def test_calibration_sees_no_tile_twice_for_its_mirrors() -> None:
    """Mirrored calls show a quantizer nothing new: the calibration tiles are those of the pipeline without them."""
    plain = tiny.workload()
    mirrored = replace(plain, pipeline=replace(plain.pipeline, mirror=(0, 1)))
    for one, other in zip(quantize.calibration_tiles(plain, 40), quantize.calibration_tiles(mirrored, 40), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_that_is_trained_for_integers_recovers_what_plain_ones_lose(host: Host, tmp_path: Path) -> None:
    """Of what INT8 loses where one channel has a range of its own, int8-qat gets back more than half."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("nncf")
    from autoopt.compress import recover
    from autoopt.compress.export import load_source
    from autoopt.nets.files import read_net, write_net

    workload = tiny.workload()
    whole = read_net(workload, tiny.weights(tmp_path / "w.safetensors"))
    with torch.no_grad():  # a channel that hardly counts, and sets the size of the steps of all others
        whole.get_submodule("norm").weight[2] = 300.0
        whole.get_submodule("head").weight[:, 2] /= 3000.0
    tiles = np.concatenate([workload.pipeline.prepare(case.read().image)[0] for case in workload.splits.val])
    expected = whole(torch.from_numpy(tiles)).numpy().argmax(1)

    def lost(name: str, network: torch.nn.Module, settings: Mapping[str, Scalar]) -> float:
        """The share of pixels that the quantized graph of a network labels otherwise than `whole`."""
        net, made, answers = (tmp_path / f"{name}-{kind}" for kind in ("net", "int8", "float"))
        for folder in (net, made):
            folder.mkdir()
        write_net(network, net)
        found, store = load_source(workload, tmp_path / "w.safetensors", net), Store(answers)
        onnx = store.put("model", "onnx", {}, partial(_graph, "onnx", workload, found, None))
        graph = store.put("model", "openvino", {}, partial(_graph, "openvino", workload, found, onnx.path))
        quantize.apply(settings, graph, workload, made)
        answer = caller(made)
        return float(np.mean([answer(tile[None]).argmax(1)[0] for tile in tiles] != expected))

    plain, trained = (
        quantize.canonical({"scheme": scheme, "qat_steps": 60, "training_precision": "f32"}, {"name": "openvino"}, host)
        for scheme in ("int8", "int8-qat")
    )
    assert plain is not None and trained is not None
    training = quantize.training(trained)
    assert quantize.training(plain) is None and training is not None
    before = lost("int8", whole, plain)
    changed = recover.change({**training, "batch": 4}, copy.deepcopy(whole), whole, workload)
    assert changed.report["recovery"]["clipped_layers"] == 2
    after = lost("int8-qat", changed.model, trained)
    assert before > 0.03 and after < before / 2


def _graph(name: str, workload: Workload, source: Source, parent: Path | None, folder: Path) -> Mapping[str, Any]:
    from autoopt.compress.export import export

    return export(name, "f32", workload, folder, folder, source=source, parent=parent)
