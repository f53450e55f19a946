"""Exports answer as the model does, under stable names, or are refused."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.compress.export import TOLERANCE, check, export, load_source
from autoopt.core.store import file_digest
from autoopt.errors import BadData, Numeric, Unsupported, WeightsError, WorkloadError
from autoopt.inference.formats import caller, graph_format
from autoopt.inference.formats.base import Source
from autoopt.workloads.contract import Sample
from tests import tiny

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
openvino = pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")


ROUNDING = {"f32": 1e-3, "bf16": 5e-2}
"""What a shallow network loses."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def source(weights: Path) -> Source:
    return load_source(tiny.workload(), weights)


class Branches(torch.nn.Module):  # type: ignore[misc, name-defined]
    """What real nets have: a skip, an upsampling convolution without and with bias, a norm that cannot be folded."""

    def __init__(self) -> None:
        super().__init__()
        block = [
            ("conv", torch.nn.Conv2d(3, 8, 3, padding=1)),
            ("norm", torch.nn.BatchNorm2d(8)),
            ("act", torch.nn.LeakyReLU()),
        ]
        self.enc = torch.nn.Sequential(OrderedDict(block))
        self.pool = torch.nn.MaxPool2d(2)
        self.up = torch.nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.bare = torch.nn.ConvTranspose2d(8, 4, 1, bias=False)
        self.norm = torch.nn.InstanceNorm2d(4, affine=True)
        self.head = torch.nn.Conv2d(12, 2, 1)

    def forward(self, image: Any) -> Any:
        skip = self.enc(image)
        deep = self.norm(self.bare(self.up(self.pool(skip))))
        return self.head(torch.cat([torch.cat([skip, deep], 1)[:, :8], deep], 1))


@pytest.fixture(scope="module")
def branches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The net of branches as ONNX and, twice in one process, as OpenVINO files."""
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("branches")
    torch.manual_seed(0)
    save_file(Branches().state_dict(), root / "w.safetensors")
    workload = replace(tiny.workload(), build=Branches)
    source = load_source(workload, root / "w.safetensors")
    folders = {name: root / name for name in ("onnx", "onnx_again", "openvino", "openvino_again")}
    for name, folder in folders.items():
        folder.mkdir()
        export(
            name.split("_")[0],
            "f32",
            workload,
            root / "w.safetensors",
            folder,
            source=source,
            parent=folders["onnx"],
        )
    return folders


@pytest.mark.parametrize(
    ("graph_format", "precision"), [("torch", "f32"), ("torch", "bf16"), ("onnx", "f32"), ("openvino", "f32")]
)
def test_the_file_answers_as_the_model(
    graph_format: str, precision: str, weights: Path, source: Source, tmp_path: Path
) -> None:
    """Every format gives the model's answer to noise and to a real tile, in float32, and reports its error."""
    report = export(graph_format, precision, tiny.workload(), weights, tmp_path, source=source)
    assert report["precision"] == precision
    assert set(report["errors"]) == {"noise", "case"}
    assert report["max_error"] <= ROUNDING[precision]
    assert report["parameters"] == sum(p.numel() for p in tiny.build().parameters())
    answer = caller(tmp_path)(source.batches["case"])
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, source.answers["case"], atol=ROUNDING[precision] * 10)


@pytest.mark.parametrize(
    ("share", "precision", "passes"), [(0.06, "bf16", True), (0.5, "bf16", False), (0.06, "f32", False)]
)
def test_the_roundings_of_a_deep_network_are_no_wrong_export(
    share: float, precision: str, passes: bool, source: Source, tmp_path: Path
) -> None:
    """In bfloat16 an error as deep networks have it is let through, and none of half the answer; in float32 neither."""
    answers = {batch.tobytes(): source.answers[name] for name, batch in source.batches.items()}

    def off(batch: np.ndarray) -> np.ndarray:
        expected = answers[batch.tobytes()]
        signs = np.where(np.random.default_rng(0).random(expected.shape) < 0.5, -1.0, 1.0)
        return expected + share * signs * np.sqrt(np.mean(expected**2))

    if passes:
        found = check(source, tmp_path, TOLERANCE[precision], reader=lambda folder: off)
        assert found["noise"] == pytest.approx(share)
    else:
        with pytest.raises(Numeric, match="differs from the model"):
            check(source, tmp_path, TOLERANCE[precision], reader=lambda folder: off)


def test_bfloat16_halves_the_weights(source: Source, weights: Path, tmp_path: Path) -> None:
    """The bf16 file of torch really holds bfloat16 weights, and the loaded model is left in float32."""
    export("torch", "bf16", tiny.workload(), weights, tmp_path, source=source)
    program = torch.export.load(tmp_path / "model.pt2")
    assert {value.dtype for value in program.state_dict.values() if value.is_floating_point()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in source.model.parameters()} == {torch.float32}


