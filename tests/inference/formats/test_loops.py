"""A loop in a graph says how often it is done, or the graph is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import Unsupported
from autoopt.inference.formats.loops import MOST_ITERATIONS, check_count, check_onnx_loops


def looping(path: Path, count: int | None, inner: int | None = 1, constant: bool = False) -> Path:
    """An ONNX file with a loop of `count` rounds, each with a loop of `inner` rounds."""
    from onnx import TensorProto, helper, numpy_helper, save

    def body(name: str, nodes: list[object]) -> object:
        kinds = [
            (f"{name}i", TensorProto.INT64, []),
            (f"{name}c", TensorProto.BOOL, []),
            (f"{name}x", TensorProto.FLOAT, [1]),
        ]
        keep = helper.make_node("Identity", [f"{name}c"], [f"{name}keep"])
        inputs = [helper.make_tensor_value_info(*kind) for kind in kinds]
        outputs = [
            helper.make_tensor_value_info(f"{name}keep", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"{name}y", TensorProto.FLOAT, [1]),
        ]
        return helper.make_graph([keep, *nodes], name, inputs, outputs)

    innermost = body("b", [helper.make_node("Identity", ["bx"], ["by"])])
    middle = body(
        "a", [helper.make_node("Loop", ["" if inner is None else "inner", "on", "ax"], ["ay"], body=innermost)]
    )
    outer = helper.make_node("Loop", ["" if count is None else "count", "on", "x"], ["y"], body=middle)
    tensors = [numpy_helper.from_array(np.array(True), "on")]
    nodes = [outer]
    for name, value in (("count", count), ("inner", inner)):
        if value is not None and constant:
            nodes.insert(0, helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value))))
        elif value is not None:
            tensors.append(helper.make_tensor(name, TensorProto.INT64, [], [value]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)), path)
    return path


@pytest.mark.parametrize("constant", [False, True])
def test_a_loop_that_says_its_end_is_taken(tmp_path: Path, constant: bool) -> None:
    """Counts are read from initializers and constants, those of loops within loops too."""
    check_onnx_loops(looping(tmp_path / "m.onnx", 10, 10, constant))


@pytest.mark.parametrize(("count", "inner"), [(None, 1), (-1, 1), (2**62, 1), (1, None), (1000, 1000)])
def test_a_loop_without_an_end_is_refused(tmp_path: Path, count: int | None, inner: int | None) -> None:
    """No count, a huge one, and counts whose product is huge are refused; a model without a loop is not looked into."""
    with pytest.raises(Unsupported, match=f"ends after at most {MOST_ITERATIONS} rounds"):
        check_onnx_loops(looping(tmp_path / "m.onnx", count, inner))


def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    """A file that is cut short is called damaged, not endless."""
    path = looping(tmp_path / "m.onnx", 10)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(Unsupported, match=r"m\.onnx must be an ONNX graph, it is damaged"):
        check_onnx_loops(path)


def test_rounds_multiply() -> None:
    """What is inside a loop inside a loop is done so often as both say together."""
    assert check_count(20, 30) == 600
