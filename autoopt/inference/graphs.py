"""Graph files: stable names of their nodes, and a plain call of a file for checks (never for timing).

A node is called by the module that it came from and its operation, such as `conv_0.conv_0.conv/Conv`, in ONNX and
in OpenVINO files alike, so that settings that name layers hold across formats, exports and machines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    import onnx_ir
    import openvino

FILES = {"torch": "model.pt2", "onnx": "model.onnx", "openvino": "model.xml", "fake": "fake.json"}
"""Format to the file that holds its graph."""

SYNONYMS = (
    ("Conv", "Convolution", "GroupConvolution"),
    ("ConvTranspose", "ConvolutionBackpropData", "GroupConvolutionBackpropData"),
    ("Gemm", "MatMul"),
    ("Mul", "Multiply"),
    ("Sub", "Subtract"),
    ("Div", "Divide"),
    ("LeakyRelu", "PRelu"),
    ("AveragePool", "AvgPool"),
    ("GlobalAveragePool", "ReduceMean"),
    ("Resize", "Interpolate"),
    ("InstanceNormalization", "MVN"),
    ("Softmax", "SoftMax"),
    ("Pow", "Power"),
)
"""Operations that are called differently in ONNX (first) and in OpenVINO."""
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operations with weights, as ONNX calls them."""
SHARES = "enlarged_along_{}"
"""What the constants are called whose products enlarge a coarse network's answer, one for each axis."""
ENLARGE = "Enlarge"
"""The type of these products: what is done to an answer is no layer, and no quantizer gets it."""
_PLUMBING = frozenset({"Constant", "Parameter", "Result", "ShapeOf", "Identity", "Convert"})
_WITHOUT_BIAS = "/WithoutBiases"
_RUNNING_NUMBER = re.compile(r"[A-Z][A-Za-z]*_\d+(/fq_.*)?")
"""What OpenVINO calls a node without a name: its (former) operation and a counter of the process."""
_SCOPES = "pkg.torch.onnx.name_scopes"

Call = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Node:
    """One layer as a user names it: `names` are its nodes in the graph, `aliases` what selects it (best first),
    `types` how its operation is called in either format."""

    names: tuple[str, ...]
    aliases: tuple[str, ...]
    types: tuple[str, ...]


def format_of(folder: Path) -> str:
    """The format of the graph in `folder`. Raises FileNotFoundError when there is none."""
    for name, file in FILES.items():
        if (folder / file).is_file():
            return name
    raise FileNotFoundError(f"{folder} must hold one of {', '.join(FILES.values())}")


def caller(folder: Path) -> Call:
    """A function from one batch to the output of the graph in `folder`, by the format's library, in full precision."""
    return {"torch": _call_torch, "onnx": _call_onnx, "openvino": _call_openvino}[format_of(folder)](folder)


def name_onnx(model: onnx_ir.Model) -> None:
    """Give every node of a fresh export its stable name; drop what tells of the exporting machine."""
    taken: set[str] = set()
    for node in model.graph:
        module = _module_of_weight(
            str(value.name) for value in node.inputs if value is not None and value.is_initializer()
        )
        if module is None:
            module = _module_of_scopes(node.metadata_props.get(_SCOPES, "[]"))
        node.name = _unique(f"{module}/{node.op_type}" if module else node.op_type, taken)
        node.metadata_props.clear()
        node.doc_string = None
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def name_openvino(model: openvino.Model) -> None:
    """Replace names with a running number of the process, which differ from one call to the next, by stable ones."""
    counts: dict[str, int] = {}
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if not _RUNNING_NUMBER.fullmatch(op.get_friendly_name()):
            continue
        module = _weight_module(op) if _types(kind)[0] in WEIGHTED else None
        if module is not None:
            op.set_friendly_name(f"{module}/{_types(kind)[0]}{_WITHOUT_BIAS if _bias_add(op) is not None else ''}")
        else:
            counts[kind] = counts.get(kind, 0) + 1
            op.set_friendly_name(f"{kind}.{counts[kind]}")


