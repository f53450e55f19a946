"""The arithmetic and the traffic of a graph, counted layer by layer in what OpenVINO reads from its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoopt.errors import Unsupported
from autoopt.inference import silent
from autoopt.inference.roofline import WIDTH_BYTES, Cost

INT8_LEVELS = 256
"""A quantizer of more levels does not fit in eight bits."""

_NARROW = frozenset({"i8", "u8", "i4", "u4"})
_DEQUANTIZING = frozenset({"Convert", "Subtract", "Multiply"})
_CARRYING = frozenset({"MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad", "Concat"})
"""Operations whose result has eight bits where what they read has."""
_FUSED = frozenset(
    {"Add", "Multiply", "Subtract", "Relu", "PRelu", "Clamp", "Elu", "Sigmoid", "Swish", "HSwish", "Gelu", "Tanh"}
)
"""Operations that a plugin calculates before a layer's result is written."""


def cost(file: Path, input_shape: Sequence[int], precision: str = "f32") -> Cost:
    """The cost of one call of the graph in `file`, of any format that OpenVINO reads.

    `input_shape` replaces what is dynamic in the model's one input; `precision` (a key of `WIDTH_BYTES`) is what the
    layers that are not quantized calculate in. Convolutions, transposed convolutions, matrix products and attention
    are counted, padding included. Raises Unsupported for a graph that cannot be read or has no static shapes.
    """
    model = read_graph(file, input_shape)
    macs = moved = int8_macs = weights = 0
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if kind not in _MACS:
            continue
        if any(port.get_partial_shape().is_dynamic for port in (*op.inputs(), *op.outputs())):
            raise Unsupported(
                f"every layer of {file.name} must have a static shape with the input {tuple(input_shape)}, "
                f"{op.get_friendly_name()} has not"
            )
        count = _MACS[kind](op)
        factors = [_is_narrow(op.input_value(index)) for index in range(2)]
        macs += count
        int8_macs += count if all(factors) else 0
        moved += _moved_bytes(op, factors, WIDTH_BYTES[precision])
        weights += _size(op.input_value(1)) if _is_weight(op.input_value(1)) else 0
    return Cost(macs, moved, int8_macs, weights)


def read_graph(file: Path, input_shape: Sequence[int] | None = None) -> Any:
    """OpenVINO's model of the graph in `file`, with `input_shape` for its one input where that is given.

    Raises Unsupported for a file or a shape that OpenVINO does not take.
    """
    openvino = silent.openvino()

    try:
        model = openvino.Core().read_model(file)
        if input_shape is not None:
            model.reshape({model.input(): openvino.PartialShape(list(input_shape))})
    except RuntimeError as error:  # the library has no narrower one for an operation or a shape it cannot take
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
        asked = "" if input_shape is None else f" with {tuple(input_shape)}"
        raise Unsupported(f"OpenVINO must be able to read {file.name}{asked}: {reason[:300]}") from error
    return model


def _moved_bytes(op: Any, narrow: Sequence[bool], width: int) -> int:
    """What one layer reads and writes; shapes and other parameters are nothing beside it."""
    read = sum(
        _size(op.input_value(index)) * (1 if index < len(narrow) and narrow[index] else width)
        for index in range(_OPERANDS.get(op.get_type_name(), 2))
    )
    return read + _size(op.output(0)) * (1 if _is_narrowed(op.output(0)) else width)


def _is_narrow(source: Any) -> bool:
    """Whether the values of an output have eight bits, followed back to their quantizer or 8-bit constant."""
    node = source.get_node()
    kind = node.get_type_name()
    if source.get_element_type().get_type_name() in _NARROW:
        return True
    if kind == "FakeQuantize":
        return int(node.get_attributes()["levels"]) <= INT8_LEVELS
    if kind in _DEQUANTIZING:
        others = [node.input_value(index) for index in range(1, node.get_input_size())]
        return all(_is_constant(other) for other in others) and _is_narrow(node.input_value(0))
    if kind == "Concat":
        return all(_is_narrow(node.input_value(index)) for index in range(node.get_input_size()))
    return kind in _CARRYING and _is_narrow(node.input_value(0))


def _is_narrowed(output: Any) -> bool:
    """Whether all that is read of a result is quantized to eight bits before it is written."""
    readers = [target.get_node() for target in output.get_target_inputs()]
    return bool(readers) and all(
        ((kind := reader.get_type_name()) == "FakeQuantize" and int(reader.get_attributes()["levels"]) <= INT8_LEVELS)
        or (kind in _FUSED and reader.output(0).get_shape() == output.get_shape() and _is_narrowed(reader.output(0)))
        for reader in readers
    )


def _is_weight(source: Any) -> bool:
    """Whether an output is a constant, or follows from one by what quantizers put behind it."""
    node = source.get_node()
    while node.get_type_name() in _DEQUANTIZING | {"FakeQuantize", "Reshape", "Transpose"}:
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _is_constant(source: Any) -> bool:
    node = source.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _size(port: Any, begin: int = 0) -> int:
    """How many numbers a tensor has, or one index of its first `begin` dimensions."""
    return math.prod(int(length) for length in list(port.get_shape())[begin:])


def _convolution(op: Any) -> int:
    """Every output number is a sum over the input channels and the kernel."""
    return _size(op.output(0)) * _size(op.input_value(1), 1)


def _group_convolution(op: Any) -> int:
    return _size(op.output(0)) * _size(op.input_value(1), 2)


def _transposed(op: Any) -> int:
    """Every input number adds to the output channels under the kernel."""
    return _size(op.input_value(0)) * _size(op.input_value(1), 1)


def _group_transposed(op: Any) -> int:
    return _size(op.input_value(0)) * _size(op.input_value(1), 2)


def _matrix_product(op: Any) -> int:
    shape = list(op.input_value(0).get_shape())
    across = len(shape) > 1 and bool(op.get_attributes()["transpose_a"])
    return _size(op.output(0)) * int(shape[-2 if across else -1])


def _attention(op: Any) -> int:
    """Queries by keys, and the weights by values."""
    query, key, value = (list(op.input_value(index).get_shape()) for index in range(3))
    return int(math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


_MACS = {
    "Convolution": _convolution,
    "GroupConvolution": _group_convolution,
    "ConvolutionBackpropData": _transposed,
    "GroupConvolutionBackpropData": _group_transposed,
    "MatMul": _matrix_product,
    "ScaledDotProductAttention": _attention,
}
_OPERANDS = {"ScaledDotProductAttention": 3}
