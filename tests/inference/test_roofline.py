"""What a call costs: counted by hand for each kind of layer, and the roof over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.errors import Unsupported
from autoopt.inference.roofline import Cost, Peaks, cost, floor_s, fraction_of_roofline

PEAKS = Peaks(100.0, 400.0, None, 800.0, 10.0, threads=1)
positive = st.floats(1e-3, 1e12)


def saved(folder: Path, shape: list[int], build: Callable[[Any, Any], Any]) -> Path:
    """An artifact folder with an OpenVINO model of what `build` makes of the operation set and the input."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    image = ops.parameter(shape, np.float32)
    folder.mkdir(exist_ok=True)
    openvino.save_model(openvino.Model([build(ops, image)], [image], "m"), folder / "model.xml")
    return folder


def weights(ops: Any, *shape: int) -> Any:
    return ops.constant(np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape))


def quantized(ops: Any, node: Any, levels: int = 256) -> Any:
    ends = [ops.constant(np.float32(end)) for end in (-1, 1)]
    return ops.fake_quantize(node, *ends, *ends, levels)


def small_net(ops: Any, image: Any) -> Any:
    """3 to 8 channels by 3 x 3, bias and ReLU, half the size, 8 to 2 channels by 1 x 1."""
    node = ops.convolution(image, weights(ops, 8, 3, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    node = ops.relu(ops.add(node, weights(ops, 1, 8, 1, 1)))
    node = ops.max_pool(node, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    return ops.convolution(node, weights(ops, 2, 8, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])


STEM_MACS = 8 * 16 * 16 * 3 * 9
HEAD_MACS = 2 * 8 * 8 * 8
STEM_NUMBERS = 3 * 16 * 16 + 8 * 3 * 9 + 8 * 16 * 16
HEAD_NUMBERS = 8 * 8 * 8 + 2 * 8 + 2 * 8 * 8


def test_a_small_net(tmp_path: Path) -> None:
    """Two convolutions: each output times channels times kernel; each reads input and weights and writes its output."""
    folder = saved(tmp_path, [1, 3, 16, 16], small_net)
    expected = Cost(STEM_MACS + HEAD_MACS, 4 * (STEM_NUMBERS + HEAD_NUMBERS), weights=8 * 3 * 9 + 2 * 8)
    assert cost(folder, (1, 3, 16, 16)) == expected
    assert cost(folder / "model.xml", (1, 3, 16, 16)) == expected


def test_narrow_numbers_are_half_the_bytes(tmp_path: Path) -> None:
    """In bf16 as much is calculated and half as much is moved."""
    folder = saved(tmp_path, [1, 3, 16, 16], small_net)
    wide, narrow = (cost(folder, (1, 3, 16, 16), precision) for precision in ("f32", "bf16"))
    assert narrow == replace(wide, bytes=wide.bytes // 2)


def test_dynamic_shapes(tmp_path: Path) -> None:
    """What is dynamic takes the given shape: twice the batch costs twice the arithmetic."""
    folder = saved(tmp_path, [-1, 3, -1, -1], small_net)
    assert cost(folder, (1, 3, 16, 16)).macs == STEM_MACS + HEAD_MACS
    assert cost(folder, (2, 3, 16, 16)).macs == 2 * (STEM_MACS + HEAD_MACS)


@pytest.mark.parametrize(
    ("shape", "build", "macs"),
    [
        (
            [1, 4, 8, 8],
            lambda ops, x: ops.group_convolution(x, weights(ops, 2, 3, 2, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1]),
            6 * 6 * 6 * 2 * 9,
        ),
        (
            [1, 4, 8, 8],
            lambda ops, x: ops.convolution(x, weights(ops, 5, 4, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1]),
            5 * 4 * 4 * 4 * 9,
        ),
        (
            [1, 4, 8, 8, 8],
            lambda ops, x: ops.convolution(x, weights(ops, 5, 4, 3, 3, 3), [1] * 3, [1] * 3, [1] * 3, [1] * 3),
            5 * 8**3 * 4 * 27,
        ),
        (
            [1, 4, 8, 8],
            lambda ops, x: ops.convolution_backprop_data(x, weights(ops, 4, 3, 2, 2), [2, 2]),
            4 * 8 * 8 * 3 * 4,
        ),
        (
            [1, 4, 8, 8],
            lambda ops, x: ops.group_convolution_backprop_data(x, weights(ops, 2, 2, 3, 2, 2), [2, 2]),
            4 * 8 * 8 * 3 * 4,
        ),
        ([5, 7], lambda ops, x: ops.matmul(x, weights(ops, 7, 3), False, False), 5 * 7 * 3),
        ([2, 7, 5], lambda ops, x: ops.matmul(x, weights(ops, 3, 7), True, True), 2 * 5 * 7 * 3),
        ([7], lambda ops, x: ops.matmul(x, weights(ops, 7, 3), False, False), 7 * 3),
        ([1, 2, 6, 4], lambda ops, x: ops.scaled_dot_product_attention(x, x, x), 2 * 6 * 6 * (4 + 4)),
        ([1, 4, 8, 8], lambda ops, x: ops.relu(x), 0),
    ],
    ids=[
        "grouped",
        "strided",
        "3d",
        "transposed",
        "transposed grouped",
        "matmul",
        "both turned",
        "vector",
        "attention",
        "none",
    ],
)
def test_every_kind_of_layer(tmp_path: Path, shape: list[int], build: Callable[[Any, Any], Any], macs: int) -> None:
    """Each operation that multiplies is counted as by hand, and nothing else is."""
    assert cost(saved(tmp_path, shape, build), shape).macs == macs


def test_quantized_layers(tmp_path: Path) -> None:
    """A layer is INT8 where both its factors are quantized; eight bits are one byte, and f32 is left where it is."""

    def build(ops: Any, image: Any) -> Any:
        ones = ([1, 1], [0, 0], [0, 0], [1, 1])
        first = ops.convolution(quantized(ops, image), quantized(ops, weights(ops, 8, 3, 1, 1), 255), *ones)
        second = ops.convolution(quantized(ops, ops.relu(first)), weights(ops, 2, 8, 1, 1), *ones)
        return ops.convolution(quantized(ops, second, 65536), quantized(ops, weights(ops, 2, 2, 1, 1)), *ones)

    found = cost(saved(tmp_path, [1, 3, 4, 4], build), (1, 3, 4, 4))
    first, second, third = 8 * 16 * 3, 2 * 16 * 8, 2 * 16 * 2
    assert (found.macs, found.int8_macs) == (first + second + third, first)
    first_bytes = 3 * 16 + 8 * 3 + 8 * 16
    second_bytes = 8 * 16 + 4 * 2 * 8 + 4 * 2 * 16
    third_bytes = 4 * 2 * 16 + 2 * 2 + 4 * 2 * 16
    assert found.bytes == first_bytes + second_bytes + third_bytes


def test_integer_weights(tmp_path: Path) -> None:
    """Weights kept as integers with a scale are one byte each, as a quantized file has them."""

    def build(ops: Any, image: Any) -> Any:
        kept = ops.convert(ops.constant(np.ones((2, 3, 1, 1), np.int8)), np.float32)
        scaled = ops.multiply(kept, ops.constant(np.full((2, 1, 1, 1), 0.5, np.float32)))
        return ops.convolution(quantized(ops, image), scaled, [1, 1], [0, 0], [0, 0], [1, 1])

    assert cost(saved(tmp_path, [1, 3, 4, 4], build), (1, 3, 4, 4)) == Cost(96, 3 * 16 + 2 * 3 + 4 * 2 * 16, 96, 6)


@pytest.mark.parametrize("is_quantized", [False, True])
def test_onnx(tmp_path: Path, is_quantized: bool) -> None:
    """An ONNX model costs what the same net costs in OpenVINO's format, quantized or not."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    values = {"scale": np.float32(0.1), "zero": np.uint8(0), "weight_zero": np.int8(0)}
    kernel = np.ones((8, 3, 3, 3), np.int8 if is_quantized else np.float32)
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["out"], pads=[1, 1, 1, 1])]
    if is_quantized:
        nodes = [
            helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
            helper.make_node("DequantizeLinear", ["kernel", "scale", "weight_zero"], ["w"]),
            helper.make_node("Conv", ["x", "w"], ["out"], pads=[1, 1, 1, 1]),
        ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["n", 8, 16, 16])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in {**values, "kernel": kernel}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    found = cost(tmp_path, (1, 3, 16, 16))
    width = 1 if is_quantized else 4
    assert found.macs == STEM_MACS
    assert found.int8_macs == (STEM_MACS if is_quantized else 0)
    assert found.bytes == width * (3 * 16 * 16 + 8 * 3 * 9) + 4 * 8 * 16 * 16


def test_what_cannot_be_counted(tmp_path: Path) -> None:
    """A file that is no model, a shape that does not fit and another format are refused in words."""
    folder = saved(tmp_path / "fits", [1, 3, 16, 16], small_net)
    with pytest.raises(Unsupported, match="OpenVINO must be able to read"):
        cost(folder, (1, 4, 16, 16))
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(Unsupported, match="OpenVINO must be able to read"):
        cost(tmp_path / "model.onnx", (1, 3, 16, 16))
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "model.pt2").touch()
    with pytest.raises(Unsupported, match="not torch"):
        cost(tmp_path / "torch", (1, 3, 16, 16))


def test_a_layer_that_stays_dynamic(tmp_path: Path) -> None:
    """A layer whose shape depends on the values is refused by name."""

    def build(ops: Any, image: Any) -> Any:
        chosen = ops.gather(image, ops.squeeze(ops.non_zero(ops.reduce_sum(image, ops.constant([1]), False)), 0), 0)
        return ops.matmul(chosen, weights(ops, 7, 3), False, False)

    with pytest.raises(Unsupported, match="static shape"):
        cost(saved(tmp_path, [5, 7], build), (5, 7))


def test_bound_by_arithmetic() -> None:
    """With few bytes the floor is the arithmetic, two operations each, at the peak of its precision."""
    assert floor_s(Cost(1000, 1), PEAKS, "f32") == 20.0
    assert fraction_of_roofline(Cost(1000, 1), 40.0, PEAKS, "f32") == 0.5
    assert fraction_of_roofline(Cost(1000, 1), 40.0, PEAKS, "bf16") == 0.125


def test_bound_by_bandwidth() -> None:
    """With many bytes the floor is the time that they take to move, whatever the precision."""
    assert fraction_of_roofline(Cost(1, 1000), 200.0, PEAKS, "f32") == 0.5
    assert fraction_of_roofline(Cost(1, 1000), 200.0, PEAKS, "bf16") == 0.5


def test_partly_quantized() -> None:
    """INT8 layers count at the peak of INT8, the others at that of their precision."""
    assert floor_s(Cost(1000, 1, int8_macs=600), PEAKS, "f32") == pytest.approx(2 * 600 / 800 + 2 * 400 / 100)


def test_a_peak_that_is_not_known() -> None:
    """Where the host's peak is not known there is no fraction, unless nothing needs that peak."""
    assert fraction_of_roofline(Cost(1000, 1), 40.0, PEAKS, "f16") is None
    assert fraction_of_roofline(Cost(1000, 1, 1), 40.0, replace(PEAKS, int8_ops_per_s=None), "f32") is None
    assert fraction_of_roofline(Cost(1000, 1, 1000), 40.0, PEAKS, "f16") is not None


@given(macs=st.integers(1, 10**15), moved=st.integers(1, 10**12), latency_s=positive, peak=positive, bandwidth=positive)
def test_the_roofline(macs: int, moved: int, latency_s: float, peak: float, bandwidth: float) -> None:
    """The fraction is the attained rate over the lesser of peak and bandwidth times intensity."""
    found = fraction_of_roofline(Cost(macs, moved), latency_s, Peaks(peak, None, None, None, bandwidth, 1), "f32")
    roof = min(peak, bandwidth * 2 * macs / moved)
    assert found == pytest.approx(2 * macs / latency_s / roof)