def onnx_nodes(model: onnx.ModelProto) -> list[Node]:
    """The layers of an ONNX graph."""
    return [
        Node((node.name,), (node.name,), (ENLARGE,) if _is_share(*node.input) else _types(node.op_type))
        for node in model.graph.node
        if node.op_type not in _PLUMBING
    ]


def openvino_nodes(model: openvino.Model) -> list[Node]:
    """The layers of an OpenVINO graph; an operation with weights and the addition of its bias are one layer."""
    nodes, biases = [], set()
    for op in model.get_ordered_ops():
        kind, name = op.get_type_name(), op.get_friendly_name()
        if kind in _PLUMBING or name in biases:
            continue
        constants = (value.get_node().get_friendly_name() for value in op.input_values())
        types = (ENLARGE,) if _is_share(*constants) else _types(kind)
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


def count_onnx(model: onnx.ModelProto) -> dict[str, int]:
    """How many quantizers and how many layers with quantized weights an ONNX graph has."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    weighted = [node for node in model.graph.node if node.op_type in WEIGHTED and not _is_share(*node.input)]
    return {
        "quantizers": sum(node.op_type == "QuantizeLinear" for node in model.graph.node),
        "quantized_layers": sum(
            node.input[1] in made_by and made_by[node.input[1]].op_type == "DequantizeLinear" for node in weighted
        ),
        "layers": len(weighted),
    }


def count_openvino(model: openvino.Model) -> dict[str, int]:
    """How many quantizers and how many layers with quantized weights an OpenVINO graph has."""
    ops = model.get_ordered_ops()
    layers = {name for node in openvino_nodes(model) if node.types[0] in WEIGHTED for name in node.names[:1]}
    weighted = [op for op in ops if op.get_friendly_name() in layers]
    return {
        "quantizers": sum(op.get_type_name() == "FakeQuantize" for op in ops),
        "quantized_layers": sum(_is_quantized(op.input_value(1).get_node()) for op in weighted),
        "layers": len(weighted),
    }


def enlarging(nodes: Sequence[Node]) -> list[str]:
    """The names of the nodes that enlarge an answer."""
    return [name for node in nodes if node.types == (ENLARGE,) for name in node.names]


def _is_share(*names: str) -> bool:
    return any(name.startswith(SHARES.format("")) for name in names)


def _types(kind: str) -> tuple[str, ...]:
    return next((group for group in SYNONYMS if kind in group), (kind,))


def _module_of_weight(names: Iterable[str]) -> str | None:
    """The module that owns the first weight among the names of initializers."""
    return next((name.rpartition(".")[0] for name in names if "." in name), None)


def _module_of_scopes(text: str) -> str:
    """The deepest module of the exporter's list of scopes, whose last item is the operation itself."""
    scopes = ast.literal_eval(text)
    return str(scopes[-2]) if len(scopes) > 1 else ""


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate


def _weight_module(op: Any) -> str | None:
    source = op.input_value(1).get_node()
    while source.get_type_name() != "Constant" and source.get_input_size():
        source = source.input_value(0).get_node()
    return _module_of_weight([source.get_friendly_name()]) if source.get_type_name() == "Constant" else None


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


def _call_torch(folder: Path) -> Call:
    import torch

    module = torch.export.load(folder / FILES["torch"]).module()

    def call(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(batch)).numpy())

    return call


def _call_onnx(folder: Path) -> Call:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / FILES["onnx"]), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0])


def _call_openvino(folder: Path) -> Call:
    import openvino

    core = openvino.Core()
    # Without the pin a CPU with AMX would run in bfloat16 and no export would pass its check.
    compiled = core.compile_model(
        core.read_model(folder / FILES["openvino"]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda batch: np.array(compiled(batch)[0])
