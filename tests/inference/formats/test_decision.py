"""What an ONNX graph answers with when its last operation is taken off."""

from __future__ import annotations

from typing import Any

import pytest

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")

from autoopt.inference.formats.decision import undecided  # noqa: E402


def graph(*steps: tuple[str, dict[str, Any]]) -> Any:
    """A model that gives its input (1, 2, h, w), doubled, to these steps in turn."""
    nodes = [helper.make_node("Add", ["x", "x"], ["v0"])]
    for index, (kind, attributes) in enumerate(steps):
        nodes.append(helper.make_node(kind, [f"v{index}"], [f"v{index + 1}"], **attributes))
    inputs = [helper.make_tensor_value_info("x", 1, (1, 2, "h", "w"))]
    outputs = [helper.make_tensor_value_info(f"v{len(steps)}", 7, None)]
    made = helper.make_graph(nodes, "net", inputs, outputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(
    ("steps", "possible"),
    [
        ([("ArgMax", {"axis": 1})], True),
        ([("ArgMax", {"axis": -3, "keepdims": 0}), ("Identity", {}), ("Cast", {"to": 1})], True),
        ([("ArgMax", {"axis": 1}), ("Squeeze", {})], True),
        ([("ArgMax", {})], False),
        ([("ArgMax", {"axis": 2})], False),
        ([("ArgMax", {"axis": 1, "select_last_index": 1})], False),
        ([("ArgMax", {"axis": 1}), ("Transpose", {"perm": [0, 1, 3, 2]})], False),
        ([("Softmax", {"axis": 1})], False),
        ([], False),
    ],
)
def test_only_a_choice_among_the_classes_is_taken_off(steps: Any, possible: bool) -> None:
    """An ArgMax at axis 1, the first of equal ones, and what only gives its labels another form; nothing else."""
    model = graph(*steps)
    before = model.SerializeToString()
    found = undecided(model)
    assert (found is not None) == possible and model.SerializeToString() == before
    if found is not None:
        onnx.checker.check_model(found)
        (output,) = found.graph.output
        assert output.name == "v0" and len(output.type.tensor_type.shape.dim) == 4
        assert [node.op_type for node in found.graph.node] == ["Add"]
