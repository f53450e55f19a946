"""Parts of the pipeline inside the graph: it takes pixels and normalises them, and where asked to it also decides.

This is the last thing done to a graph, after all compression. So calibration, scales and kernels of the network are the
same with and without it, no quantizer ever sees the arithmetic of the pipeline, and one quantized graph serves both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from autoopt.errors import Numeric
from autoopt.inference import graphs
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.postprocess import largest_of

if TYPE_CHECKING:
    import torch

STAGE = "in_graph"
VERSION = 2
"""Raised when the code changes what it makes; part of the artifact's key."""
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "onnx": ("onnx",),
    "openvino": ("openvino",),
    "fake": (),
}
"""The packages whose versions change what is made, by format."""
TOLERANCE = 1e-3
"""The largest error of logits that is let through: root mean square, as a fraction of theirs."""
MOST_OTHER_LABELS = 1e-3
"""The largest share of voxels with another label: only where two logits are all but equal may rounding decide."""
SMALLEST_SIZE = 1e-6
"""An answer of zeros has no size to compare an error with."""
FLOAT, UINT8 = 1, 2
"""What ONNX calls these types (`onnx.TensorProto`)."""
INLINE_LIMIT_BYTES = 1_500_000_000
"""Above this an ONNX model keeps its weights in a second file: one protobuf message ends at 2 GB."""


def fuse_pre_post(source: Path, pipeline: Pipeline, pixels: np.ndarray, folder: Path) -> dict[str, Any]:
    """Write the graph in `source` with what `pipeline.in_graph` names inside it to `folder`.

    `pixels` is a tile to check it with, uint8 (1, *tile, channels). The report tells how far its answers are from those
    with the pipeline outside. Raises Numeric when they are too far.
    """
    began = time.perf_counter()
    graph_format = graphs.format_of(source)
    if graph_format == "fake":
        content = json.loads((source / graphs.FILES["fake"]).read_text())
        (folder / graphs.FILES["fake"]).write_text(json.dumps({**content, "pipeline": pipeline.to_json()}))
        return {"format": graph_format}
    {"torch": _torch, "onnx": _onnx, "openvino": _openvino}[graph_format](source, pipeline, folder)
    return {
        "format": graph_format,
        **check(source, folder, pipeline, pixels),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "seconds": time.perf_counter() - began,
    }


def check(source: Path, folder: Path, pipeline: Pipeline, pixels: np.ndarray) -> dict[str, dict[str, float]]:
    """How far the graph in `folder` is from the one in `source` with the pipeline around it, on noise and on `pixels`.

    The error of logits as a fraction of theirs, or the share of other labels. Raises Numeric when it is too large.
    """
    inside, outside = graphs.caller(folder), graphs.caller(source)
    unit = "in the share of its labels" if pipeline.gives_labels else "as a fraction of its logits"

    def answer(values: np.ndarray) -> np.ndarray:
        logits = outside(values)
        return np.stack([largest_of(item) for item in logits]) if pipeline.gives_labels else logits

    noise = np.random.default_rng(0).integers(0, 256, size=pixels.shape, dtype=np.uint8)
    found = {}
    for name, batch in {"noise": noise, "case": pixels}.items():
        values = np.stack([pipeline.normalise(image) for image in batch])
        expected, got = answer(values), inside(batch)
        if got.shape != expected.shape or got.dtype != expected.dtype:
            wanted = f"{expected.dtype} of shape {expected.shape}"
            raise Numeric(f"the graph must answer with {wanted}, it gives {got.dtype} of shape {got.shape}")
        found[name] = _difference(got, expected)
        limit = MOST_OTHER_LABELS if pipeline.gives_labels else TOLERANCE
        if found[name] > limit:
            # Where pixels lie on the border between two integers of a quantizer, the last bit of a float decides.
            limit += sum(_difference(answer(np.nextafter(values, side)), expected) for side in (-np.inf, np.inf))
        if not found[name] <= limit:  # also when it is NaN
            raise Numeric(
                f"the graph with the pipeline inside differs by {found[name]:.3g} {unit} on {name} from the one with "
                f"it around (at most {limit:.3g} is let through)"
            )
    return {"other_labels" if pipeline.gives_labels else "errors": found}


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    """The share of other labels, or of logits the root mean square of their error over theirs."""
    if got.dtype == np.uint8:
        return float(np.mean(got != expected))
    error, size = (float(np.sqrt(np.mean(np.square(item, dtype=np.float64)))) for item in (got - expected, expected))
    return error / max(size, SMALLEST_SIZE)


