"""OpenVINO's graphs: model.xml with its weights in model.bin, converted from ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.inference import silent
from autoopt.inference.formats import attention, openvino_cost
from autoopt.inference.formats.base import Call, Source
from autoopt.inference.formats.fused_pipeline import PREFIX, decided, normalised
from autoopt.inference.formats.names import (
    ENLARGE,
    PLUMBING,
    WEIGHTED,
    Node,
    is_counted,
    is_share,
    module_of_weight,
    types_of,
)
from autoopt.inference.formats.onnx import FILE as ONNX_FILE
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.roofline import Cost

if TYPE_CHECKING:
    import openvino

FILE = "model.xml"
NETWORK = True
PARENT: str | None = "onnx"
FINISHED: tuple[str, ...] = ()
PRECISIONS: tuple[str, ...] = ("f32",)
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ("openvino",)
_WITHOUT_BIAS = "/WithoutBiases"


def write(source: Source, precision: str, folder: Path) -> int:
    """Convert the ONNX graph in `source.parent`, its constants folded."""
    openvino = silent.openvino()
    passes = silent.openvino("passes")

    assert source.parent is not None
    # read_model, not convert_model: the latter reports each conversion to its makers unless told otherwise.
    model = openvino.Core().read_model(source.parent / ONNX_FILE)
    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())
    folding.run_passes(model)
    save(model, folder)
    return len(model.get_ordered_ops())


def call(path: Path) -> Call:
    """See `GraphFormat.call`."""
    openvino = silent.openvino()

    core = openvino.Core()
    # Without the pin a CPU with AMX would run in bfloat16 and no export would pass its check.
    compiled = core.compile_model(
        core.read_model(path / FILE if path.is_dir() else path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda batch: np.array(compiled(batch)[0])


def read(folder: Path) -> openvino.Model:
    """See `EditableFormat.read`."""
    openvino = silent.openvino()

    return openvino.Core().read_model(folder / FILE)


def save(graph: openvino.Model, folder: Path) -> None:
    """See `EditableFormat.save`."""
    openvino = silent.openvino()

    name_nodes(graph)
    openvino.save_model(graph, folder / FILE, compress_to_fp16=False)


def feed(graph: openvino.Model, batch: np.ndarray) -> np.ndarray:
    """See `EditableFormat.feed`: an array as it is."""
    return batch


def layers(folder: Path) -> list[Node]:
    """See `GraphFormat.layers`."""
    return layers_of(read(folder))


def layers_of(graph: openvino.Model) -> list[Node]:
    """The layers of a graph; an operation with weights and the addition of its bias are one layer."""
    nodes, biases = [], set()
    for op in graph.get_ordered_ops():
        kind, name = op.get_type_name(), op.get_friendly_name()
        if kind in PLUMBING or name in biases:
            continue
        constants = (value.get_node().get_friendly_name() for value in op.input_values())
        types = (ENLARGE,) if is_share(*constants) else types_of(kind)
        names, aliases = [name], [name.removesuffix(_WITHOUT_BIAS)]
        if types[0] in WEIGHTED:
            bias, module = _bias_add(op), _weight_module(op)
            if bias is not None:
                biases.add(bias.get_friendly_name())
                names.append(bias.get_friendly_name())
                aliases.append(bias.get_friendly_name())
            if module is not None:
                aliases.insert(0, f"{module}/{types[0]}")
        nodes.append(Node(tuple(names), tuple(dict.fromkeys(aliases)), types))
    return nodes


def attends(graph: openvino.Model) -> bool:
    """See `EditableFormat.attends`."""
    operations = []
    for op in graph.get_ordered_ops():
        reads = tuple(value.get_node().get_name() for value in op.input_values())
        if reads or op.get_type_name() == "Constant":
            operations.append(attention.Operation(op.get_type_name(), reads, (op.get_name(),)))
    return attention.attends(operations)


def counts(folder: Path) -> dict[str, int]:
    """See `GraphFormat.counts`."""
    graph = read(folder)
    ops = graph.get_ordered_ops()
    with_weights = {name for node in layers_of(graph) if node.types[0] in WEIGHTED for name in node.names[:1]}
    weighted = [op for op in ops if op.get_friendly_name() in with_weights]
    return {
        "quantizers": sum(op.get_type_name() == "FakeQuantize" for op in ops),
        "quantized_layers": sum(_is_quantized(op.input_value(1).get_node()) for op in weighted),
        "layers": len(weighted),
    }


def cost(folder: Path, input_shape: Sequence[int], precision: str) -> Cost:
    """See `GraphFormat.cost`."""
    return openvino_cost.cost(folder / FILE, input_shape, precision)


def name_nodes(graph: openvino.Model) -> None:
    """Replace names with a counter of the process, which differ from one call to the next, by stable ones."""
    numbers: dict[str, int] = {}
    for op in graph.get_ordered_ops():
        kind = op.get_type_name()
        if not is_counted(op.get_friendly_name()):
            continue
        operation = types_of(kind)[0]
        module = _weight_module(op) if operation in WEIGHTED else None
        if module is not None:
            op.set_friendly_name(f"{module}/{operation}{_WITHOUT_BIAS if _bias_add(op) is not None else ''}")
        else:
            numbers[kind] = numbers.get(kind, 0) + 1
            op.set_friendly_name(f"{kind}.{numbers[kind]}")


def fuse(source: Path, pipeline: Pipeline, folder: Path) -> None:
    """See `GraphFormat.fuse`."""
    openvino = silent.openvino()
    opset13 = silent.openvino("opset13")

    model, ops = read(source), _Operations()
    (network,), (result,) = model.get_parameters(), model.get_results()
    pixels = opset13.parameter(list(pipeline.input_shape), np.uint8, name=f"{PREFIX}/pixels")
    network.output(0).replace(normalised(ops, pixels, pipeline).output(0))
    model.add_parameters([pixels])
    model.remove_parameter(network)
    if pipeline.gives_labels:
        labels = decided(ops, result.input_value(0), pipeline.classes)
        model.add_results([opset13.result(labels, name=f"{PREFIX}/labels")])
        model.remove_result(result)
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, folder / FILE, compress_to_fp16=False)


def _weight_module(op: Any) -> str | None:
    source = op.input_value(1).get_node()
    while source.get_type_name() != "Constant" and source.get_input_size():
        source = source.input_value(0).get_node()
    return module_of_weight([source.get_friendly_name()]) if source.get_type_name() == "Constant" else None


def _bias_add(op: Any) -> Any | None:
    """The addition of a constant that is the only reader of `op`."""
    readers = [target.get_node() for target in op.output(0).get_target_inputs()]
    if len(readers) != 1 or readers[0].get_type_name() != "Add":
        return None
    others = [readers[0].input_value(index).get_node() for index in range(2)]
    return readers[0] if any(other.get_type_name() == "Constant" for other in others) else None


def _is_quantized(op: Any) -> bool:
    """Whether weights pass a quantizer on the way from their constant, or are kept as 8-bit integers already."""
    while op.get_input_size():
        if op.get_type_name() == "FakeQuantize":
            return True
        op = op.input_value(0).get_node()
    return op.get_type_name() == "Constant" and op.get_output_element_type(0).get_type_name() in ("i8", "u8")


class _Operations:
    """Values are nodes."""

    def __init__(self) -> None:
        opset13 = silent.openvino("opset13")

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
        name = f"{PREFIX}/{kind}-{self._count}"
        self._count += 1
        given = [
            self._opset.constant(item, name=f"{name}/constant-{index}")
            if isinstance(item, np.ndarray | np.generic)
            else item
            for index, item in enumerate(inputs)
        ]
        return getattr(self._opset, kind)(*given, **attributes, name=name)
