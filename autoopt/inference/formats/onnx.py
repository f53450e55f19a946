"""ONNX graphs: model.onnx, written by PyTorch's exporter or brought as a finished file."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import Unsupported
from autoopt.inference.formats import attention, openvino_cost
from autoopt.inference.formats.base import Call, Source
from autoopt.inference.formats.finished_onnx import caller, prepared, raised
from autoopt.inference.formats.fused_pipeline import PREFIX, decided, normalised
from autoopt.inference.formats.names import (
    ENLARGE,
    PLUMBING,
    WEIGHTED,
    Node,
    is_share,
    module_of_weight,
    types_of,
    unique,
)
from autoopt.inference.formats.one_channel import is_one_channel, with_background
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.roofline import Cost

if TYPE_CHECKING:
    import onnx
    import onnx_ir
    import torch

FILE = "model.onnx"
NETWORK = True
PARENT: str | None = None
FINISHED: tuple[str, ...] = (".onnx",)
PRECISIONS: tuple[str, ...] = ("f32",)
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ("torch", "onnxscript", "onnx")
INLINE_LIMIT_BYTES = 1_500_000_000
"""Above this a model keeps its weights in a second file: one protobuf message ends at 2 GB."""
_FLOAT, _UINT8 = 1, 2  # onnx.TensorProto
BINARY = 2
_SCOPES = "pkg.torch.onnx.name_scopes"


def write(source: Source, precision: str, folder: Path) -> int:
    """Export the network, or copy the finished graph with the shape of one call of the pipeline written into it."""
    if source.model is None:
        return _write_finished(source, folder)
    return _write_network(source.model, source.batches["noise"], folder)


def call(path: Path) -> Call:
    """See `GraphFormat.call`; by ONNX Runtime."""
    import onnxruntime

    file = path / FILE if path.is_dir() else path
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0])


def finished_call(path: Path, output: str | None) -> Call:
    """See `FinishedFormat.finished_call`."""
    return caller(path, output)


def read(folder: Path) -> onnx.ModelProto:
    """See `EditableFormat.read`."""
    import onnx

    return onnx.load(folder / FILE)


def save(graph: onnx.ModelProto, folder: Path) -> None:
    """See `EditableFormat.save`: the nodes have their names already."""
    import onnx

    onnx.save(graph, folder / FILE, save_as_external_data=graph.ByteSize() > INLINE_LIMIT_BYTES)


def feed(graph: onnx.ModelProto, batch: np.ndarray) -> dict[str, np.ndarray]:
    """See `EditableFormat.feed`: inputs have names."""
    return {graph.graph.input[0].name: batch}


def layers(folder: Path) -> list[Node]:
    """See `GraphFormat.layers`."""
    return layers_of(read(folder))


def layers_of(graph: onnx.ModelProto) -> list[Node]:
    """See `EditableFormat.layers_of`."""
    return [
        Node((node.name,), (node.name,), (ENLARGE,) if is_share(*node.input) else types_of(node.op_type))
        for node in graph.graph.node
        if node.op_type not in PLUMBING
    ]


def attends(graph: onnx.ModelProto) -> bool:
    """See `EditableFormat.attends`."""
    operations = (attention.Operation(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.graph.node)
    return attention.attends(operations, (item.name for item in graph.graph.initializer))


def counts(folder: Path) -> dict[str, int]:
    """See `GraphFormat.counts`."""
    nodes = read(folder).graph.node
    made_by = {output: node for node in nodes for output in node.output}
    weighted = [node for node in nodes if node.op_type in WEIGHTED and not is_share(*node.input)]
    return {
        "quantizers": sum(node.op_type == "QuantizeLinear" for node in nodes),
        "quantized_layers": sum(
            node.input[1] in made_by and made_by[node.input[1]].op_type == "DequantizeLinear" for node in weighted
        ),
        "layers": len(weighted),
    }


def cost(folder: Path, input_shape: Sequence[int], precision: str) -> Cost:
    """See `GraphFormat.cost`; counted in the graph that OpenVINO reads from the file."""
    return openvino_cost.cost(folder / FILE, input_shape, precision)


def name_nodes(model: onnx_ir.Model) -> None:
    """Give every node of a fresh export its stable name; drop what tells of the exporting machine."""
    taken: set[str] = set()
    for node in model.graph:
        module = module_of_weight(
            str(value.name) for value in node.inputs if value is not None and value.is_initializer()
        )
        if module is None:
            module = _module_of_scopes(node.metadata_props.get(_SCOPES, "[]"))
        node.name = unique(f"{module}/{node.op_type}" if module else node.op_type, taken)
        node.metadata_props.clear()
        node.doc_string = None
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def fuse(source: Path, pipeline: Pipeline, folder: Path) -> None:
    """See `GraphFormat.fuse`."""
    from onnx import helper

    model, ops, pixels = read(source), _Operations(), f"{PREFIX}/pixels"
    graph = model.graph
    normalised(ops, pixels, pipeline)
    ops.nodes[-1].output[0] = graph.input[0].name
    before = len(ops.nodes)
    graph.input[0].CopyFrom(helper.make_tensor_value_info(pixels, _UINT8, pipeline.input_shape))
    if pipeline.gives_labels:
        labels = decided(ops, graph.output[0].name, pipeline.classes)
        graph.output[0].CopyFrom(helper.make_tensor_value_info(labels, _UINT8, pipeline.output_shape))
    nodes = [*ops.nodes[:before], *graph.node, *ops.nodes[before:]]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(ops.constants)
    save(model, folder)


def _write_network(module: torch.nn.Module, example: np.ndarray, folder: Path) -> int:
    import torch

    program = torch.onnx.export(
        module,
        (torch.from_numpy(example),),
        dynamo=True,
        input_names=["input"],
        output_names=["output"],
        verbose=False,
    )
    assert program is not None
    name_nodes(program.model)
    size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    program.save(folder / FILE, external_data=size > INLINE_LIMIT_BYTES)
    return len(list(program.model.graph))


def _write_finished(source: Source, folder: Path) -> int:
    import onnx_ir

    model = onnx_ir.from_proto(_fixed(source))
    name_nodes(model)
    proto = onnx_ir.to_proto(model)
    save(proto, folder)
    return len(proto.graph.node)


def _fixed(source: Source) -> onnx.ModelProto:
    """The finished graph in the form that pipelines take, with the shapes of one call and two classes at least.

    Raises Unsupported.
    """
    import onnx
    from onnx.tools.update_model_dims import update_inputs_outputs_dims

    model, pipeline = onnx.load(str(source.graph)), source.pipeline
    model = prepared(model, source.output)
    if pipeline.classes == BINARY and is_one_channel(model):
        model = with_background(model, probabilities=pipeline.output == "probabilities")
    try:
        fixed = update_inputs_outputs_dims(
            model,
            {model.graph.input[0].name: list(pipeline.input_shape)},
            {model.graph.output[0].name: list(pipeline.output_shape)},
        )
    except ValueError as error:
        raise Unsupported(f"{source.graph} cannot take the shape {pipeline.input_shape}: {error}") from error
    return raised(fixed)


def _module_of_scopes(text: str) -> str:
    """The deepest module of the exporter's list of scopes, whose last item is the operation itself."""
    scopes = ast.literal_eval(text)
    return str(scopes[-2]) if len(scopes) > 1 else ""


class _Operations:
    """Values are names of tensors; `nodes` and `constants` are what was made of them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def turned(self, value: str, order: list[int]) -> str:
        return self._node("Transpose", value, perm=order)

    def floats(self, value: str) -> str:
        return self._node("Cast", value, to=_FLOAT)

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
            return self._node("Cast", where, to=_UINT8)
        return self._node("Where", where, np.uint8(label), others)

    def _node(self, kind: str, *inputs: str | np.ndarray | np.generic, **attributes: Any) -> str:
        from onnx import helper, numpy_helper

        name, names = f"{PREFIX}/{kind}-{len(self.nodes)}", []
        for item in inputs:
            if not isinstance(item, str):
                self.constants.append(numpy_helper.from_array(np.asarray(item), f"{name}/constant"))
            names.append(item if isinstance(item, str) else f"{name}/constant")
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name