class _Operations(Protocol):
    """What is put around a network, in the words of one format; a value is whatever that format calls one."""

    def turned(self, value: Any, order: list[int]) -> Any:
        """The axes in another order."""

    def floats(self, value: Any) -> Any:
        """float32."""

    def times(self, value: Any, factor: np.ndarray) -> Any:
        """The product."""

    def plus(self, value: Any, term: np.ndarray) -> Any:
        """The sum."""

    def plane(self, value: Any, index: int) -> Any:
        """(1, *tile) of (1, classes, *tile)."""

    def higher(self, value: Any, other: Any) -> Any:
        """Where `value` is larger."""

    def largest(self, value: Any, other: Any) -> Any:
        """The larger one."""

    def labelled(self, where: Any, label: int, others: Any | None) -> Any:
        """uint8 `label` in those places, `others` (0 without) elsewhere."""


def _normalised(ops: _Operations, pixels: Any, pipeline: Pipeline) -> Any:
    """float32 (1, channels, *tile) of uint8 (1, *tile, channels): (pixel / scale - mean) / std as factor and shift."""
    shape, last = (1, -1, *[1] * len(pipeline.tile)), len(pipeline.tile) + 1
    mean, std = np.asarray(pipeline.mean, np.float64), np.asarray(pipeline.std, np.float64)
    factor, shift = (item.reshape(shape).astype(np.float32) for item in (1 / (pipeline.scale * std), -mean / std))
    floats = ops.floats(ops.turned(pixels, [0, last, *range(1, last)]))
    return ops.plus(ops.times(floats, factor), shift)


def _decided(ops: _Operations, logits: Any, classes: int) -> Any:
    """uint8 (1, *tile) labels of logits (1, classes, *tile), as `answers.largest_of` finds them."""
    # Element by element, which runtimes fuse: their own search for the largest takes as long as a small network.
    best, labels = ops.plane(logits, 0), None
    for label in range(1, classes):
        plane = ops.plane(logits, label)
        labels = ops.labelled(ops.higher(plane, best), label, labels)
        if label + 1 < classes:  # else nobody would read it, and runtimes calculate it all the same
            best = ops.largest(plane, best)
    return labels