def test_fake_needs_no_model(tmp_path: Path) -> None:
    """The fake format only tells the number of classes; neither weights nor torch are touched."""
    export("fake", "f32", tiny.workload(), tmp_path / "missing", tmp_path)
    assert json.loads((tmp_path / "fake.json").read_text()) == {"classes": 2, "task": "segmentation"}


def test_an_unknown_format_is_refused(source: Source, weights: Path, tmp_path: Path) -> None:
    """A format that nothing here can write is named beside those that can be written."""
    with pytest.raises(Unsupported, match="one of torch, onnx, openvino, fake, got 'tflite'"):
        export("tflite", "f32", tiny.workload(), weights, tmp_path, source=source)


def test_layers_have_the_names_of_their_modules_in_both_formats(branches: dict[str, Path]) -> None:
    """A layer with weights is called MODULE/OPERATION in the ONNX and in the OpenVINO file; batch norm is folded."""
    expected = {"enc.conv/Conv", "up/ConvTranspose", "bare/ConvTranspose", "head/Conv"}
    in_onnx, in_openvino = (graph_format(name).layers(branches[name]) for name in ("onnx", "openvino"))
    for nodes in (in_onnx, in_openvino):
        weighted = {node.aliases[0] for node in nodes if node.types[0] in ("Conv", "ConvTranspose")}
        assert weighted == expected
    assert {"enc.act/LeakyRelu", "pool/MaxPool", "norm/InstanceNormalization", "Concat", "Concat-2"} <= {
        n.names[0] for n in in_onnx
    }
    assert not any("BatchNormalization" in node.types for node in in_onnx)


def test_exports_of_one_model_are_bit_identical(branches: dict[str, Path]) -> None:
    """No running number, time or path of the exporting process gets into the files."""
    for name in ("onnx", "openvino"):
        once, again = ({p.name: file_digest(p) for p in branches[f"{name}{x}"].iterdir()} for x in ("", "_again"))
        assert once == again
    assert str(Path(__file__).parent).encode() not in (branches["onnx"] / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda expected: expected + 0.5, r"differs from the model by 0\.\d+ of the output's magnitude on noise"),
        (lambda expected: expected * np.nan, r"differs from the model by nan"),
        (lambda expected: expected[:, :1], r"must answer with shape \(1, 2, 16, 16\).*gives \(1, 1, 16, 16\)"),
    ],
)
def test_a_wrong_export_fails_with_the_size_of_its_error(
    answer: Callable[[np.ndarray], np.ndarray], message: str, source: Source, tmp_path: Path
) -> None:
    """An export that is off, not a number or of another shape is refused before anything is measured."""
    with pytest.raises(Numeric, match=message):
        check(source, tmp_path, TOLERANCE["f32"], reader=lambda folder: lambda batch: answer(source.answers["noise"]))


def test_a_size_that_the_model_refuses_is_unsupported(weights: Path) -> None:
    """A network that raises for the size of a tile is no crash: the trial says what it cannot take."""

    class Picky(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            raise ValueError("sizes must be multiples of 32")

    def build() -> torch.nn.Module:
        model = tiny.build()
        model.add_module("picky", Picky())
        return model

    picky = replace(tiny.workload(), build=build)
    with pytest.raises(Unsupported, match=r"\(1, 3, 16, 16\): sizes must be multiples"):
        load_source(picky, weights)


def test_a_model_that_cannot_be_used_is_named(weights: Path, tmp_path: Path) -> None:
    """A model of another shape, one that cannot be built, foreign weights and a bad case each have their own error."""
    workload = tiny.workload()

    def fails() -> None:
        raise RuntimeError("no such layer")

    with pytest.raises(WorkloadError, match="tiny cannot be built: RuntimeError: no such layer"):
        load_source(replace(workload, build=fails), weights)  # type: ignore[arg-type]
    wide = replace(workload, pipeline=replace(workload.pipeline, classes=3))
    with pytest.raises(WorkloadError, match=r"one tensor of shape \(1, 3, 16, 16\), it answered with \(1, 2, 16, 16\)"):
        load_source(wide, weights)
    with pytest.raises(WeightsError):
        load_source(replace(workload, build=lambda: torch.nn.Conv2d(3, 2, 1)), weights)
    bad = replace(workload.splits.train[0], read=lambda: Sample(np.zeros((16, 16, 4)), np.zeros((16, 16))))
    with pytest.raises(BadData, match=f"case {bad.id} cannot be used"):
        load_source(replace(workload, splits=replace(workload.splits, train=(bad,))), weights)
