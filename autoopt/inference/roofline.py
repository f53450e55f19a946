"""What one call of a model costs at least, and how near a latency is to what the host can do: the roofline model.

The floor of a call's time is its arithmetic at the host's measured peak or its traffic at the measured bandwidth,
whichever takes longer (Williams, Waterman and Patterson: Roofline, CACM 52(4), 2009). `measure/peaks.py` measures the
host, this file counts the model, in a child process: OpenVINO stays out of the parent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.errors import Unsupported
from autoopt.inference.graphs import FILES, format_of

READABLE = ("openvino", "onnx")
"""The formats of artifacts that are counted."""
OPS_PER_MAC = 2
"""A multiplication and an addition, as vendors count."""
WIDTH_BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i8": 1}
"""Bytes of a number by the precision that is calculated in."""
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


@dataclass(frozen=True)
class Cost:
    """Of one call: multiply-accumulates, those of them between 8-bit numbers, bytes that must move; and `weights`, the
    numbers in the weights of the counted layers, the narrow ones and the wide ones alike.

    `bytes` counts the weights and activations that each counted layer reads and the result that it writes, once each:
    what is between these layers is taken as fused, so it is a lower bound.
    """

    macs: int
    bytes: int
    int8_macs: int = 0
    weights: int = 0


@dataclass(frozen=True)
class Peaks:
    """What a host does at best with `threads` threads: operations per second by precision, bytes per second copied.

    A multiply-accumulate is two operations; a copied byte is read and written, so it counts twice. None where the
    host has no kernel for the precision. `foreign_share` is what other programs took of the cores meanwhile, where it
    is known: then the host may be faster than this.
    """

    f32_flops_per_s: float
    bf16_flops_per_s: float | None
    f16_flops_per_s: float | None
    int8_ops_per_s: float | None
    bandwidth_bytes_per_s: float
    threads: int
    foreign_share: float | None = None

    def ops_per_s(self, precision: str) -> float | None:
        """The peak of f32, bf16, f16 or i8. Raises KeyError for another word."""
        return {
            "f32": self.f32_flops_per_s,
            "bf16": self.bf16_flops_per_s,
            "f16": self.f16_flops_per_s,
            "i8": self.int8_ops_per_s,
        }[precision]


def cost(path: Path, input_shape: Sequence[int], precision: str = "f32") -> Cost:
    """The cost of one call of the OpenVINO or ONNX model at `path`, a file or an artifact folder.

    `input_shape` replaces what is dynamic in the model's one input; `precision` (a key of `WIDTH_BYTES`) is what the
    layers that are not quantized calculate in. Convolutions, transposed convolutions, matrix products and attention
    are counted, padding included. Raises Unsupported for a model that cannot be read or has no static shapes.
    """
    model = _read(path, input_shape)
    macs = moved = int8_macs = weights = 0
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if kind not in _MACS:
            continue
        if any(port.get_partial_shape().is_dynamic for port in (*op.inputs(), *op.outputs())):
            raise Unsupported(
                f"every layer of {path.name} must have a static shape with the input {tuple(input_shape)}, "
                f"{op.get_friendly_name()} has not"
            )
        count = _MACS[kind](op)
        factors = [_is_narrow(op.input_value(index)) for index in range(2)]
        macs += count
        int8_macs += count if all(factors) else 0
        moved += _moved_bytes(op, factors, WIDTH_BYTES[precision])
        weights += _size(op.input_value(1)) if _is_weight(op.input_value(1)) else 0
    return Cost(macs, moved, int8_macs, weights)


def floor_s(cost: Cost, peaks: Peaks, precision: str) -> float | None:
    """The seconds below which no call can be on a host with `peaks`; None where a peak that it needs is not known.

    INT8 layers count at the peak of INT8, all others at that of `precision`, one after the other.
    """
    seconds = 0.0
    for macs, name in ((cost.int8_macs, "i8"), (cost.macs - cost.int8_macs, precision)):
        peak = peaks.ops_per_s(name)
        if macs and peak is None:
            return None
        seconds += OPS_PER_MAC * macs / peak if macs and peak is not None else 0.0
    return max(seconds, cost.bytes / peaks.bandwidth_bytes_per_s)


def fraction_of_roofline(cost: Cost, latency_s: float, peaks: Peaks, precision: str) -> float | None:
    """The attained fraction of min(peak, bandwidth x intensity); None where the peak is not known.

    `peaks` are those of as many threads as the latency has. Above 1 where the traffic stays in a cache.
    """
    floor = floor_s(cost, peaks, precision)
    return None if floor is None else floor / latency_s


def _read(path: Path, input_shape: Sequence[int]) -> Any:
    import openvino

    file = path
    if path.is_dir():
        name = format_of(path)
        if name not in READABLE:
            raise Unsupported(
                f"the artifact {path.name} must be one of {', '.join(READABLE)} to be counted, not {name}"
            )
        file = path / FILES[name]
    try:
        model = openvino.Core().read_model(file)
        model.reshape({model.input(): openvino.PartialShape(list(input_shape))})
    except RuntimeError as error:  # the library has no narrower one for an operation or a shape it cannot take
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
        raise Unsupported(
            f"OpenVINO must be able to read {path.name} with {tuple(input_shape)}: {reason[:300]}"
        ) from error
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