class _TorchOperations:
    """Values are tensors."""

    def turned(self, value: torch.Tensor, order: list[int]) -> torch.Tensor:
        return value.permute(order).contiguous()  # as without: other strides would run other kernels

    def floats(self, value: torch.Tensor) -> torch.Tensor:
        return value.float()

    def times(self, value: torch.Tensor, factor: np.ndarray) -> torch.Tensor:
        return value * value.new_tensor(factor)

    def plus(self, value: torch.Tensor, term: np.ndarray) -> torch.Tensor:
        return value + value.new_tensor(term)

    def plane(self, value: torch.Tensor, index: int) -> torch.Tensor:
        return value[:, index]

    def higher(self, value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return value > other

    def largest(self, value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return value.maximum(other)

    def labelled(self, where: torch.Tensor, label: int, others: torch.Tensor | None) -> torch.Tensor:
        return where.byte() if others is None else others.masked_fill(where, label)


def _torch(source: Path, pipeline: Pipeline, folder: Path) -> None:
    import torch

    network, ops = torch.export.load(source / graphs.FILES["torch"]).module(), _TorchOperations()

    class Fused(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(_normalised(ops, pixels, pipeline))
            return _decided(ops, logits, pipeline.classes) if pipeline.gives_labels else logits

    example = torch.zeros(pipeline.input_shape, dtype=torch.uint8)
    program = torch.export.export(Fused(), (example,), strict=False)
    torch.export.save(program, folder / graphs.FILES["torch"])


class _OnnxOperations:
    """Values are names of tensors; `nodes` and `constants` are what was made of them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def turned(self, value: str, order: list[int]) -> str:
        return self._node("Transpose", value, perm=order)

    def floats(self, value: str) -> str:
        return self._node("Cast", value, to=FLOAT)

    def times(self, value: str, factor: np.ndarray) -> str:
        return self._node("Mul", value, factor)

    def plus(self, value: str, term: np.ndarray) -> str:
        return self._node("Add", value, term)

    def plane(self, value: str, index: int) -> str:
        return self._node("Gather", value, np.int64(index), axis=1)

    def higher(self, value: str, other: str) -> str:
        return self._node("Greater", value, other)

    def largest(self, value: str, other: str) -> str:
        return self._node("Max", value, other)

    def labelled(self, where: str, label: int, others: str | None) -> str:
        if others is None:
            return self._node("Cast", where, to=UINT8)
        return self._node("Where", where, np.uint8(label), others)

    def _node(self, kind: str, *inputs: str | np.ndarray | np.generic, **attributes: Any) -> str:
        from onnx import helper, numpy_helper

        name, names = f"{STAGE}/{kind}-{len(self.nodes)}", []
        for item in inputs:
            if not isinstance(item, str):
                self.constants.append(numpy_helper.from_array(np.asarray(item), f"{name}/constant"))
            names.append(item if isinstance(item, str) else f"{name}/constant")
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name


def _onnx(source: Path, pipeline: Pipeline, folder: Path) -> None:
    import onnx
    from onnx import helper

    model, ops, pixels = onnx.load(source / graphs.FILES["onnx"]), _OnnxOperations(), f"{STAGE}/pixels"
    graph = model.graph
    _normalised(ops, pixels, pipeline)
    ops.nodes[-1].output[0] = graph.input[0].name
    before = len(ops.nodes)
    graph.input[0].CopyFrom(helper.make_tensor_value_info(pixels, UINT8, pipeline.input_shape))
    if pipeline.gives_labels:
        labels = _decided(ops, graph.output[0].name, pipeline.classes)
        graph.output[0].CopyFrom(helper.make_tensor_value_info(labels, UINT8, pipeline.output_shape))
    nodes = [*ops.nodes[:before], *graph.node, *ops.nodes[before:]]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(ops.constants)
    onnx.save(model, folder / graphs.FILES["onnx"], save_as_external_data=model.ByteSize() > INLINE_LIMIT_BYTES)


class _OpenVinoOperations:
    """Values are nodes."""

    def __init__(self) -> None:
        from openvino import opset13

        self._opset, self._count = opset13, 0

    def turned(self, value: Any, order: list[int]) -> Any:
        return self._node("transpose", value, np.asarray(order))

    def floats(self, value: Any) -> Any:
        return self._node("convert", value, destination_type="f32")

    def times(self, value: Any, factor: np.ndarray) -> Any:
        return self._node("multiply", value, factor)

    def plus(self, value: Any, term: np.ndarray) -> Any:
        return self._node("add", value, term)

    def plane(self, value: Any, index: int) -> Any:
        return self._node("gather", value, np.int64(index), np.int64(1))

    def higher(self, value: Any, other: Any) -> Any:
        return self._node("greater", value, other)

    def largest(self, value: Any, other: Any) -> Any:
        return self._node("maximum", value, other)

    def labelled(self, where: Any, label: int, others: Any | None) -> Any:
        if others is None:
            return self._node("convert", where, destination_type="u8")
        return self._node("select", where, np.uint8(label), others)

    def _node(self, kind: str, *inputs: Any, **attributes: Any) -> Any:
        name = f"{STAGE}/{kind}-{self._count}"
        self._count += 1
        given = [
            self._opset.constant(item, name=f"{name}/constant-{index}")
            if isinstance(item, np.ndarray | np.generic)
            else item
            for index, item in enumerate(inputs)
        ]
        return getattr(self._opset, kind)(*given, **attributes, name=name)


def _openvino(source: Path, pipeline: Pipeline, folder: Path) -> None:
    import openvino
    from openvino import opset13

    model, ops = openvino.Core().read_model(source / graphs.FILES["openvino"]), _OpenVinoOperations()
    (network,), (result,) = model.get_parameters(), model.get_results()
    pixels = opset13.parameter(list(pipeline.input_shape), np.uint8, name=f"{STAGE}/pixels")
    network.output(0).replace(_normalised(ops, pixels, pipeline).output(0))
    model.add_parameters([pixels])
    model.remove_parameter(network)
    if pipeline.gives_labels:
        labels = _decided(ops, result.input_value(0), pipeline.classes)
        model.add_results([opset13.result(labels, name=f"{STAGE}/labels")])
        model.remove_result(result)
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, folder / graphs.FILES["openvino"], compress_to_fp16=False)
